"""Which starts a plain network still learns from: the ground of the bounds of the rules.

Trains plain stacks of width 64 on scikit-learn's digits (15 epochs, batches of 64) with Adam 1e-3 and with SGD 0.03 and
momentum 0.9, three seeds each, and prints both optimisers' median test accuracy beside what `check` measures; then
regressions whose targets have a mean of so many deviations, which the network has to learn first.
Run by hand: python benchmarks/thresholds.py > benchmarks/thresholds.md
"""

import math
import platform
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from sklearn.datasets import load_digits
from torch import Tensor, nn

from isometry.anatomy.task import Loss, make_task
from isometry.probes.activations import ActivationTable
from isometry.probes.evidence import Evidence, NotMeasuredError, gather, measure
from isometry.probes.start import LossStart
from isometry.probes.traces import GradientTrace, SignalTrace

M = TypeVar("M")
EPOCHS, BATCH, WIDTH, SEEDS = 15, 64, 64, 3
OFFSETS = (0, 1, 2, 3, 5, 8)  # means of the targets, in their deviations
Optimizers = tuple[Callable[[nn.Module], torch.optim.Optimizer], ...]
OPTIMIZERS: Optimizers = (
    lambda model: torch.optim.Adam(model.parameters(), 1e-3),
    lambda model: torch.optim.SGD(model.parameters(), 0.03, momentum=0.9),
)
MEASUREMENTS = (GradientTrace, SignalTrace, ActivationTable, LossStart)


@dataclass(frozen=True)
class Case:
    """A plain stack: `factor` times He's deviation (PyTorch's default if None), constant biases, the head's factor."""

    activation: type[nn.Module]
    depth: int
    factor: float | None = None
    bias: float = 0.0
    head: float = 1.0

    @property
    def start(self) -> str:
        if self.factor is None:
            return "default"
        words = f"he x {self.factor:g}"
        words += f", biases {self.bias:g}" if self.bias else ""
        return words + (f", head x {self.head:g}" if self.head != 1 else "")


CASES: tuple[Case, ...] = (
    *(Case(nn.ReLU, depth) for depth in (4, 8, 10, 12, 14, 16, 20, 24)),
    *(Case(nn.Sigmoid, depth) for depth in (2, 3, 4, 5, 6, 8)),
    *(Case(nn.Tanh, depth) for depth in (8, 12, 16, 20, 24, 30)),
    *(Case(nn.GELU, depth) for depth in (8, 12, 16, 20)),
    *(Case(nn.ReLU, 8, factor) for factor in (0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0)),
    *(Case(nn.ReLU, depth, 1.0) for depth in (20, 30, 50)),
    *(Case(nn.ReLU, 3, 1.0, bias=bias) for bias in (-0.3, -0.5, -0.6, -0.7, -0.8, -1.0)),
    *(Case(nn.Tanh, 4, factor) for factor in (1.0, 2.0, 3.0, 5.0, 10.0)),
    *(Case(nn.ReLU, 4, 1.0, head=head) for head in (2.0, 4.0, 8.0, 16.0, 32.0, 64.0)),
)


def network(case: Case, seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for _ in range(case.depth):
        layers += [nn.Linear(WIDTH, WIDTH), case.activation()]
    head = nn.Linear(WIDTH, 10)
    model = nn.Sequential(*layers, head)
    if case.factor is not None:
        for parameter in model.parameters():
            if parameter.ndim > 1:
                scale = case.head if parameter is head.weight else case.factor
                nn.init.normal_(parameter, std=scale * math.sqrt(2 / parameter.shape[1]))
            else:
                nn.init.constant_(parameter, 0.0 if parameter is head.bias else case.bias)
    return model


def train(
    model: nn.Module,
    data: tuple[Tensor, ...],
    make: Callable[[nn.Module], torch.optim.Optimizer],
    *,
    loss: Loss,
    seed: int,
) -> Tensor:
    train_x, train_y, test_x, _ = data
    optimizer, generator = make(model), torch.Generator().manual_seed(seed)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(train_x), generator=generator).split(BATCH):
            optimizer.zero_grad()
            loss(model(train_x[rows]), train_y[rows]).backward()
            optimizer.step()
    with torch.no_grad():
        return model(test_x)


def measured(evidence: Evidence, kind: type[M], read: Callable[[M], float | None], *, digits: int = 1) -> str:
    try:
        number = read(measure(evidence, kind))
    except NotMeasuredError:
        return ""
    return "" if number is None else f"{number:.{digits}f}"


def largest(shares: list[float | None]) -> float | None:
    return max((share for share in shares if share is not None), default=None)


def row(data: tuple[Tensor, ...], case: Case) -> str:
    task = make_task(network(case, 0), data[0], data[1], loss=F.cross_entropy)
    evidence = gather(task, MEASUREMENTS)
    cells = [
        case.activation.__name__,
        str(case.depth),
        case.start,
        measured(evidence, GradientTrace, lambda trace: trace.total_decay),
        measured(evidence, SignalTrace, lambda trace: trace.total_growth),
        measured(evidence, SignalTrace, lambda trace: trace.total_collapse),
        measured(evidence, ActivationTable, lambda t: largest([row.silent_share for row in t.activations]), digits=2),
        measured(
            evidence, ActivationTable, lambda t: largest([row.saturated_share for row in t.activations]), digits=2
        ),
        measured(evidence, LossStart, lambda start: start.reading.value / start.reading.constant, digits=2),
    ]
    for make in OPTIMIZERS:
        outputs = [train(network(case, seed), data, make, loss=F.cross_entropy, seed=seed) for seed in range(SEEDS)]
        finals = [float((output.argmax(1) == data[3]).float().mean()) for output in outputs]
        cells.append(f"{statistics.median(finals):.2f}")
    return f"| {' | '.join(cells)} |"


def regression_row(data: tuple[Tensor, ...], offset: float) -> str:
    """A smooth number of each image, its mean put `offset` deviations from 0; a network of 3 ReLU layers."""
    numbers = [(x[:, :32].sum(1) - x[:, 32:].sum(1)) * x[:, ::2].sum(1) for x in (data[0], data[2])]
    mean, deviation = numbers[0].mean(), numbers[0].std()
    targets = [((each - mean) / deviation + offset)[:, None] for each in numbers]
    shifted = (data[0], targets[0], data[2], targets[1])

    def regressor(seed: int) -> nn.Module:
        model = network(Case(nn.ReLU, 3), seed)
        model[-1] = nn.Linear(WIDTH, 1)
        return model

    evidence = gather(make_task(regressor(0), data[0], targets[0], loss=F.mse_loss), MEASUREMENTS)
    cells = [f"{offset:g}", measured(evidence, LossStart, lambda start: start.reading.value / start.reading.constant)]
    for make in OPTIMIZERS:
        outputs = [train(regressor(seed), shifted, make, loss=F.mse_loss, seed=seed) for seed in range(SEEDS)]
        cells.append(f"{statistics.median(float(F.mse_loss(output, targets[1])) for output in outputs):.3f}")
    return f"| {' | '.join(cells)} |"


def digits() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    features, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(features, dtype=torch.float32) / 16, torch.tensor(labels)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    x, y = x[order], y[order]
    return x[360:], y[360:], x[:360], y[:360]


def main() -> None:
    torch.set_num_threads(1)
    data = digits()
    print("# Which starts a plain network still learns from\n")
    print(f"`python benchmarks/thresholds.py`, torch {torch.__version__}, {platform.machine()}, one thread. Decays and")
    print("growths in decades over the whole depth, shares of the worst layer, the start loss over ln 10; then the")
    print("test accuracy on the digits after 15 epochs, median of three seeds (chance is 0.10).\n")
    columns = ("activation", "hidden layers", "start", "gradient falls", "signal grows", "samples collapse")
    columns += ("silent units", "saturated", "loss / ln 10", "Adam", "SGD")
    print(f"| {' | '.join(columns)} |")
    print(f"|---|--:|---|{'--:|' * (len(columns) - 3)}")
    for case in CASES:
        print(row(data, case), flush=True)
    print(
        "\nRegressions: the targets' mean in deviations, the start loss over the targets' variance, and the test loss"
    )
    print("(targets have variance 1) after 15 epochs, median of three seeds.\n")
    print("| mean of the targets | loss / variance | Adam | SGD |\n|--:|--:|--:|--:|")
    for offset in OFFSETS:
        print(regression_row(data, offset), flush=True)


if __name__ == "__main__":
    main()
