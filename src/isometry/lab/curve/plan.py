"""Which members of a family are to be trained."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import cast, get_args

import numpy as np

from isometry._errors import DomainError
from isometry.lab.curve.family import Axis
from isometry.lab.curve.member import Job

Number = int | float | np.integer | np.floating
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
        require_whole(epochs=self.epochs, batch_size=self.batch_size)
        if not 0 < self.test_share < 1:
            raise DomainError(f"test_share={self.test_share!r} is not in (0, 1). Give the share that no member learns.")

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


def require_whole(**counts: object) -> None:
    """Refuse what is no whole number from 1 on, by its name.

    Raises:
        DomainError: If one is none.
    """
    for name, count in counts.items():
        if not _is_whole(count):
            raise DomainError(f"{name}={count!r} is no whole number from 1 on. Leave it out for the usual one.")


def decays_of(decays: object) -> tuple[float, ...]:
    """Return decays as numbers.

    Raises:
        DomainError: If they are no sequence of positive numbers.
    """
    given: list[object] = list(cast("Iterable[object]", decays)) if isinstance(decays, Iterable) else [None]
    if not all(isinstance(each, Number) and 0 < float(each) < math.inf for each in given):
        raise DomainError(f"decays={decays!r} are no positive numbers. Give several, such as (0.1, 1.0), or ().")
    return tuple(float(cast("float", each)) for each in given)


def values_of(values: Sequence[int], current: int | None) -> tuple[int, ...]:
    """Return the values in order, the current one among them.

    Raises:
        DomainError: If they make no curve, or the current one is no value.
    """
    if current is not None:
        require_whole(current=current)
    given = list(values) if isinstance(cast("object", values), Iterable) else []
    found = sorted({*given, *(() if current is None else (current,))}) if all(map(_is_whole, given)) else []
    if len(found) < MIN_VALUES:
        raise DomainError(
            f"values={values!r}: a curve needs at least {MIN_VALUES} different whole numbers from 1 on. Let them "
            "grow by a factor, such as 4, 8, 16, 32, 64."
        )
    return tuple(map(int, found))


def _is_whole(value: object) -> bool:
    return isinstance(value, Number) and float(value) >= 1 and float(value).is_integer()
