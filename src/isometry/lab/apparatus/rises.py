"""How far a curve rises above what it was before: 0 or less where it only falls."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rise:
    """A rise between two places of a curve.

    Attributes:
        start: The place of the least value before the end.
        end: The place of the peak.
        by: What lies between the two, in the curve's unit; negative where the curve falls at every place, and NaN where
            it has fewer than two.
    """

    start: int
    end: int
    by: float


def largest_rise(curve: Sequence[float]) -> Rise:
    """Return the largest rise from a value to any later one, however many lie between."""
    rises = (_rise_to(curve, end) for end in range(1, len(curve)))
    return max(rises, key=lambda rise: rise.by, default=Rise(0, 0, math.nan))


def _rise_to(curve: Sequence[float], end: int) -> Rise:
    start = min(range(end), key=curve.__getitem__)
    return Rise(start, end, curve[end] - curve[start])
