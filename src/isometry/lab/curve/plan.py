"""Which members of a family are to be trained."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from isometry._errors import DomainError
from isometry.lab.curve.family import Axis
from isometry.lab.curve.member import Job
from isometry.training.labels.learner import require_counts

MIN_VALUES, MIN_SEEDS = 3, 2  # two values have no peak between them, one seed no noise


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Which members are trained.

    Attributes:
        over: Of what the values are.
        values: At least three, growing, the current one among them, counts.
        current: The one that is asked about; None without.
        epochs: Passes through the data for each member, counts.
        batch_size: Examples of a step, counts.
        test_share: Of the data set, where there is no test set, in (0, 1).
        decays: To be tried at the current value, dimensionless.
        seeds: Of the members at each value.
        split_seed: Of the test set.
    """

    over: Axis
    values: tuple[int, ...]
    current: int | None
    epochs: int
    batch_size: int
    test_share: float
    decays: tuple[float, ...]
    seeds: tuple[int, ...]
    split_seed: int

    def __post_init__(self) -> None:
        if len(self.seeds) < MIN_SEEDS:
            raise DomainError(
                f"seeds={len(self.seeds)}: noise shows between at least {MIN_SEEDS} seeds. Give 3 or more."
            )
        require_counts(epochs=self.epochs, batch_size=self.batch_size)
        if not 0 < self.test_share < 1:
            raise DomainError(f"test_share={self.test_share!r} is not in (0, 1). Give the share that no member learns.")
        wrong = [decay for decay in self.decays if not 0 < decay < math.inf]
        if wrong:
            raise DomainError(f"decays={list(self.decays)!r}: {wrong[0]!r} is no positive number.")

    @property
    def num_curves(self) -> int:
        """Bundles of the curve itself, counts; those of the decays follow."""
        return 1 if self.over == "epochs" else len(self.values)

    @property
    def bundles(self) -> list[list[Job]]:
        """The jobs of all seeds: each value's, or one for all epochs; then each decay's."""
        places = [self.values] if self.over == "epochs" else [(value,) for value in self.values]
        here = [] if self.current is None else [((self.current,), decay) for decay in self.decays]
        return [
            [self._job(each, decay=decay, seed=seed) for seed in self.seeds]
            for each, decay in [*((each, 0.0) for each in places), *here]
        ]

    def _job(self, values: tuple[int, ...], *, decay: float, seed: int) -> Job:
        return Job(
            sizes=values if self.over == "width" else (),
            looks=values if self.over == "epochs" else (self.epochs,),
            num_train=values[0] if self.over == "samples" else None,
            batch_size=self.batch_size,
            decay=decay,
            test_share=self.test_share,
            seed=seed,
            split_seed=self.split_seed,
        )


def axis_of(over: str) -> Axis:
    """Return what a curve is over.

    Raises:
        DomainError: If it is none of the three.
    """
    for axis in get_args(Axis):
        if over == axis:
            return axis
    raise DomainError(f"over={over!r}: a curve is over one of {', '.join(get_args(Axis))}.")


def values_of(values: Sequence[int], current: int | None) -> tuple[int, ...]:
    """Return the values in order, the current one among them.

    Raises:
        DomainError: If they make no curve.
    """
    found = sorted({*values, *(() if current is None else (current,))})
    if len(found) < MIN_VALUES or found[0] < 1 or any(int(value) != value for value in found):
        raise DomainError(
            f"values={list(values)!r}: a curve needs at least {MIN_VALUES} different whole numbers from 1 on. Let them "
            "grow by a factor, such as 4, 8, 16, 32, 64."
        )
    return tuple(int(value) for value in found)
