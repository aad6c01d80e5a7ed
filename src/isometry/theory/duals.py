"""What an activation makes of two Gaussian numbers: the means from which kernels of wide networks are built.

For u and v Gaussian of mean squares q and q', and covariance k, an activation has the mean product E[φ(u) φ(v)] and the
mean product of slopes E[φ'(u) φ'(v)], which is its derivative with respect to k (Price's theorem).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product as product_of

import numpy as np
from numpy.typing import NDArray

from isometry.theory.hermite import HermiteTable
from isometry.theory.quadrature import Function

FloatArray = NDArray[np.float64]
Mean = Callable[[FloatArray, FloatArray, FloatArray], FloatArray]

ROUNDING = 1e-14  # of q q', below which q q' - k² is that of two equal numbers

# 1 / (1 + exp(-x)) is a mean of Φ(b x) over scales b, for the logistic distribution is a mixture of normal ones. These
# eight scales with their shares give it to 3e-9 on the whole line, by least squares.
LOGISTIC = (
    (0.23811574808995456, 0.001437456245534957),
    (0.308585018260871, 0.027592919269206546),
    (0.39562125830776457, 0.1297013192899208),
    (0.5069033223919506, 0.2723173461011844),
    (0.6488218663270161, 0.3155518371959414),
    (0.8281221302692966, 0.1971299228056124),
    (1.0561028693447139, 0.052867506891842074),
    (1.3612964879485971, 0.003401692200757436),
)


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
        sine = 2 * covariance / np.sqrt((1 + 2 * first) * (1 + 2 * second))
        return 2 / math.pi * np.arcsin(np.clip(sine, -1.0, 1.0))

    def slopes(first: FloatArray, second: FloatArray, covariance: FloatArray) -> FloatArray:
        return 4 / math.pi / np.sqrt(1 + 2 * first + 2 * second + 4 * _independence(first, second, covariance))

    return Dual("erf", product, slopes)


def gelu() -> Dual:
    """Return the dual of x Φ(x), with Φ the normal distribution function.

    E[φ(u) φ(v)] = k (1/4 + arcsin(ρ) / 2π) + (q q' - k² + k² (1/(1+q) + 1/(1+q'))) D, with ρ = k / √((1+q) (1+q'))
    and D = 1 / (2π √((1+q) (1+q') - k²)), by Stein's lemma on u and v in turn

    Source:
        Tsuchida, Pearce, van der Heide, Roosta, Gallagher 2021, arXiv:2002.08517, proposition 4.
    """

    def parts(first: FloatArray, second: FloatArray, covariance: FloatArray) -> tuple[FloatArray, ...]:
        apart = _independence(first, second, covariance)
        determinant = 1 + first + second + apart
        sine = covariance / np.sqrt((1 + first) * (1 + second))
        both = 0.25 + np.arcsin(np.clip(sine, -1.0, 1.0)) / (2 * math.pi)  # E[Φ(u) Φ(v)]
        density = 1 / (2 * math.pi * np.sqrt(determinant))
        reciprocals = 1 / (1 + first) + 1 / (1 + second)
        return apart, determinant, both, density, reciprocals

    def product(first: FloatArray, second: FloatArray, covariance: FloatArray) -> FloatArray:
        apart, _, both, density, reciprocals = parts(first, second, covariance)
        return covariance * both + (apart + covariance**2 * reciprocals) * density

    def slopes(first: FloatArray, second: FloatArray, covariance: FloatArray) -> FloatArray:
        _, determinant, both, density, reciprocals = parts(first, second, covariance)
        return both + covariance * density * (reciprocals + 1 / determinant)

    return Dual("gelu", product, slopes)


def tanh() -> Dual:
    """Return the dual of the hyperbolic tangent, a mean of erf(√2 b x) over scales b.

    E[φ(u) φ(v)] = Σ_ij s_i s_j (2/π) arcsin(2 k_ij / √((1 + 2 q_i) (1 + 2 q'_j))), with (q_i, q'_j, k_ij) those of
    √2 b_i u and √2 b_j v; to 1e-8, and 3e-8 of the slopes, at any scale

    Source:
        Monahan, Stefanski 1992, Normal scale mixture approximations to F*(z); Williams 1997, eq. 11.
    """
    return _mixture("tanh", erf(), [(math.sqrt(2) * scale, share) for scale, share in LOGISTIC])


def sigmoid() -> Dual:
    """Return the dual of 1 / (1 + exp(-x)), which is (1 + tanh(x/2)) / 2; to 1e-8 at any scale.

    Source:
        As for `tanh`.
    """
    inner = tanh()

    def product(first: FloatArray, second: FloatArray, covariance: FloatArray) -> FloatArray:
        return (1 + inner.product(first / 4, second / 4, covariance / 4)) / 4

    def slopes(first: FloatArray, second: FloatArray, covariance: FloatArray) -> FloatArray:
        return inner.slopes(first / 4, second / 4, covariance / 4) / 16

    return Dual("sigmoid", product, slopes)


def silu() -> Dual:
    """Return the dual of x / (1 + exp(-x)), a mean of x Φ(b x) over scales b; to 1e-8 of it at any scale.

    Source:
        As for `tanh` and `gelu`.
    """
    return _mixture("silu", gelu(), [(scale, share / scale) for scale, share in LOGISTIC])


def dual_of(function: Function, name: str = "an activation") -> Dual:
    """Return the dual of any activation, by its Hermite coefficients.

    E[φ(u) φ(v)] = Σ_n a_n(q) a_n(q') c^n, with a_n(q) = E[φ(√q z) h_n(z)] and c = k / √(q q')

    What the first 400 coefficients leave out is added at the powers that follow them, so that c = 1 is exact. Of smooth
    functions that bend over the whole width of the numbers they leave out nothing, and the means are right to 1e-8.
    Kinks cost up to 1e-4 of the product and 3e-2 of the slopes near c = 1. It is an error if more may be lost than 1e-3
    of the product at c = 1 or 3e-2 of the slopes, as where a function saturates within a tenth of the width and the two
    numbers are nearly equal. A jump has no slope, as in back-propagation.

    Args:
        function: The activation φ, vectorised, float64 to float64.
        name: What to call it.

    Raises:
        DomainError: The function is not finite where the numbers go, or too steep there for its coefficients.

    Source:
        Daniely, Frostig, Singer 2016, arXiv:1602.05897, section 3 (dual activations); Mehler's formula.
    """
    table = HermiteTable(function, name)

    def product(first: FloatArray, second: FloatArray, covariance: FloatArray) -> FloatArray:
        return table.mean((first, second), covariance, of_slopes=False)

    def slopes(first: FloatArray, second: FloatArray, covariance: FloatArray) -> FloatArray:
        return table.mean((first, second), covariance, of_slopes=True)

    return Dual(name, product, slopes)


def _cosine(first: FloatArray, second: FloatArray, covariance: FloatArray) -> tuple[FloatArray, FloatArray]:
    scale = np.sqrt(first * second)
    with np.errstate(invalid="ignore", divide="ignore"):
        return scale, np.clip(np.where(scale > 0, covariance / scale, 0.0), -1.0, 1.0)


def _independence(first: FloatArray, second: FloatArray, covariance: FloatArray) -> FloatArray:
    """Return q q' - k², and 0 where it is rounding."""
    outer = first * second
    found = outer - covariance**2
    return np.where(found > ROUNDING * outer, found, 0.0)


def _mixture(name: str, part: Dual, terms: Sequence[tuple[float, float]]) -> Dual:
    """Return the dual of Σ s φ(b x), from that of φ and the pairs (b, s)."""

    def total(mean: Mean, numbers: tuple[FloatArray, FloatArray, FloatArray], power: int) -> FloatArray:
        first, second, covariance = numbers
        found = np.zeros(np.broadcast_shapes(first.shape, second.shape, covariance.shape))
        for (scale, size), (other, other_size) in product_of(terms, terms):
            factor = size * other_size * (scale * other) ** power
            found += factor * mean(scale**2 * first, other**2 * second, scale * other * covariance)
        return found

    def product(first: FloatArray, second: FloatArray, covariance: FloatArray) -> FloatArray:
        return total(part.product, (first, second, covariance), 0)

    def slopes(first: FloatArray, second: FloatArray, covariance: FloatArray) -> FloatArray:
        return total(part.slopes, (first, second, covariance), 1)

    return Dual(name, product, slopes)
