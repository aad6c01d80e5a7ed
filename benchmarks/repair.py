"""Whether networks that `fix` has treated train: deep plain stacks on scikit-learn's digits, before and after.

Adam 1e-3, 15 epochs in batches of 64, the architecture untouched; test accuracies over three seeds.
Run by hand: python benchmarks/repair.py > benchmarks/repair.md
"""

import copy
import platform
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from isometry.repair import fix
from thresholds import digits, train

DEPTH, WIDTH, CONV_DEPTH, CHANNELS, SEEDS = 30, 64, 20, 16, 3
ACTIVATIONS = (nn.Sigmoid, nn.Tanh, nn.ReLU, nn.LeakyReLU, nn.GELU, nn.SiLU, nn.ELU, nn.SELU, nn.Softplus, nn.Mish)
CONVOLVED = (nn.Sigmoid, nn.Tanh, nn.ReLU, nn.GELU)


@dataclass(frozen=True)
class Case:
    kind: str
    activation: type[nn.Module]
    build: Callable[[type[nn.Module]], nn.Module]


def linear_stack(activation: type[nn.Module]) -> nn.Module:
    layers: list[nn.Module] = []
    for _ in range(DEPTH):
        layers += [nn.Linear(WIDTH, WIDTH), activation()]
    return nn.Sequential(*layers, nn.Linear(WIDTH, 10))


def convolution_stack(activation: type[nn.Module]) -> nn.Module:
    layers: list[nn.Module] = [nn.Unflatten(1, (1, 8, 8))]
    for layer in range(CONV_DEPTH):
        layers += [nn.Conv2d(CHANNELS if layer else 1, CHANNELS, 3, padding=1), activation()]
    return nn.Sequential(*layers, nn.AvgPool2d(2), nn.Flatten(), nn.Linear(CHANNELS * 16, 10))


def trained(model: nn.Module, data: tuple[Tensor, ...], seed: int) -> float:
    def adam(model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.Adam(model.parameters(), 1e-3)

    output = train(model, data, adam, loss=F.cross_entropy, seed=seed)
    return float((output.argmax(1) == data[3]).float().mean())


def spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def row(case: Case, data: tuple[Tensor, ...]) -> str:
    before: list[float] = []
    after: list[float] = []
    verdicts: list[str] = []
    for seed in range(SEEDS):
        torch.manual_seed(seed)
        model = case.build(case.activation)
        treated = copy.deepcopy(model)
        repair = fix(treated, data[0], data[1], loss=F.cross_entropy, seed=seed)
        verdicts.append(f"{repair.before.verdict} → {repair.after.verdict}")
        before.append(trained(model, data, seed))
        after.append(trained(treated, data, seed))
    names = ", ".join(sorted(set(verdicts)))
    return f"| {case.kind} | {case.activation.__name__} | {names} | {spread(before)} | {spread(after)} |"


def main() -> None:
    torch.set_num_threads(1)
    data = digits()
    cases = [Case(f"{DEPTH} linear layers of width {WIDTH}", activation, linear_stack) for activation in ACTIVATIONS]
    cases += [Case(f"{CONV_DEPTH} convolutions", activation, convolution_stack) for activation in CONVOLVED]
    print("# Whether treated networks train\n")
    print(
        f"`python benchmarks/repair.py`, torch {torch.__version__}, {platform.machine()}, one thread. Test accuracy on"
    )
    print(
        "the digits after 15 epochs with Adam 1e-3: median of three seeds, least and most in brackets; chance: 0.10.\n"
    )
    print("| network | activation | verdict | as PyTorch builds it | after fix |\n|---|---|---|--:|--:|")
    for case in cases:
        print(row(case, data), flush=True)


if __name__ == "__main__":
    main()
