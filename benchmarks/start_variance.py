"""At which variance the first layer should start before activations that are critical near the origin only.

Trains plain stacks of 30 sigmoid and 30 tanh layers of width 64 on scikit-learn's digits (15 epochs, batches of 64)
with Adam 1e-3 and with SGD 0.03 and momentum 0.9. Weights are orthogonal at the critical gain (4 and 1), biases cancel
the activation's mean. Varied are the mean square q of the first pre-activations (a quarter of it for tanh, whose
argument is twice that of a sigmoid), whether the first bias cancels the mean of the data as well, and the head's size.
Run by hand: python benchmarks/start_variance.py > benchmarks/start_variance.md
"""

import platform
import statistics
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from sklearn.datasets import load_digits
from torch import Tensor, nn

EPOCHS, BATCH, WIDTH, DEPTH, SEEDS = 15, 64, 64, 30, 2
VARIANCES = (0.1, 0.4, 1.0, 3.8)  # of the first pre-activations of a sigmoid
HEADS = (0.1, 0.5, 2.0)  # root mean square of the outputs at the start
OPTIMIZERS: tuple[Callable[[nn.Module], torch.optim.Optimizer], ...] = (
    lambda model: torch.optim.Adam(model.parameters(), 1e-3),
    lambda model: torch.optim.SGD(model.parameters(), 0.03, momentum=0.9),
)


@dataclass(frozen=True)
class Case:
    """A stack: critical gain, the activation's mean at 0, first variance, data mean cancelled, rms of the outputs."""

    activation: type[nn.Module]
    gain: float
    mean: float
    variance: float
    is_centred: bool
    head: float | None = None  # as the gain makes it, if None


SIGMOID, TANH = (nn.Sigmoid, 4.0, 0.5, 1.0), (nn.Tanh, 1.0, 0.0, 0.25)


def cases() -> list[Case]:
    found: list[Case] = []
    for activation, gain, mean, factor in (SIGMOID, TANH):
        found += [Case(activation, gain, mean, factor * q, centred) for q in VARIANCES for centred in (False, True)]
        found += [Case(activation, gain, mean, 1.0, is_centred=False)] if factor != 1 else []
        found += [Case(activation, gain, mean, 1.0, is_centred=False, head=head) for head in HEADS]
    return found


def network(case: Case, x: Tensor, seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for _ in range(DEPTH):
        linear = nn.Linear(WIDTH, WIDTH)
        nn.init.orthogonal_(linear.weight, case.gain)
        layers += [linear, case.activation()]
    head = nn.Linear(WIDTH, 10)
    nn.init.orthogonal_(head.weight, case.gain)
    model = nn.Sequential(*layers, head)
    with torch.no_grad():
        for linear in model[2::2]:
            linear.bias.copy_(-case.mean * linear.weight.sum(1))
        first, centre = model[0], x.mean(0) if case.is_centred else torch.zeros(WIDTH)
        first.weight *= (case.variance / ((x - centre) @ first.weight.T).square().mean()).sqrt()
        first.bias.copy_(-first.weight @ centre)
        if case.head is not None:
            head.weight *= case.head / model(x).square().mean().sqrt()
            head.bias.copy_(-case.mean * head.weight.sum(1))
    return model


def accuracy(
    case: Case, data: tuple[Tensor, ...], make: Callable[[nn.Module], torch.optim.Optimizer], *, seed: int
) -> float:
    train_x, train_y, test_x, test_y = data
    model, generator = network(case, train_x, seed), torch.Generator().manual_seed(seed)
    optimizer = make(model)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(train_x), generator=generator).split(BATCH):
            optimizer.zero_grad()
            F.cross_entropy(model(train_x[rows]), train_y[rows]).backward()
            optimizer.step()
    with torch.no_grad():
        return float((model(test_x).argmax(1) == test_y).float().mean())


def measured(case: Case, x: Tensor) -> list[str]:
    """Return the share of the last signal that differs between samples, and the size of the outputs."""
    with torch.no_grad():
        model = network(case, x, 0)
        last, outputs = model[:-2](x), model(x)
    share = (last - last.mean(0)).square().mean().sqrt() / last.square().mean().sqrt()
    return [f"{float(last.square().mean()):.3f}", f"{float(share):.2f}", f"{float(outputs.square().mean().sqrt()):.2f}"]


def row(case: Case, data: tuple[Tensor, ...]) -> str:
    cells = [
        case.activation.__name__,
        f"{case.variance:g}",
        "yes" if case.is_centred else "no",
        *measured(case, data[0]),
    ]
    for make in OPTIMIZERS:
        finals = [accuracy(case, data, make, seed=seed) for seed in range(SEEDS)]
        cells.append(f"{statistics.mean(finals):.2f} ({', '.join(f'{final:.2f}' for final in finals)})")
    return f"| {' | '.join(cells)} |"


def main() -> None:
    torch.set_num_threads(1)
    features, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(features, dtype=torch.float32) / 16, torch.tensor(labels)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    train, test = order[360:], order[:360]
    print("# Where the first layer starts\n")
    print(f"`python benchmarks/start_variance.py`, torch {torch.__version__}, {platform.machine()}, one thread.")
    print(f"{DEPTH} layers of width {WIDTH}, {EPOCHS} epochs of the digits; test accuracy, mean of {SEEDS} seeds")
    print("and each of them in brackets; chance is 0.10.\n")
    print("| activation | first q | data mean cancelled | last q | share that differs | outputs' rms | Adam | SGD |")
    print("|---|--:|---|--:|--:|--:|--:|--:|")
    for case in cases():
        print(row(case, (x[train], y[train], x[test], y[test])), flush=True)


if __name__ == "__main__":
    main()
