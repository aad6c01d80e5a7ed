"""The point at which an activation passes both signal and gradient on with their size unchanged.

In a wide layer x' = W φ(x) + b with W_ij ~ N(0, σ_w²/fan_in) and b_i ~ N(0, σ_b²), pre-activations of mean square q
become Gaussian of mean square σ_w² E[φ(√q z)²] + σ_b², and gradients are multiplied by χ = σ_w² E[φ'(√q z)²].
Without σ_b both are kept only if φ is a straight line on either side of 0, or where q → 0: for φ(0) = 0, and for φ less
its mean, E[φ²] <= q E[φ'²] (Poincaré's inequality).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from isometry._errors import DomainError
from isometry.theory.landscape import UNIT_VARIANCE, Landscape, Moments, survey
from isometry.theory.quadrature import REACH, Function, gaussian_mean, gaussian_slope_mean_square, sample

Kind = Literal["homogeneous", "origin", "fixed-point", "forward"]

FIRST_ROOT = 60  # index of variance 1e-3: nearer to 0 everything is nearly critical
MAX_LOSS = (
    0.05  # per layer at the origin; it falls with q, so L layers lose a factor of about 1 + 0.05 L and not 1.05**L
)
TOLERANCE = 1e-6  # relative; a hundred times the noise of the moments at the smallest variance
VISIBLE_BEND = 1e-3  # relative change of the forward factor that tells growth from decay near 0
NUM_BISECTIONS = 40  # of a step of a twentieth of a decade


@dataclass(frozen=True, slots=True, kw_only=True)
class CriticalPoint:
    """How to initialise a layer that reads an activation, so that signal and gradient keep their size.

    Attributes:
        gain: σ_w; weights get the standard deviation gain / sqrt(fan_in). Dimensionless, in (0, inf).
        variance: Mean square q that the pre-activations should have, in their units squared.
        mean: E[φ(√q z)], in units of the activation.
        bias_variance: σ_b² that keeps the pre-activations at `variance`, in their units squared; positive for
            `fixed-point` alone, which decays without it.
        is_compensated: Whether the next bias has to cancel the mean: b_i = -mean · Σ_j W_ij.
        kind: `homogeneous`: critical at every variance. `origin`: critical as the variance goes to 0, near there at
            `variance`. `fixed-point`: critical at `variance`, given the bias. `forward`: keeps the signal alone.
    """

    gain: float
    variance: float
    mean: float
    bias_variance: float
    is_compensated: bool
    kind: Kind


def length_map(function: Function, variance: float, *, weight_variance: float, bias_variance: float = 0.0) -> float:
    """Mean square of the pre-activations one layer on.

    q' = σ_w² E[φ(√q z)²] + σ_b²

    Args:
        function: The activation φ, vectorised, float64 to float64.
        variance: Mean square q of this layer's pre-activations, in their units squared, in [0, inf).
        weight_variance: σ_w², the variance of a weight times fan-in, dimensionless.
        bias_variance: σ_b², in units of the pre-activations squared.

    Returns:
        q', in units of the pre-activations squared.

    Raises:
        DomainError: `variance` is negative, or the function is not finite.

    Example:
        >>> round(length_map(abs, 3.0, weight_variance=2.0), 6)
        6.0

    Source:
        Poole, Lahiri, Raghu, Sohl-Dickstein, Ganguli 2016, arXiv:1606.05340, eq. 3.
    """
    if not variance >= 0:
        raise DomainError(
            f"q={variance!r} is negative; the length map takes a mean square of at least 0. "
            "Check the variance passed as `variance`."
        )
    return weight_variance * gaussian_mean(lambda x: function(x) ** 2, math.sqrt(variance)) + bias_variance


def susceptibility(function: Function, variance: float, *, weight_variance: float) -> float:
    """Factor by which a layer multiplies the mean square of the gradient.

    χ₁ = σ_w² E[φ'(√q z)²]

    Gradients vanish with depth below 1 and explode above it.

    Args:
        function: The activation φ, vectorised, float64 to float64.
        variance: Mean square q of the pre-activations, in their units squared, in (0, inf).
        weight_variance: σ_w², the variance of a weight times fan-in, dimensionless.

    Returns:
        χ₁, dimensionless.

    Raises:
        DomainError: `variance` is not positive, or the function is not finite.

    Example:
        >>> round(susceptibility(abs, 3.0, weight_variance=2.0), 6)
        2.0

    Source:
        Schoenholz, Gilmer, Ganguli, Sohl-Dickstein 2017, arXiv:1611.01232, eq. 5; as the mean squared singular value
        of a layer's Jacobian: Pennington, Schoenholz, Ganguli 2017, arXiv:1711.04735.
    """
    return weight_variance * gaussian_slope_mean_square(function, math.sqrt(_positive(variance)))


def length_slope(function: Function, variance: float, *, weight_variance: float) -> float:
    """Slope of the length map: by what factor a layer multiplies a small difference of a signal's length.

    dq'/dq = σ_w² E[φ(√q z)² (z² - 1)] / 2q

    A fixed point of the length map is stable below 1; ξ_q = -1 / ln of it is its depth scale.

    Args:
        function: The activation φ, vectorised, float64 to float64.
        variance: Mean square q of the pre-activations, in their units squared, in (0, inf).
        weight_variance: σ_w², the variance of a weight times fan-in, dimensionless.

    Returns:
        The slope, dimensionless.

    Raises:
        DomainError: `variance` is not positive, or the function is not finite.

    Example:
        >>> round(length_slope(abs, 3.0, weight_variance=2.0), 6)
        2.0

    Source:
        Schoenholz, Gilmer, Ganguli, Sohl-Dickstein 2017, arXiv:1611.01232, eq. 6.
    """
    samples = sample(function, REACH * math.sqrt(_positive(variance)))
    bend = samples.points**2 / variance - 1
    return weight_variance * float(samples.measure(math.sqrt(variance)) @ (samples.values**2 * bend)) / (2 * variance)


def forward_gain(function: Function, variance: float = 1.0) -> float:
    """Gain that keeps the signal whatever becomes of the gradient; for layers without a bias, see `fixed-point`.

    sqrt(q / E[φ(√q z)²])

    Args:
        function: The activation φ, vectorised, float64 to float64.
        variance: Mean square q of the pre-activations, in their units squared, in (0, inf).

    Returns:
        The gain, dimensionless.

    Raises:
        DomainError: `variance` is not positive, or the function is 0 wherever the pre-activations go.

    Example:
        >>> round(forward_gain(lambda x: x / 2), 6)
        2.0
    """
    square = length_map(function, variance, weight_variance=1.0)
    if not (variance > 0 and square > 0):
        raise DomainError(
            f"pre-activations of mean square {variance!r} give an output of mean square {square!r}; a gain needs both "
            "positive. Check the variance and which function was passed."
        )
    return math.sqrt(variance / square)


def backward_gain(function: Function, variance: float = 1.0) -> float:
    """Gain that keeps the gradient whatever becomes of the signal.

    1 / sqrt(E[φ'(√q z)²])

    Args:
        function: The activation φ, vectorised, float64 to float64.
        variance: Mean square q of the pre-activations, in their units squared, in (0, inf).

    Returns:
        The gain, dimensionless.

    Raises:
        DomainError: `variance` is not positive, or the function is level wherever the pre-activations go.

    Example:
        >>> round(backward_gain(lambda x: x / 2), 6)
        2.0
    """
    slope = susceptibility(function, variance, weight_variance=1.0)
    if not slope > 0:
        raise DomainError(
            f"the function is level wherever pre-activations of mean square {variance!r} go; no gain keeps a gradient "
            "of 0. Check which function was passed."
        )
    return slope**-0.5


def require_layer(weight_variance: float, bias_variance: float) -> None:
    """Refuse variances that no layer has.

    Raises:
        DomainError: σ_w² is not positive or σ_b² is below 0, or one of them is not finite.
    """
    if not 0 < weight_variance < math.inf:
        raise DomainError(
            f"weight_variance={weight_variance!r} is no σ_w²; the variance of a weight times fan-in is positive and "
            "finite."
        )
    if not 0 <= bias_variance < math.inf:
        raise DomainError(f"bias_variance={bias_variance!r} is no σ_b²; a variance is finite and at least 0.")


def critical_point(function: Function) -> CriticalPoint:
    """Find the gain that keeps signal and gradient for weights whose input is `function`'s output.

    forward gain = sqrt(q / E[φ²]), backward gain = 1 / sqrt(E[φ'²])

    The first that exists, in this order: equal gains up to q = 1 (identity, ReLU); the origin, if the signal falls
    slowly away from it (tanh, ELU, sigmoid less its mean: 1 / |φ'(0)|); a variance at which a bias variance makes both
    χ and the slope of the length map 1 (GELU, SiLU); the origin, if the signal grows away from it; else the gain that
    keeps the signal at variance 1. An activation with φ(0) != 0 is taken less its mean, see `is_compensated`. One that
    is constant, or not finite for pre-activations of variance up to 100, is a DomainError.

    Args:
        function: The activation φ, vectorised, float64 to float64; any kinks and jumps.

    Returns:
        Gain, variance, mean and what kind of point it is.

    Example:
        >>> point = critical_point(lambda x: (x + abs(x)) / 2)
        >>> round(point.gain, 6), point.kind
        (1.414214, 'homogeneous')

    Source:
        Poole 2016, arXiv:1606.05340; Schoenholz 2017, arXiv:1611.01232; for `origin` and `fixed-point` the classes
        "K* = 0" and "half-stable" of Roberts, Yaida, Hanin 2022, arXiv:2106.10165, section 5.3.
    """
    landscape = survey(function)
    return (
        _homogeneous_point(landscape)
        or _origin_point(landscape, is_decaying=True)
        or _fixed_point(landscape)
        or _origin_point(landscape, is_decaying=False)
        or _forward_point(landscape)
    )


def _positive(variance: float) -> float:
    if not variance > 0:
        raise DomainError(
            f"q={variance!r} is not positive; slopes are means over pre-activations that differ. "
            "Check the variance passed as `variance`."
        )
    return variance


def _point(landscape: Landscape, gain: float, *, at: Moments, kind: Kind, bias_variance: float = 0.0) -> CriticalPoint:
    return CriticalPoint(
        gain=gain,
        variance=at.variance,
        mean=landscape.mean_at(at.variance),
        bias_variance=bias_variance,
        is_compensated=landscape.is_compensated,
        kind=kind,
    )


def _homogeneous_point(landscape: Landscape) -> CriticalPoint | None:
    """The point of a function that is a straight line on either side of 0, as far as variance 1 reaches."""
    unit = landscape.unit
    for moments in landscape.moments[: UNIT_VARIANCE + 1]:
        if abs(moments.forward - unit.square) > TOLERANCE * unit.square:
            return None
        if abs(moments.slope - unit.square) > TOLERANCE * unit.square:
            return None
    return _point(landscape, unit.square**-0.5, at=unit, kind="homogeneous")


def _origin_point(landscape: Landscape, *, is_decaying: bool) -> CriticalPoint | None:
    """The point at q → 0 of a function that is smooth at 0; elsewhere the two gains differ there."""
    left, right = landscape.samples.slopes[landscape.samples.points == 0]
    if abs(left - right) > TOLERANCE * abs(left) or left == 0:
        return None
    at_origin = float(left * right)
    factors = [moments.forward / at_origin for moments in landscape.moments]
    bend = next((factor - 1 for factor in factors if abs(factor - 1) > VISIBLE_BEND), 0.0)
    if (bend <= 0) != is_decaying:
        return None
    near = landscape.moments[0]
    for moments in landscape.moments[1 : UNIT_VARIANCE + 1]:
        if max(abs(moments.forward / at_origin - 1), abs(moments.slope / at_origin - 1)) > MAX_LOSS:
            break
        near = moments
    return _point(landscape, at_origin**-0.5, at=near, kind="origin")


def _fixed_point(landscape: Landscape) -> CriticalPoint | None:
    """The point nearest to variance 1 where the length map and the gradient have slope 1 at once."""
    if landscape.is_compensated:
        # No activation is known to have one then; exp seems to, because its moments are cut off at ten deviations.
        return None
    roots = [root for root in _roots(landscape) if root.slope > root.forward]  # a bias variance is positive
    if not roots:
        return None
    root = min(roots, key=lambda moments: abs(math.log(moments.variance)))
    bias_variance = root.variance - root.square / root.slope
    return _point(landscape, root.slope**-0.5, at=root, kind="fixed-point", bias_variance=bias_variance)


def _roots(landscape: Landscape) -> Iterator[Moments]:
    """Where growth = slope, found on the grid and refined by bisection."""
    candidates = landscape.moments[FIRST_ROOT:]
    for low, high in pairwise(candidates):
        first, last = low.growth - low.slope, high.growth - high.slope
        if first * last < 0 and max(abs(first), abs(last)) > TOLERANCE * low.slope:
            yield _bisected(landscape, low, high)


def _bisected(landscape: Landscape, low: Moments, high: Moments) -> Moments:
    is_rising = low.growth < low.slope
    for _ in range(NUM_BISECTIONS):
        middle = landscape.moments_at(math.sqrt(low.variance * high.variance))
        if (middle.growth < middle.slope) == is_rising:
            low = middle
        else:
            high = middle
    return high


def _forward_point(landscape: Landscape) -> CriticalPoint:
    unit = landscape.unit
    return _point(landscape, unit.square**-0.5, at=unit, kind="forward")
