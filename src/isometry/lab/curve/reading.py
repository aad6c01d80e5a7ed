"""Reads a curve: where nothing is left to fit, whether there is a peak, and what is surer than noise."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Course = Literal["peak", "falls", "rises", "flat", "diverged"]
Position = Literal["before", "at", "after"]

FITTED = 0.01  # training error that counts as none: one example in a hundred, or a hundredth of the variance
SURE = 3.0  # standard errors; of ten places that differ by noise alone 3 curves in 1,000 get a peak, 20 a rise or fall


@dataclass(frozen=True, slots=True)
class Difference:
    """What one place's error is above another's.

    Attributes:
        mean: Over seeds and held-out examples.
        error: Standard error of the mean.
    """

    mean: float
    error: float

    @property
    def is_sure(self) -> bool:
        """Whether it is above noise."""
        return self.mean > SURE * self.error


class Errors:
    """The errors of every held-out example, with every seed, at every place.

    Seeds and examples are both samples: the variance over seeds counts, and that over examples, for which all places
    are compared on the same ones.
    """

    def __init__(self, values: FloatArray) -> None:
        """Take the numbers.

        Args:
            values: Of shape (places, seeds, examples), with at least two seeds.
        """
        self._values = values
        self.means: FloatArray = values.mean((1, 2))
        own = values.mean(2).var(1, ddof=1)
        # Two or three seeds tell little of a variance; those of the other places say more.
        padded = np.pad(own, 2, mode="edge")
        around = np.stack([padded[shift : shift + len(own)] for shift in range(5)]).mean(0)
        self._of_seeds = np.maximum(np.maximum(own, around), own.mean() / 2) / values.shape[1]

    def difference(self, first: int, second: int) -> Difference:
        """Return how far the error at one place is above that at another."""
        gaps = (self._values[first] - self._values[second]).mean(0)
        variance = self._of_seeds[first] + self._of_seeds[second] + gaps.var(ddof=1) / len(gaps)
        return Difference(float(gaps.mean()), float(np.sqrt(variance)))

    def noise(self, place: int) -> float:
        """Return the standard error of the error at a place."""
        means = self._values[place].mean(0)
        return float(np.sqrt(self._of_seeds[place] + means.var(ddof=1) / len(means)))

    def lowest(self, places: Sequence[int]) -> int:
        """Return the place of the lowest error among some."""
        return min(places, key=lambda place: float(self.means[place]))


def peak_of(errors: Errors) -> int | None:
    """Return the place of the highest peak: one that both sides are surely below; None without one."""
    count = len(errors.means)
    found = [
        place
        for place in range(1, count - 1)
        if errors.difference(place, errors.lowest(range(place))).is_sure
        and errors.difference(place, errors.lowest(range(place + 1, count))).is_sure
    ]
    return max(found, key=lambda place: float(errors.means[place]), default=None)


def course_of(errors: Errors) -> Course:
    """Return what the curve does over all places."""
    if peak_of(errors) is not None:
        return "peak"
    last = len(errors.means) - 1
    lowest = errors.lowest(range(last + 1))
    if errors.difference(last, lowest).is_sure:
        return "rises"
    return "falls" if any(errors.difference(place, lowest).is_sure for place in range(lowest)) else "flat"


def position_of(errors: Errors, peak: int, current: int) -> Position:
    """Return on which side of the peak a place lies; `at` where nothing up to the peak is surely below it."""
    way = range(min(current, peak), max(current, peak) + 1)
    if not any(errors.difference(peak, place).is_sure for place in way):
        return "at"
    return "before" if current < peak else "after"


def threshold_of(train_error: Sequence[float], *, is_falling: bool) -> int | None:
    """Return the first place from which on everything is fitted; None if that is nowhere.

    Args:
        train_error: At each place.
        is_falling: Whether later places fit more, as over width; over samples it is the last place up to which all is
            fitted that is returned.
    """
    places = range(len(train_error))
    ordered = reversed(places) if is_falling else places
    found: int | None = None
    for place in ordered:
        if not train_error[place] <= FITTED:
            break
        found = place
    return found
