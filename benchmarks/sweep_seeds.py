"""How far sweeps that should agree are apart, with what is held out and what is learnt drawn once or for each seed.

The ground of decision 0010. Over width: sweeps on images of their own, a fifth of the labels wrong, a quarter held out
once, or for each seed. Over samples: sweeps over one data set of least squares, that learn one draw, or one a seed.
Run by hand: python -m benchmarks.sweep_seeds > benchmarks/sweep_seeds.md
"""

import math
import platform
from dataclasses import replace
from itertools import combinations
from unittest import mock

import numpy as np
import torch
from torch import nn

from isometry.lab.apparatus.digits import mnist_5k, with_wrong_labels
from isometry.lab.curve import member
from isometry.lab.curve.family import Data, Family
from isometry.lab.curve.plan import Plan
from isometry.lab.curve.reading import Errors
from isometry.training.labels.examples import shuffled

WIDTHS, NUM_SWEEPS, NUM_IMAGES, NOISE, EPOCHS = (4, 10, 25, 70, 200), 8, 600, 0.2, 60
COUNTS, NUM_FEATURES, NUM_EXAMPLES, NUM_LEAST_SQUARES = (15, 30, 60, 90, 120), 60, 400, 12
DEVIATION, RATE, LONG = 0.5, 0.05, 300  # of what is added to the targets; of Adam; epochs
SEEDS = 3


def errors_of(family: Family, plan: Plan, *, own_split: bool = False) -> Errors:
    """Train all members, on request with a split for each seed."""
    found = [
        [
            member.train_member(family, replace(job, split_seed=job.seed if own_split else job.split_seed), _quiet)
            for job in jobs
        ]
        for jobs in plan.bundles
    ]
    return Errors(np.array([[each["test_errors"][-1] for each in bundle] for bundle in found]))


def _quiet(_share: float, /, **_metrics: float) -> None:
    pass


def plan_of(over: str, values: tuple[int, ...], *, epochs: int, seed: int) -> Plan:
    return Plan(
        over="width" if over == "width" else "samples",
        values=values,
        current=None,
        epochs=epochs,
        batch_size=50,
        test_share=0.25,
        decays=(),
        seeds=tuple(range(seed, seed + SEEDS)),
        split_seed=seed,
    )


def over_width(sweep: int, *, own_split: bool) -> Errors:
    digits = mnist_5k()
    rows = slice(sweep * NUM_IMAGES, (sweep + 1) * NUM_IMAGES)
    order = shuffled(len(digits.labels), seed=0)
    images, labels = digits.images[order][rows], digits.labels[order][rows]
    noisy = with_wrong_labels(labels, NOISE, seed=sweep).labels

    def build(width: int) -> nn.Module:
        return nn.Sequential(nn.Linear(images.shape[1], width), nn.ReLU(), nn.Linear(width, 10))

    data = Data(inputs=images, targets=noisy, loss=nn.functional.cross_entropy)
    return errors_of(Family(build, data), plan_of("width", WIDTHS, epochs=EPOCHS, seed=0), own_split=own_split)


def over_samples(sweep: int, *, own_draw: bool) -> Errors:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(NUM_EXAMPLES, NUM_FEATURES, generator=generator)
    teacher = torch.randn(NUM_FEATURES, 1, generator=generator) / math.sqrt(NUM_FEATURES)
    targets = inputs @ teacher + DEVIATION * torch.randn(NUM_EXAMPLES, 1, generator=generator)

    def build() -> tuple[object, ...]:
        model = nn.Linear(NUM_FEATURES, 1)
        return model, inputs, targets, nn.functional.mse_loss, lambda own: torch.optim.Adam(own, lr=RATE)

    plan = plan_of("samples", COUNTS, epochs=LONG, seed=SEEDS * sweep)
    if own_draw:
        return errors_of(Family(build), plan)
    with mock.patch.object(member, "shuffled", lambda count, **_: shuffled(count, seed=plan.split_seed)):
        return errors_of(Family(build), plan)


def spread(sweeps: list[Errors], place: int) -> float:
    return float(np.std([each.means[place] for each in sweeps], ddof=1))


def printed(sweeps: list[Errors], place: int) -> float:
    return float(np.mean([each.noise(place) for each in sweeps]))


def differences(sweeps: list[Errors]) -> tuple[float, float]:
    """Return the spread of a difference between two places, and the same over what is printed; root mean squares."""
    apart: list[float] = []
    told: list[float] = []
    for first, second in combinations(range(len(WIDTHS)), 2):
        found = [each.difference(first, second) for each in sweeps]
        apart.append(float(np.var([each.mean for each in found], ddof=1)))
        told.append(apart[-1] / float(np.mean([each.error**2 for each in found])))
    return math.sqrt(np.mean(apart)), math.sqrt(np.mean(told))


def main() -> None:
    torch.set_num_threads(1)
    print(f"""# What a draw for each seed does to the errors of a sweep

`python -m benchmarks.sweep_seeds`, torch {torch.__version__}, {platform.machine()}, one thread. {SEEDS} seeds each.

Over width, {NUM_SWEEPS} sweeps on {NUM_IMAGES} images of their own; points:

| | one split | a split a seed |
|---|--:|--:|""")
    once, each = ([over_width(sweep, own_split=own) for sweep in range(NUM_SWEEPS)] for own in (False, True))
    pairs = differences(once), differences(each)
    print(f"| spread of a difference between two widths | {100 * pairs[0][0]:.1f} | {100 * pairs[1][0]:.1f} |")
    print(f"| the same in standard errors that are printed | {pairs[0][1]:.2f} | {pairs[1][1]:.2f} |")
    for place, width in enumerate(WIDTHS):
        for name, number in (("spread of the error", spread), ("standard error that is printed", printed)):
            print(f"| {name} at {width} | {100 * number(once, place):.1f} | {100 * number(each, place):.1f} |")
    print(f"""
Over samples, {NUM_LEAST_SQUARES} sweeps over one data set of {NUM_FEATURES} features; in variances of the targets:

| examples | error | spread, one draw | printed | spread, a draw a seed | printed |
|--:|--:|--:|--:|--:|--:|""")
    once, each = ([over_samples(sweep, own_draw=own) for sweep in range(NUM_LEAST_SQUARES)] for own in (False, True))
    for place, count in enumerate(COUNTS):
        mean = float(np.mean([sweep.means[place] for sweep in each]))
        cells = (f"{number(sweeps, place):.2f}" for sweeps in (once, each) for number in (spread, printed))
        print(f"| {count} | {mean:.2f} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
