"""Axes of a picture: from a number to its place between the ends, and where the labelled lines stand."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from isometry.report.numerals import finite, numeral, power_of_ten

MAX_LABELS = 6  # labelled lines of an axis; more crowd a picture of a phone's width
MIN_DECADES = 4  # span of a logarithmic axis, so that harmless differences look harmless
DECADE_STEPS = (1, 2, 5, 10, 20, 50, 100, 200)
LOGARITHMIC_FROM = 50.0  # largest over smallest loss; below, a linear axis shows the course better
SMALLEST = 1e-300  # a span up to it cannot be cut into round parts
LEAST_SPAN = 1e-9  # over the larger end; below, round parts are lost in rounding
LARGEST = 1e300  # beyond it differences overflow; such losses are drawn as gaps


@dataclass(frozen=True, slots=True)
class Tick:
    """A labelled line: where it stands on the axis, as a share of its length, and what it says."""

    share: float
    label: str


@dataclass(frozen=True, slots=True)
class Axis:
    """One direction of a picture.

    Attributes:
        low: The end with share 0, in decades if the axis is logarithmic.
        high: The end with share 1, likewise.
        ticks: The labelled lines.
        is_logarithmic: Whether places go by the logarithm, so that zero has none.
    """

    low: float
    high: float
    ticks: tuple[Tick, ...]
    is_logarithmic: bool = False

    def share(self, value: float | None) -> float | None:
        """Return the place of a number between the ends, in [0, 1]; None where it has no place."""
        number = finite(value)
        if number is None or abs(number) > LARGEST or (self.is_logarithmic and number <= 0):
            return None
        return _share(math.log10(number) if self.is_logarithmic else number, self.low, self.high)


def logarithmic_axis(values: Iterable[float | None]) -> Axis:
    """Return an axis of whole decades around all positive values."""
    logarithms = [math.log10(value) for value in map(finite, values) if value is not None and 0 < value <= LARGEST]
    low, high = _widened(math.floor(min(logarithms, default=0.0)), math.ceil(max(logarithms, default=0.0)))
    step = next(step for step in DECADE_STEPS if (high - low) / step <= MAX_LABELS)
    decades = range(-(-low // step) * step, high + 1, step)
    return Axis(low, high, tuple(Tick(_share(n, low, high), power_of_ten(n)) for n in decades), is_logarithmic=True)


def linear_axis(values: Iterable[float | None]) -> Axis:
    """Return an axis with round ends around all values, from zero if none is negative."""
    numbers = [value for value in map(finite, values) if value is not None and abs(value) <= LARGEST]
    low, high = min(0.0, min(numbers, default=0.0)), max(numbers, default=0.0)
    if high - low <= max(SMALLEST, LEAST_SPAN * abs(low)):
        high = low + max(1.0, abs(low))
    step = _round_step(high - low)
    first, last = math.floor(low / step), max(math.ceil(high / step), math.floor(low / step) + 1)
    low, high = first * step, last * step
    ticks = (Tick(_share(n * step, low, high), numeral(n * step)) for n in range(first, last + 1))
    return Axis(low, high, tuple(ticks))


def loss_axis(values: Iterable[float | None]) -> Axis:
    """Return a logarithmic axis where losses span far more than one decade, else a linear one."""
    losses = [value for value in map(finite, values) if value is not None]
    is_wide = bool(losses) and min(losses) > 0 and max(losses) / min(losses) > LOGARITHMIC_FROM
    return logarithmic_axis(losses) if is_wide else linear_axis(losses)


def share_axis() -> Axis:
    """Return the axis of a share, from 0 to 100 %."""
    return Axis(0.0, 1.0, tuple(Tick(quarter / 4, f"{25 * quarter} %") for quarter in range(5)))


def counting_axis(first: int, last: int) -> Axis:
    """Return an axis of whole numbers with both ends on it: layers or steps."""
    if last <= first:
        return Axis(first - 1.0, first + 1.0, (Tick(0.5, str(first)),))
    step = max(1, round(_round_step(last - first)))
    inner = [n for n in range(-(-first // step) * step, last + 1, step) if last - n > step / 2]
    marks = [first, *(n for n in inner if n - first > step / 2), last]
    return Axis(first, last, tuple(Tick(_share(n, first, last), str(n)) for n in marks))


def _share(value: float, low: float, high: float) -> float:
    return (value - low) / (high - low)


def _widened(low: int, high: int) -> tuple[int, int]:
    missing = max(0, MIN_DECADES - (high - low))
    return low - (missing + 1) // 2, high + missing // 2


def _round_step(span: float) -> float:
    """Return the smallest of 1, 2, 5 times a power of ten that cuts the span into at most `MAX_LABELS - 1` parts."""
    least = span / (MAX_LABELS - 1)
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 5, 10, 20) if factor * power >= least * (1 - 1e-9))
