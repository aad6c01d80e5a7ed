"""From which starts a network learns nothing for long, though its gradient fades by less than the bound of BWD101.

The ground of the bound from which on a fall is doubtful, and of what has to be shown before it is called the cause.
Run by hand: python -m benchmarks.doubts > benchmarks/doubts.md
"""

import itertools
import platform
import statistics
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import nn

from benchmarks.trial import BATCH, DIGITS, PIXELS, TRAINED, adam, momentum, plain, sgd, trained
from isometry.anatomy.task import OptimizerFactory, Task, make_task, with_model
from isometry.checking.check import gather_for
from isometry.checking.doubts import DOUBTFUL, LONGER
from isometry.checking.treatment import treatment
from isometry.findings import RULES
from isometry.findings.gradients import SAFE_TOTAL_DECAY
from isometry.findings.run import findings_of
from isometry.probes.course import run_course
from isometry.probes.courses import GradientCourse
from isometry.probes.evidence import measure
from isometry.probes.trial import learns

SEEDS, STEPS, EPOCHS = 2, 20, 15
ALL = RULES["BWD101"].with_thresholds({"safe-decay": 0.1})
COUNTED = ("begins", "begins_late", "other_begins", "is_called")
INTRODUCTION = f"""\
# From which starts a network learns nothing for long

`python -m benchmarks.doubts`, torch {torch.__version__}, {platform.machine()}, one thread. Plain networks on
scikit-learn's digits, of width 64 and PyTorch's own start where nothing else is said. The gradient's fall in decades,
mean of {SEEDS} seeds; of how many seeds the network begins to learn on one batch of 256 within {STEPS} and
{LONGER * STEPS} steps, and with the weights of `isometry fix` within {STEPS}; of how many BWD101 warns, from
{DOUBTFUL * SAFE_TOTAL_DECAY:g} decades on; and the accuracy on examples held out after {EPOCHS} epochs, from this
start and from the new one, seed by seed.

| network | optimiser | decades | {STEPS} | {LONGER * STEPS} | new: {STEPS} | warned of | accuracy | new |
|---|---|--:|--:|--:|--:|--:|---|---|"""


@dataclass(frozen=True, slots=True)
class Row:
    """A start beside the one that `fix` puts in its place, under one seed."""

    decades: float
    begins: bool
    begins_late: bool
    other_begins: bool
    accuracy: float
    other_accuracy: float

    @property
    def is_called(self) -> bool:
        is_doubtful = self.decades > DOUBTFUL * SAFE_TOTAL_DECAY
        return is_doubtful and self.other_begins and not self.begins and not self.begins_late


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


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    **{f"{depth} ReLU of 256, N(0, 0.01²)": lambda depth=depth: small(depth) for depth in (2, 3, 4)},
    **{f"{depth} ReLU": lambda depth=depth: plain(nn.ReLU, depth) for depth in (4, 6, 8)},
    **{f"{depth} sigmoid": lambda depth=depth: plain(nn.Sigmoid, depth) for depth in (2, 3, 4)},
    **{f"{depth} tanh": lambda depth=depth: plain(nn.Tanh, depth) for depth in (8, 12)},
    "8 ReLU, half of He's": lambda: plain(nn.ReLU, 8, 0.5 * 2**0.5),
}
OPTIMISERS: dict[str, OptimizerFactory] = {
    "SGD 0.1": sgd(0.1),
    "SGD 0.05, momentum 0.9": momentum(0.05),
    "Adam 1e-3": adam(1e-3),
}


def measured(build: Callable[[], nn.Module], factory: OptimizerFactory, seed: int) -> Row:
    torch.manual_seed(seed)
    model = build()
    task = make_task(model, PIXELS, DIGITS, loss=F.cross_entropy, optimizer_factory=factory, seed=seed)
    evidence = gather_for(task, [ALL], seed=seed)
    findings = findings_of([(ALL, draft) for draft in ALL(measure(evidence, GradientCourse))])
    other = build()
    treatment(evidence, findings).apply(other)
    changed = with_model(task, other)
    return Row(
        decades=max((each.measured or 0.0 for each in findings), default=0.0),
        begins=begins(task, STEPS, seed),
        begins_late=begins(task, LONGER * STEPS, seed),
        other_begins=begins(changed, STEPS, seed),
        accuracy=trained(model, factory, EPOCHS * TRAINED // BATCH)[1],
        other_accuracy=trained(other, factory, EPOCHS * TRAINED // BATCH)[1],
    )


def begins(task: Task, steps: int, seed: int) -> bool:
    """Say whether a copy of a network begins to learn within some steps."""
    return learns(run_course(task, steps=steps, seed=seed))


def line(name: str, optimiser: str, rows: list[Row]) -> str:
    cells = [name, optimiser, f"{statistics.mean(row.decades for row in rows):.1f}"]
    cells += [str(sum(getattr(row, each) for row in rows)) for each in COUNTED]
    cells += [", ".join(f"{getattr(row, each):.2f}" for row in rows) for each in ("accuracy", "other_accuracy")]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    torch.set_num_threads(1)
    print(INTRODUCTION)
    for name, build in NETWORKS.items():
        for optimiser, factory in OPTIMISERS.items():
            rows = [measured(build, factory, seed) for seed in range(SEEDS)]
            print(line(name, optimiser, rows), flush=True)


if __name__ == "__main__":
    main()
