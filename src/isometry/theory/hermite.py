"""Means of products of a function of two Gaussian numbers, by the function's Hermite coefficients.

Coefficients are computed at mean squares that lie on a fixed grid and are interpolated between them, so that what is
found for two numbers depends on no others, and every kernel is positive.
"""

import math

import numpy as np
from numpy.typing import NDArray

from isometry._errors import DomainError
from isometry.theory.quadrature import REACH, Function, Samples, sample

FloatArray = NDArray[np.float64]

NUM_ORDERS = 400
KNOTS_PER_DOUBLING = 16  # of the mean square
NUM_NEIGHBOURS = 10  # knots of one interpolation; together they err by 1e-9 at most
LAST = slice(NUM_ORDERS - 40, NUM_ORDERS)  # tell how what is left out is shared by even and odd orders
NEGLIGIBLE = 1e-14  # of the mean square, where the orders that are left cannot be told from rounding
PRODUCT_TOLERANCE, SLOPES_TOLERANCE = 1e-3, 3e-2  # of the means at c = 1; kinks such as those of |x| stay below


class HermiteTable:
    """Coefficients of a function and of its slope, each knot's computed when it is first met."""

    def __init__(self, function: Function, name: str) -> None:
        self._function = function
        self._name = name
        self._samples: dict[int, Samples] = {}
        self._known: dict[int, FloatArray] = {}

    def mean(self, lengths: tuple[FloatArray, FloatArray], covariance: FloatArray, *, of_slopes: bool) -> FloatArray:
        """Return E[φ(u) φ(v)], or that of slopes, elementwise.

        Σ_n a_n(q) a_n(q') c^n, with what the first 400 orders leave out at the next even and odd power

        Args:
            lengths: The mean squares q and q'.
            covariance: Of u and v, in the same units.
            of_slopes: Of φ' instead of φ.

        Raises:
            DomainError: If the coefficients do not suffice, or a mean square is 0.
        """
        first, second = lengths
        shape = np.broadcast_shapes(first.shape, second.shape, covariance.shape)
        each, places = np.unique(np.concatenate((first.ravel(), second.ravel())), return_inverse=True)
        rows = self._rows(each, of_slopes=of_slopes)[:, places]
        left, right = rows[:, : first.size].reshape(-1, *first.shape), rows[:, first.size :].reshape(-1, *second.shape)
        with np.errstate(over="ignore"):
            cosine = np.clip(covariance / (np.sqrt(first) * np.sqrt(second)), -1.0, 1.0)
        self._require_small_rest(left, right, cosine, of_slopes=of_slopes)
        total = np.zeros(shape)
        highest = int(np.flatnonzero(np.any(rows[:-1], axis=1)).max(initial=0))
        for order in reversed(range(highest + 1)):  # Horner's rule
            total *= cosine
            total += left[order] * right[order]
        return total

    def _require_small_rest(self, left: FloatArray, right: FloatArray, cosine: FloatArray, *, of_slopes: bool) -> None:
        """Refuse pairs for which the power at which the rest is put makes a difference; at c = 1 none does."""
        rest = [np.sqrt(np.sum(each[NUM_ORDERS:-1] ** 2, axis=0)) for each in (left, right)]
        with np.errstate(under="ignore"):
            error = rest[0] * rest[1] * (np.abs(cosine) ** NUM_ORDERS - np.abs(cosine) ** 1e9)
        tolerance = SLOPES_TOLERANCE if of_slopes else PRODUCT_TOLERANCE
        if np.any(error > tolerance * np.sqrt(left[-1] * right[-1])):
            raise DomainError(
                f"{self._name} is too steep for numbers of this size: {NUM_ORDERS} Hermite coefficients do not tell "
                "what it makes of two that are nearly equal. Scale the inputs or the weights' variance down, or take "
                "an activation with a formula: relu, leaky_relu, linear, erf, gelu, tanh, sigmoid, silu."
            )

    def _rows(self, lengths: FloatArray, *, of_slopes: bool) -> FloatArray:
        """Return coefficients, even rest, odd rest and mean square, (403, lengths)."""
        if not math.isfinite(lengths[-1]):
            raise DomainError(f"a mean square of {lengths[-1]} was met. Scale the inputs down, or check them for NaN.")
        if not lengths[0] > 0:
            raise DomainError(
                f"a mean square of {lengths[0]} was met; an activation without a formula needs numbers that differ. "
                "Leave out inputs that are all zero, or give the network a bias variance."
            )
        knots, weights = _neighbours(lengths)
        needed, places = np.unique(knots, return_inverse=True)
        table = np.stack([self._at(knot)[int(of_slopes)] for knot in needed.tolist()], axis=1)
        rows = np.zeros((NUM_ORDERS + 3, len(lengths)))
        for part, place in zip(weights, places.reshape(knots.shape), strict=True):
            rows[:NUM_ORDERS] += part * table[:-1, place]
            rows[-1] += part * table[-1, place]
        return _with_rest(rows)

    def _at(self, knot: int) -> FloatArray:
        if knot not in self._known:
            octave = knot // KNOTS_PER_DOUBLING
            if octave not in self._samples:
                self._samples[octave] = sample(self._function, REACH * 2 ** ((octave + 1) / 2))
            deviation = 2 ** (knot / KNOTS_PER_DOUBLING / 2)
            self._known[knot] = _coefficients(self._samples[octave], deviation)
        return self._known[knot]


def _neighbours(lengths: FloatArray) -> tuple[NDArray[np.int64], FloatArray]:
    """Return the knots around each mean square and their weights in Lagrange's polynomial, both (10, lengths)."""
    position = np.log2(lengths) * KNOTS_PER_DOUBLING
    offsets = np.arange(NUM_NEIGHBOURS) - (NUM_NEIGHBOURS // 2 - 1)
    lowest = np.floor(position).astype(np.int64)
    share = position - lowest
    weights = np.ones((NUM_NEIGHBOURS, len(lengths)))
    for row, here in enumerate(offsets.tolist()):
        for there in offsets.tolist():
            if there != here:
                weights[row] *= (share - there) / (here - there)
    return lowest + offsets[:, None], weights


def _with_rest(rows: FloatArray) -> FloatArray:
    """Fill in what the coefficients leave of the mean square, shared as the last ones are."""
    rest = np.maximum(rows[-1] - np.sum(rows[:NUM_ORDERS] ** 2, axis=0), 0.0)
    last = rows[LAST] ** 2
    even, odd = last[::2].sum(0), last[1::2].sum(0)
    share = np.where(even + odd > 0, even / np.maximum(even + odd, np.finfo(np.float64).tiny), 0.5)
    rows[NUM_ORDERS], rows[NUM_ORDERS + 1] = np.sqrt(rest * share), np.sqrt(rest * (1 - share))
    return rows


def _coefficients(samples: Samples, deviation: float) -> FloatArray:
    """Return E[φ(√q z) h_n(z)], and last E[φ²], of the function and of its slope, (2, 401)."""
    near = np.abs(samples.points) <= REACH * deviation
    measure, points = samples.measure(deviation)[near], samples.points[near] / deviation
    both = np.stack((samples.values[near], samples.slopes[near]))
    found = np.zeros((2, NUM_ORDERS + 1))
    with np.errstate(over="ignore"):
        found[:, -1] = both**2 @ measure
    if not np.isfinite(found[:, -1]).all():
        raise DomainError(
            f"the activation's square, or its slope's, is not finite for numbers of size {deviation:.3g}. Scale the "
            "inputs or the weights' variance down."
        )
    weighted, left = both * measure, found[:, -1].copy()
    before, here = np.zeros_like(points), np.ones_like(points)
    for order in range(NUM_ORDERS):
        found[:, order] = weighted @ here
        left -= found[:, order] ** 2
        if np.all(left <= NEGLIGIBLE * found[:, -1]):
            break
        before, here = here, (points * here - math.sqrt(order) * before) / math.sqrt(order + 1)
    return found
