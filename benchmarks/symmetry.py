"""What copies among units cost, exact and near: the ground of the bounds of `symmetric-units`.

Trains a ReLU network of two hidden layers of 64 units on scikit-learn's digits, 400 batches of 128, with Adam 1e-3 and
with SGD 0.1, three seeds each. Its units are of so many kinds, with as much noise on top of each, in deviations of the
weights; printed is the median test accuracy beside the finding.
Run by hand: python benchmarks/symmetry.py > benchmarks/symmetry.md
"""

import platform
import statistics

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from sklearn.datasets import load_digits
from torch import Tensor, nn

from isometry.anatomy.task import make_task
from isometry.probes.evidence import gather, measure
from isometry.probes.twins import TwinTable

WIDTH, STEPS, BATCH, TRAINED_ON, SEEDS = 64, 400, 128, 1400, 3
KINDS, NOISES = (1, 2, 4, 32, 64), (0.0, 1e-4, 1e-3, 1e-2, 0.03, 0.1)


def digits() -> tuple[Tensor, Tensor]:
    """Standardised pictures and labels."""
    x, y = load_digits(return_X_y=True)
    inputs = torch.tensor(x, dtype=torch.float32)
    return (inputs - inputs.mean(0)) / (inputs.std(0) + 1e-3), torch.tensor(y)


def network(kinds: int, noise: float, seed: int) -> nn.Sequential:
    """PyTorch's default of which units are repeated, incoming and outgoing weights."""
    torch.manual_seed(seed)
    layers = [nn.Linear(64, WIDTH), nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 10)]
    deviations = [float(layer.weight.detach().std()) for layer in layers]
    kind = torch.arange(WIDTH) % kinds
    with torch.no_grad():
        for layer in layers[:-1]:
            layer.weight.copy_(layer.weight[kind].clone())
            layer.bias.copy_(layer.bias[kind].clone())
        for layer in layers[1:]:
            layer.weight.copy_(layer.weight[:, kind].clone())
        for layer, deviation in zip(layers, deviations, strict=True):
            layer.weight.add_(noise * deviation * torch.randn_like(layer.weight))
    return nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])


def accuracy(model: nn.Module, optimizer: torch.optim.Optimizer, data: tuple[Tensor, Tensor]) -> float:
    """Train, and return the share of held-out digits that are told right."""
    x, y = data
    generator = torch.Generator().manual_seed(0)
    for _ in range(STEPS):
        rows = torch.randint(TRAINED_ON, (BATCH,), generator=generator)
        optimizer.zero_grad()
        F.cross_entropy(model(x[rows]), y[rows]).backward()
        optimizer.step()
    with torch.no_grad():
        return float((model(x[TRAINED_ON:]).argmax(1) == y[TRAINED_ON:]).float().mean())


def found(model: nn.Module, data: tuple[Tensor, Tensor]) -> str:
    """Return what becomes of the copies, and the share that adds nothing."""
    x, y = data
    task = make_task(model, x[:BATCH], y[:BATCH], loss=F.cross_entropy)
    layers = measure(gather(task, [TwinTable]), TwinTable).layers
    worst = max(layers, key=lambda each: each.lost_share, default=None)
    return "" if worst is None else f"{worst.fate}, {worst.lost_share:.2f}"


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    data = digits()
    print("# What copies among units cost\n")
    print(f"`python benchmarks/symmetry.py`, torch {torch.__version__}, {platform.machine()}, one thread. Two hidden")
    print("layers of 64 units of so many kinds on the digits; accuracies after 400 steps, median of three seeds.\n")
    print("| kinds | noise | found, share that adds nothing | Adam | SGD |\n|--:|--:|---|--:|--:|")
    for kinds in KINDS:
        for noise in NOISES:
            runs: list[tuple[float, float]] = []
            for seed in range(SEEDS):
                first, second = network(kinds, noise, seed), network(kinds, noise, seed)
                adam = accuracy(first, torch.optim.Adam(first.parameters(), 1e-3), data)
                runs.append((adam, accuracy(second, torch.optim.SGD(second.parameters(), 0.1), data)))
            medians = [statistics.median(column) for column in zip(*runs, strict=True)]
            words = found(network(kinds, noise, 0), data)
            print(f"| {kinds} | {noise:g} | {words} | {medians[0]:.2f} | {medians[1]:.2f} |", flush=True)


if __name__ == "__main__":
    main()
