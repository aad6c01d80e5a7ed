"""What an activation makes of two Gaussian numbers: the means from which kernels of wide networks are built.

For u and v Gaussian of mean squares q and q', and covariance k, an activation has the mean product E[φ(u) φ(v)] and the
mean product of slopes E[φ'(u) φ'(v)], which is its derivative with respect to k (Price's theorem).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isometry._errors import DomainError
from isometry.theory.quadrature import REACH, Function, sample

FloatArray = NDArray[np.float64]
Mean = Callable[[FloatArray, FloatArray, FloatArray], FloatArray]

NUM_ORDERS = 400  # Hermite coefficients of an activation without a formula of its own
MOST_LENGTHS = 512  # distinct mean squares for which each gets coefficients of its own; more are interpolated


@dataclass(frozen=True, slots=True)
class Dual:
    """The two means of an activation, each from mean square, mean square and covariance, elementwise.

    Attributes:
        name: Of the activation, for people.
        product: E[φ(u) φ(v)], in units of the activation squared.
        slopes: E[φ'(u) φ'(v)], dimensionless.
    """

    name: str
    product: Mean
    slopes: Mean


def leaky_relu(slope: float = 0.0) -> Dual:
    """Return the dual of x for x > 0 and slope x for x < 0: ReLU without a slope, the identity with slope 1.

    E[|u| |v|] = (2/π) √(q q') (√(1 - c²) + c arcsin c), E[sign u sign v] = (2/π) arcsin c, with c = k / √(q q')

    Args:
        slope: On the negative side, dimensionless.

    Source:
        Cho, Saul 2009, Kernel methods for deep learning, eqs. 3 and 6, for the parts |x| and x.
    """
    even, odd = ((1 - slope) / 2) ** 2, ((1 + slope) / 2) ** 2

    def product(first: FloatArray, second: FloatArray, covariance: FloatArray) -> FloatArray:
        scale, cosine = _cosine(first, second, covariance)
        absolute = np.sqrt(1 - cosine**2) + cosine * np.arcsin(cosine)
        return odd * covariance + even * 2 / math.pi * scale * absolute

    def slopes(first: FloatArray, second: FloatArray, covariance: FloatArray) -> FloatArray:
        return odd + even * 2 / math.pi * np.arcsin(_cosine(first, second, covariance)[1])

    return Dual("relu" if slope == 0 else f"leaky_relu({slope:g})", product, slopes)


def erf() -> Dual:
    """Return the dual of the error function.

    E[φ(u) φ(v)] = (2/π) arcsin(2 k / √((1 + 2 q) (1 + 2 q')))

    Source:
        Williams 1997, Computing with infinite networks, eq. 11.
    """

    def product(first: FloatArray, second: FloatArray, covariance: FloatArray) -> FloatArray:
        return 2 / math.pi * np.arcsin(2 * covariance / np.sqrt((1 + 2 * first) * (1 + 2 * second)))

    def slopes(first: FloatArray, second: FloatArray, covariance: FloatArray) -> FloatArray:
        return 4 / math.pi / np.sqrt((1 + 2 * first) * (1 + 2 * second) - 4 * covariance**2)

    return Dual("erf", product, slopes)


def gelu() -> Dual:
    """Return the dual of x Φ(x), with Φ the normal distribution function.

    E[φ(u) φ(v)] = k (1/4 + arcsin(ρ) / 2π) + (q q' + k² (1/(1+q) + 1/(1+q') - 1)) D, with ρ = k / √((1+q) (1+q'))
    and D = 1 / (2π √((1+q) (1+q') - k²)), by Stein's lemma on u and v in turn

    Source:
        Tsuchida, Pearce, van der Heide, Roosta, Gallagher 2021, arXiv:2002.08517, proposition 4.
    """

    def parts(first: FloatArray, second: FloatArray, covariance: FloatArray) -> tuple[FloatArray, ...]:
        outer = (1 + first) * (1 + second)
        determinant = outer - covariance**2
        both = 0.25 + np.arcsin(covariance / np.sqrt(outer)) / (2 * math.pi)  # E[Φ(u) Φ(v)]
        density = 1 / (2 * math.pi * np.sqrt(determinant))
        reciprocals = 1 / (1 + first) + 1 / (1 + second)
        return determinant, both, density, reciprocals

    def product(first: FloatArray, second: FloatArray, covariance: FloatArray) -> FloatArray:
        _, both, density, reciprocals = parts(first, second, covariance)
        return covariance * both + (first * second + covariance**2 * (reciprocals - 1)) * density

    def slopes(first: FloatArray, second: FloatArray, covariance: FloatArray) -> FloatArray:
        determinant, both, density, reciprocals = parts(first, second, covariance)
        return both + covariance * density * (reciprocals + 1 / determinant)

    return Dual("gelu", product, slopes)


def dual_of(function: Function, name: str = "an activation") -> Dual:
    """Return the dual of any activation, by its Hermite coefficients.

    E[φ(u) φ(v)] = Σ_n a_n(q) a_n(q') c^n, with a_n(q) = E[φ(√q z) h_n(z)] and c = k / √(q q')

    What the first 400 coefficients leave out is added at the power that follows them, so that c = 1 is exact; elsewhere
    kinks cost up to 1e-4 of the product and 1e-2 of the slopes near c = 1, smooth functions nothing.

    Args:
        function: The activation φ, vectorised, float64 to float64.
        name: What to call it.

    Raises:
        DomainError: The function is not finite where the numbers go.

    Source:
        Daniely, Frostig, Singer 2016, arXiv:1602.05897, section 3 (dual activations); Mehler's formula.
    """

    def series(first: FloatArray, second: FloatArray, covariance: FloatArray, *, of_slopes: bool) -> FloatArray:
        lengths, places = np.unique(np.concatenate((np.ravel(first), np.ravel(second))), return_inverse=True)
        table = np.stack([_coefficients(function, length, of_slopes=of_slopes) for length in _few(lengths).tolist()])
        table = _interpolated(_few(lengths), table, lengths)
        rows = table[places]
        count = np.size(first)
        left = rows[:count].reshape(*np.shape(first), -1)
        right = rows[count:].reshape(*np.shape(second), -1)
        cosine = _cosine(first, second, covariance)[1]
        total = np.zeros(np.broadcast_shapes(np.shape(first), np.shape(second), np.shape(covariance)))
        for order in reversed(range(NUM_ORDERS + 1)):  # Horner's rule
            total = total * cosine + left[..., order] * right[..., order]
        return total

    def product(first: FloatArray, second: FloatArray, covariance: FloatArray) -> FloatArray:
        return series(first, second, covariance, of_slopes=False)

    def slopes(first: FloatArray, second: FloatArray, covariance: FloatArray) -> FloatArray:
        return series(first, second, covariance, of_slopes=True)

    return Dual(name, product, slopes)


def _cosine(first: FloatArray, second: FloatArray, covariance: FloatArray) -> tuple[FloatArray, FloatArray]:
    scale = np.sqrt(first * second)
    with np.errstate(invalid="ignore", divide="ignore"):
        return scale, np.clip(np.where(scale > 0, covariance / scale, 0.0), -1.0, 1.0)


def _coefficients(function: Function, length: float, *, of_slopes: bool) -> FloatArray:
    """Return the Hermite coefficients of a function, or of its slope, at one mean square; the last one is the rest."""
    if not length > 0:
        raise DomainError(
            f"a mean square of {length!r} was met; an activation without a formula needs numbers that differ. "
            "Leave out inputs that are all zero, or give the network a bias variance."
        )
    deviation = math.sqrt(length)
    samples = sample(function, REACH * deviation)
    measure, points = samples.measure(deviation), samples.points / deviation
    values = samples.slopes if of_slopes else samples.values
    before, here = np.zeros_like(points), np.ones_like(points)
    found = np.empty(NUM_ORDERS + 1)
    for order in range(NUM_ORDERS):
        found[order] = float(measure @ (values * here))
        before, here = here, (points * here - math.sqrt(order) * before) / math.sqrt(order + 1)
    rest = float(measure @ values**2) - float(found[:-1] @ found[:-1])
    found[-1] = math.sqrt(max(rest, 0.0))
    return found


def _few(lengths: FloatArray) -> FloatArray:
    if len(lengths) <= MOST_LENGTHS:
        return lengths
    return np.geomspace(lengths[0], lengths[-1], MOST_LENGTHS)


def _interpolated(known: FloatArray, table: FloatArray, lengths: FloatArray) -> FloatArray:
    """Return the rows of a table at other mean squares, linear in their logarithm."""
    if len(known) == len(lengths):
        return table
    place = np.interp(np.log(lengths), np.log(known), np.arange(len(known)))
    low = np.minimum(place.astype(int), len(known) - 2)
    share = (place - low)[:, None]
    return table[low] * (1 - share) + table[low + 1] * share
