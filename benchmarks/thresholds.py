"""Which decays a plain network still trains at: the ground of the bounds of BWD101, FWD101 and FWD105.

Trains plain stacks of width 64 on scikit-learn's digits (15 epochs, batches of 64) with Adam 1e-3 and with SGD 0.03 and
momentum 0.9, three seeds each, and prints the better optimiser's median test accuracy beside what `check` measured at the start.
Run by hand: python benchmarks/thresholds.py > benchmarks/thresholds.md
"""

import math
import statistics
from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812
from sklearn.datasets import load_digits
from torch import Tensor, nn

from isometry.anatomy.task import make_task
from isometry.probes.evidence import NotMeasuredError, gather, measure
from isometry.probes.traces import GradientTrace, SignalTrace

EPOCHS, BATCH, WIDTH, SEEDS = 15, 64, 64, 3
CASES: list[tuple[str, type[nn.Module], int, float | None]] = [
    *(("default", nn.ReLU, depth, None) for depth in (4, 8, 10, 12, 14, 16, 20, 24)),
    *(("default", nn.Sigmoid, depth, None) for depth in (2, 3, 4, 5, 6, 8)),
    *(("default", nn.Tanh, depth, None) for depth in (8, 12, 16, 20, 24, 30)),
    *(("default", nn.GELU, depth, None) for depth in (8, 12, 16, 20)),
    *(("he", nn.ReLU, 8, factor) for factor in (0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 3.0)),
    *(("he", nn.ReLU, depth, 1.0) for depth in (20, 30, 50)),
]


def network(activation: type[nn.Module], depth: int, factor: float | None, seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Linear(WIDTH, WIDTH), activation()]
    model = nn.Sequential(*layers, nn.Linear(WIDTH, 10))
    if factor is not None:
        for parameter in model.parameters():
            if parameter.ndim > 1:
                nn.init.normal_(parameter, std=factor * math.sqrt(2 / parameter.shape[1]))
            else:
                nn.init.zeros_(parameter)
    return model


def accuracy(
    model: nn.Module, data: tuple[Tensor, Tensor, Tensor, Tensor], optimizer: torch.optim.Optimizer, seed: int
) -> float:
    train_x, train_y, test_x, test_y = data
    generator = torch.Generator().manual_seed(seed)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(train_x), generator=generator).split(BATCH):
            optimizer.zero_grad()
            F.cross_entropy(model(train_x[rows]), train_y[rows]).backward()
            optimizer.step()
    with torch.no_grad():
        return float((model(test_x).argmax(1) == test_y).float().mean())


def row(data: tuple[Tensor, Tensor, Tensor, Tensor], case: tuple[str, type[nn.Module], int, float | None]) -> str:
    kind, activation, depth, factor = case
    evidence = gather(
        make_task(network(activation, depth, factor, 0), data[0][:256], data[1][:256], loss=F.cross_entropy),
        [GradientTrace, SignalTrace],
    )
    try:
        gradient, signal = measure(evidence, GradientTrace), measure(evidence, SignalTrace)
        numbers = f"{gradient.total_decay:.1f} | {signal.total_growth:.1f} | {signal.total_collapse or 0:.1f}"
    except NotMeasuredError as reason:
        numbers = f"{reason} | | "
    optimizers: list[Callable[[nn.Module], torch.optim.Optimizer]] = [
        lambda model: torch.optim.Adam(model.parameters(), 1e-3),
        lambda model: torch.optim.SGD(model.parameters(), 0.03, momentum=0.9),
    ]
    results: list[float] = []
    for make in optimizers:
        finals: list[float] = []
        for seed in range(SEEDS):
            model = network(activation, depth, factor, seed)
            finals.append(accuracy(model, data, make(model), seed))
        results.append(statistics.median(finals))
    name = kind if factor is None else f"{kind} x {factor}"
    return f"| {activation.__name__} | {depth} | {name} | {numbers} | {results[0]:.2f} | {results[1]:.2f} |"


def main() -> None:
    torch.set_num_threads(1)
    features, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(features, dtype=torch.float32) / 16, torch.tensor(labels)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    x, y = x[order], y[order]
    data = (x[360:], y[360:], x[:360], y[:360])
    print("| activation | hidden layers | init | gradient falls | signal grows | samples collapse | Adam | SGD |")
    print("|---|--:|---|--:|--:|--:|--:|--:|")
    for case in CASES:
        print(row(data, case), flush=True)


if __name__ == "__main__":
    main()
