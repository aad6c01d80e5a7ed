"""Curves of several seeds made one."""

from collections.abc import Iterable, Sequence
from statistics import fmean


def mean_curve(curves: Iterable[Sequence[float]]) -> list[float]:
    """Return the mean of several curves at each of their places.

    Args:
        curves: One a seed or a draw, all of one length and in one unit.

    Raises:
        ValueError: If one is longer than another.
    """
    return [fmean(values) for values in zip(*curves, strict=True)]
