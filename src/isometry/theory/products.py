"""Products of random matrices: how fast they grow, how far single draws stray, and what bounds any product.

A product of L square matrices with independent entries N(0, σ²) multiplies the length of a vector by factors that are
independent of one another: |W v|² is σ² |v|² times a chi-squared number, whatever the direction of v.
"""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isometry._errors import DomainError, ShapeError

FloatArray = NDArray[np.float64]
RealArray = NDArray[np.floating[Any]] | NDArray[np.integer[Any]]

LEAST = math.ulp(0.0)
LOG_MOST = math.log(sys.float_info.max)
SERIES_FROM = 12.0  # arguments from which the asymptotic series of ψ and ψ₁ are exact to 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """How the length of a vector grows through a product of random matrices.

    Attributes:
        rate: Largest Lyapunov exponent: mean of ln |W v| / |v| a layer, nats.
        deviation: Standard deviation of it a layer, nats; over L layers it grows like √L.
    """

    rate: float
    deviation: float

    def after(self, num_layers: int) -> tuple[float, float]:
        """Return mean and standard deviation of ln |W_L ⋯ W_1 v| / |v|, nats."""
        return self.rate * num_layers, self.deviation * math.sqrt(num_layers)


def product_growth(width: int, *, variance: float) -> Growth:
    """Return how a product of Gaussian matrices stretches a vector, exactly and at any width.

    λ₁ = ½ (ln 2σ² + ψ(n/2)), and the variance of ln |W v| is ψ₁(n/2) / 4

    Args:
        width: n, rows and columns, counts.
        variance: σ² of an entry, dimensionless, positive.

    Returns:
        Rate and deviation.

    Raises:
        DomainError: If width or variance is not positive.

    Example:
        >>> found = product_growth(4, variance=1.0)  # the book's 4 x 4 matrices
        >>> round(found.rate, 4), round(math.exp(100 * found.rate) / 1e24, 2)
        (0.558, 1.71)

    Source:
        Newman 1986, The distribution of Lyapunov exponents: exact results for random matrices, eq. 9.
    """
    _require_size(width, variance)
    rate = (math.log(2 * variance) + digamma(width / 2)) / 2
    return Growth(rate=rate, deviation=math.sqrt(trigamma(width / 2)) / 2)


def lyapunov_exponents(width: int, *, variance: float) -> FloatArray:
    """Return all Lyapunov exponents of products of Gaussian matrices.

    λ_i = ½ (ln 2σ² + ψ((n - i + 1)/2)), i = 1 … n

    The i-th singular value of a long product grows like exp(λ_i L): all of them part, so that no scale suits all, and
    the condition number grows like exp((λ₁ - λ_n) L).

    Args:
        width: n, rows and columns, counts.
        variance: σ² of an entry, dimensionless, positive.

    Returns:
        The exponents in nats a layer, largest first, (n,).

    Raises:
        DomainError: If width or variance is not positive.

    Source:
        Newman 1986, eq. 9.
    """
    _require_size(width, variance)
    return np.array([(math.log(2 * variance) + digamma((width - index) / 2)) / 2 for index in range(width)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What holds for the product of any matrices with given singular values.

    The numbers are in units of the product's entries. Where float64 has no room for one, `largest` and `partial` are
    inf or its least number above 0, `smallest` is its largest number or 0: they hold, and logarithms say more.

    Attributes:
        log_partial: ln of `partial`, nats, (r,).
        log_smallest: ln of `smallest`, nats; -inf if that is 0.
    """

    log_partial: FloatArray
    log_smallest: float

    @property
    def log_largest(self) -> float:
        """The logarithm of `largest`, nats."""
        return float(self.log_partial[0])

    @property
    def largest(self) -> float:
        """The product's largest singular value is at most this, and no eigenvalue is larger in size."""
        return float(self.partial[0])

    @property
    def smallest(self) -> float:
        """Its r-th singular value is at least this, r the least width; of square factors no eigenvalue is smaller."""
        return float(np.exp(min(self.log_smallest, LOG_MOST)))

    @property
    def partial(self) -> FloatArray:
        """For k = 1 … r the product of its k largest singular values is at most this; more are not above 0."""
        with np.errstate(over="ignore", under="ignore"):
            return np.maximum(np.exp(self.log_partial), np.where(self.log_partial > -math.inf, LEAST, 0.0))


def product_bounds(singular_values: Sequence[RealArray], *, widths: Sequence[int] | None = None) -> Bounds:
    """Return what the singular values of factors say of their product A_1 A_2 ⋯ A_L.

    σ_1(AB) ≤ σ_1(A) σ_1(B), σ_r(AB) ≥ σ_min(A) σ_min(B), ∏_{i≤k} σ_i(AB) ≤ ∏_{i≤k} σ_i(A) σ_i(B)

    The second asks that widths nowhere rise and then fall: through a wider place a factor may send what the next one
    lets through nothing of, and 0 is all that bounds σ_r from below.

    Eigenvalues allow no such bound: those of [[0, 1], [0, 0]] and of its transpose are all 0, and their product has the
    eigenvalue 1. Of a square product itself they are bounded by its singular values, ∏_{i≤k} |λ_i| ≤ ∏_{i≤k} σ_i with
    equality at k = n (Weyl). Only for positive definite factors do eigenvalues take the place of singular values.

    Args:
        singular_values: Of each factor, none negative; as many as the less of its rows and columns.
        widths: Rows of the first factor, then the columns of each, counts; None where all are square.

    Returns:
        The bounds, true but for rounding.

    Raises:
        ShapeError: If there are no factors, or not as many values or widths as they have.
        DomainError: If a value is negative or not finite.

    Example:
        >>> found = product_bounds([np.array([2.0, 0.5]), np.array([3.0, 0.1])])
        >>> round(found.largest, 3), round(found.smallest, 3), found.partial.round(3).tolist()
        (6.0, 0.05, [6.0, 0.3])
        >>> [product_bounds([np.ones(2)] * 2, widths=each).smallest for each in [(3, 2, 3), (2, 3, 2)]]
        [1.0, 0.0]

    Source:
        Horn 1950; Horn and Johnson 1991, Topics in matrix analysis, theorems 3.3.2 and 3.3.4.
    """
    sizes = [np.shape(each) for each in singular_values]
    passed = [size[0] if size else 0 for size in (*sizes[:1], *sizes)] if widths is None else list(widths)
    needed = [(min(pair),) for pair in pairwise(passed)]
    if sizes != needed or min(passed, default=0) < 1:
        raise ShapeError(
            f"factors with {sizes} singular values were given for widths {passed}; those need {needed}. At least one "
            "factor is needed, and `widths` where not all are square."
        )
    values = [np.sort(np.asarray(each, np.float64))[::-1] for each in singular_values]
    if not all(each[-1] >= 0 and each[0] < math.inf for each in values):
        raise DomainError(
            "a singular value below 0 or not finite was given; they are lengths. Take the square roots of eig(AᵀA)."
        )
    with np.errstate(divide="ignore"):
        logarithms = [np.log(each) for each in values]
    largest = np.sum([each[: min(passed)] for each in logarithms], axis=0)
    smallest = math.fsum(each[-1] for each in logarithms)
    narrowest = int(np.argmin(passed))
    is_valley = passed == sorted(passed[:narrowest], reverse=True) + sorted(passed[narrowest:])
    return Bounds(log_partial=largest.cumsum(), log_smallest=smallest if is_valley else -math.inf)


def digamma(x: float) -> float:
    """Return ψ(x), the slope of ln Γ, for x > 0, to 1e-12."""
    shift = 0.0
    while x < SERIES_FROM:
        shift, x = shift - 1 / x, x + 1
    square = 1 / x**2
    series = square * (1 / 12 - square * (1 / 120 - square * (1 / 252 - square * (1 / 240 - square / 132))))
    return shift + math.log(x) - 1 / (2 * x) - series


def trigamma(x: float) -> float:
    """Return ψ₁(x), the slope of ψ, for x > 0, to 1e-12."""
    shift = 0.0
    while x < SERIES_FROM:
        shift, x = shift + 1 / x**2, x + 1
    square = 1 / x**2
    series = 1 / 6 - square * (1 / 30 - square * (1 / 42 - square * (1 / 30 - square * 5 / 66)))
    return shift + 1 / x + square / 2 + square / x * series


def _require_size(width: int, variance: float) -> None:
    if width < 1 or not variance > 0:
        raise DomainError(
            f"width={width}, variance={variance}: a random matrix has at least one row and a positive variance."
        )
