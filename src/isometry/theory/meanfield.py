"""Signals in wide random networks: where their length settles, how fast two of them become one or drift apart.

A layer x' = W φ(x) + b with W_ij ~ N(0, σ_w²/fan_in) and b_i ~ N(0, σ_b²) takes the correlation c of two signals of
mean square q to (σ_w² Σ_k a_k² c^k + σ_b²) / q, where a_k = E[φ(√q z) h_k(z)] with the normalised Hermite polynomials
h_k (Mehler's formula).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from isometry._errors import DomainError
from isometry.theory.criticality import length_map, length_slope, require_layer, susceptibility
from isometry.theory.quadrature import REACH, Function, Samples, sample

Phase = Literal["vanishing", "ordered", "critical", "chaotic", "exploding"]

NUM_STEPS = 100  # of the length map itself; at the edge of chaos it settles as slowly as 1 / steps, so then
NUM_NEWTON = 200  # steps of Newton's method follow, which halve the distance to a fixed point of slope 1
MAX_STRIDE = 2.0  # factor on the length of one of them
SETTLED = 1e-12  # relative change of the length in one step
HUGE = 1e9  # mean squares above it are those of a signal that grows without end
TINY = 1e-12  # mean squares below it are those of a signal that dies out
NUM_HERMITE = 400  # coefficients; those of a kinked function fall like k**-1.25
CRITICAL = 0.01  # of χ around 1 is called critical
AT_EDGE = 1e-9  # of χ around 1, within which it is 1
LINEAR = 1e-9  # share of the mean square, below which what is not linear in a function is nothing
LEVEL = 1e-6  # of the least mean square that the slope of a continuous function has; below it is rounding
NUM_BISECTIONS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Depths:
    """What becomes of signals in a deep network of one kind of layer.

    Attributes:
        length: Mean square q at which pre-activations settle; 0 if they die out, infinite if they grow without end.
        slope: χ₁, factor of a layer on the mean square of gradients at that length, dimensionless.
        correlation: The correlation c* at which two signals settle, in [0, 1]; nan if layers are linear there and
            keep whatever correlation there was.
        depth_scale: ξ, layers over which they come nearer to it by a factor e; infinite at the edge of chaos. Where the
            length is 0 or infinite: layers over which the mean square of signal and gradient changes by a factor e.
        length_scale: Layers over which lengths come nearer to theirs by a factor e; likewise.
        phase: `ordered` if signals become one, `chaotic` if they drift apart, `vanishing` if they die out, `exploding`
            if they grow without end; `critical` if χ₁ is within 1 % of 1.
    """

    length: float
    slope: float
    correlation: float
    depth_scale: float
    length_scale: float
    phase: Phase


def depths(function: Function, *, weight_variance: float, bias_variance: float, start: float = 1.0) -> Depths:
    """Say where a signal's length and the correlation of two signals settle.

    Args:
        function: The activation φ, vectorised, float64 to float64.
        weight_variance: σ_w², the variance of a weight times fan-in, dimensionless, positive.
        bias_variance: σ_b², in units of the pre-activations squared.
        start: Mean square of the first pre-activations, positive.

    Returns:
        Fixed points and depth scales. For a length that is 0 or infinite χ₁ and c* are those of the limit.

    Raises:
        DomainError: A variance is none, or the function is not finite where the pre-activations go.

    Example:
        >>> import numpy as np
        >>> depths(np.tanh, weight_variance=0.5, bias_variance=0.05).phase
        'ordered'

    Source:
        Poole et al. 2016, arXiv:1606.05340, eqs. 3 to 5; Schoenholz et al. 2017, arXiv:1611.01232, eqs. 5 to 9.
    """
    length = settled_length(function, weight_variance=weight_variance, bias_variance=bias_variance, start=start)
    at = min(max(length, TINY), HUGE)
    slope = susceptibility(function, at, weight_variance=weight_variance)
    squares = hermite_squares(function, at) * weight_variance
    squares[0] += bias_variance
    squares /= squares.sum()
    settles = 0 < length < math.inf
    correlation, rate = _settled_correlation(squares, slope if settles else 1.0)
    change = length_slope(function, at, weight_variance=weight_variance) if settles else slope
    return Depths(
        length=length,
        slope=slope,
        correlation=correlation,
        depth_scale=_scale(rate if settles else slope),
        length_scale=_scale(change),
        phase=_phase(length, slope),
    )


def settled_length(function: Function, *, weight_variance: float, bias_variance: float, start: float = 1.0) -> float:
    """Mean square at which pre-activations settle, layer after layer.

    Args:
        function: The activation φ, vectorised, float64 to float64.
        weight_variance: σ_w², the variance of a weight times fan-in, dimensionless.
        bias_variance: σ_b², in units of the pre-activations squared.
        start: Mean square of the first pre-activations, positive.

    Returns:
        The fixed point in units of the pre-activations squared; 0 if they die out, infinite if they grow without end.

    Raises:
        DomainError: A variance is none, or the function is not finite where the pre-activations go.

    Example:
        >>> import numpy as np
        >>> settled_length(np.tanh, weight_variance=0.5, bias_variance=0.0)
        0.0
    """
    require_layer(weight_variance, bias_variance)
    if not 0 < start < math.inf:
        raise DomainError(
            f"start={start!r} is not positive and finite; a signal of some size has to enter the network."
        )
    length, low, high = start, 0.0, math.inf
    for number in range(NUM_STEPS + NUM_NEWTON):
        following = length_map(function, length, weight_variance=weight_variance, bias_variance=bias_variance)
        if following > HUGE or length > HUGE:
            return math.inf
        if following < TINY:
            return 0.0
        if abs(following - length) <= SETTLED * length or high - low <= SETTLED * length:
            return following
        if number >= NUM_STEPS:
            low, high = (length, high) if following > length else (low, length)
            change = length_slope(function, length, weight_variance=weight_variance)
            step = following - length
            following = _strode(length, step / (1 - change) if change < 1 else step * math.inf, (low, high))
        length = following
    return length


def correlation_map(
    function: Function, correlation: float, variance: float, *, weight_variance: float, bias_variance: float = 0.0
) -> float:
    """Correlation of two signals one layer on.

    c' = (σ_w² E[φ(u) φ(v)] + σ_b²) / q, with u and v Gaussian of mean square q and correlation c

    Args:
        function: The activation φ, vectorised, float64 to float64.
        correlation: c, in [-1, 1].
        variance: q, at which the length has settled, in units of the pre-activations squared, positive.
        weight_variance: σ_w², the variance of a weight times fan-in, dimensionless.
        bias_variance: σ_b², in units of the pre-activations squared.

    Returns:
        c', dimensionless.

    Raises:
        DomainError: A number is out of its range, or the function is not finite where the pre-activations go.

    Example:
        >>> round(correlation_map(lambda x: x, 0.3, 2.0, weight_variance=1.0), 6)
        0.3

    Source:
        Poole et al. 2016, arXiv:1606.05340, eq. 5.
    """
    require_layer(weight_variance, bias_variance)
    if not -1 <= correlation <= 1:
        raise DomainError(f"correlation={correlation!r} is none; it lies in [-1, 1].")
    squares = hermite_squares(function, variance)
    product = float(squares @ correlation ** np.arange(len(squares)))
    return (weight_variance * product + bias_variance) / variance


def hermite_squares(function: Function, variance: float) -> NDArray[np.float64]:
    """Return the squared coefficients a_k² of a function of √q z; the last one stands for all that follow.

    Args:
        function: The activation φ, vectorised, float64 to float64.
        variance: q, in units of the pre-activations squared, positive.

    Returns:
        An array whose sum is E[φ(√q z)²], in the function's units squared.

    Raises:
        DomainError: The function is not finite where the pre-activations go.
    """
    deviation = _deviation(variance)
    samples = sample(function, REACH * deviation)
    squares = hermite_coefficients(samples, deviation, samples.values) ** 2
    rest = float(samples.measure(deviation) @ samples.values**2) - float(squares.sum())
    return np.append(squares, max(rest, 0.0))


def hermite_coefficients(samples: Samples, deviation: float, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return E[f(√q z) h_k(z)], k = 0 … `NUM_HERMITE` - 1.

    Args:
        samples: Points and weights for means over them.
        deviation: √q, in units of the points.
        values: The function at the points, (..., points).

    Returns:
        The coefficients, (..., k), in the function's units.
    """
    measure, points = samples.measure(deviation), samples.points / deviation
    before, here = np.zeros_like(points), np.ones_like(points)
    coefficients = np.empty((*values.shape[:-1], NUM_HERMITE))
    for order in range(NUM_HERMITE):
        coefficients[..., order] = values @ (measure * here)
        before, here = here, (points * here - math.sqrt(order) * before) / math.sqrt(order + 1)
    return coefficients


def slope_moments(function: Function, variance: float) -> tuple[float, float]:
    """Return E[φ'²] and E[φ'⁴] at pre-activations of a mean square.

    Args:
        function: The activation φ, vectorised, float64 to float64.
        variance: q, in units of the pre-activations squared, positive.

    Returns:
        Both moments, dimensionless.

    Raises:
        DomainError: The function is not finite where the pre-activations go.

    Example:
        >>> first, second = slope_moments(lambda x: 2 * x, 1.0)
        >>> round(first, 6), round(second, 6)
        (4.0, 16.0)
    """
    deviation = _deviation(variance)
    samples = sample(function, REACH * deviation)
    measure = samples.measure(deviation)
    return float(measure @ samples.slopes**2), float(measure @ samples.slopes**4)


def require_slope(samples: Samples, variance: float) -> None:
    """Refuse an activation that is level but for jumps; a continuous one has E[φ'²] ≥ Var[φ] / q (Poincaré).

    Args:
        samples: The activation φ.
        variance: Mean square q of the pre-activations, in their units squared, positive.

    Raises:
        DomainError: Its slope is no more than rounding.
    """
    measure = samples.measure(math.sqrt(variance))
    spread = float(measure @ samples.values**2) - float(measure @ samples.values) ** 2
    if float(measure @ samples.slopes**2) <= LEVEL * max(spread, np.finfo(float).eps) / variance:
        raise DomainError(
            "the function is level wherever the pre-activations go; no gradient passes, so none has a size. "
            "Check which function was passed."
        )


def relative_spread(slopes: Sequence[tuple[float, float]], *, is_orthogonal: bool) -> float:
    """Relative variance of the squared singular values of the Jacobian of layers of one width.

    Var[s²] / E[s²]² = Σ_l (μ₂ / μ₁² - 1 - s₁), with s₁ = 0 for orthogonal and -1 for Gaussian weights

    Relative variances add up since the layers are freely independent.

    Args:
        slopes: For each layer μ₁ = E[φ'²] and μ₂ = E[φ'⁴] at the length of its input, dimensionless.
        is_orthogonal: Whether the weights are orthogonal; else they are Gaussian.

    Returns:
        The variance over the squared mean, dimensionless; 0 at dynamical isometry.

    Example:
        >>> relative_spread([(1.0, 1.0)] * 3, is_orthogonal=False)
        3.0

    Source:
        Pennington, Schoenholz, Ganguli 2018, arXiv:1802.09979, eq. 20, there for one length at all layers.
    """
    return sum(second / first**2 - 1 + (0 if is_orthogonal else 1) for first, second in slopes)


def _scale(rate: float) -> float:
    """Return the layers over which what changes by a factor a layer changes by e."""
    return math.inf if abs(rate - 1) < AT_EDGE else (0.0 if rate <= 0 else 1 / abs(math.log(rate)))


def _deviation(variance: float) -> float:
    if not 0 < variance < math.inf:
        raise DomainError(f"variance={variance!r} is no mean square of a spread-out signal; it is positive and finite.")
    return math.sqrt(variance)


def _phase(length: float, slope: float) -> Phase:
    if abs(slope - 1) < CRITICAL:
        return "critical"
    if not 0 < length < math.inf:
        return "exploding" if length else "vanishing"
    return "chaotic" if slope > 1 else "ordered"


def _strode(length: float, stride: float, bracket: tuple[float, float]) -> float:
    """Return a length a stride on, as far as is allowed and within a bracket of fixed points."""
    low, high = bracket
    there = min(max(length + stride, length / MAX_STRIDE), length * MAX_STRIDE)
    return there if low < there < high else (low + high) / 2


def _settled_correlation(squares: NDArray[np.float64], slope: float) -> tuple[float, float]:
    """Return where correlations settle, and the slope of their map there."""
    if 1 - squares[1] < LINEAR:
        return math.nan, 1.0
    if slope < 1 + AT_EDGE:
        return 1.0, slope
    correlation, orders = _crossing(squares), np.arange(1, len(squares))
    return correlation, float((orders * squares[1:]) @ correlation ** (orders - 1))


def _crossing(squares: NDArray[np.float64]) -> float:
    """Return the correlation below 1 that a layer keeps; the map is convex, so there is one if it leaves 1 steeply."""
    orders = np.arange(len(squares))
    low, high = 0.0, 1.0
    for _ in range(NUM_BISECTIONS):
        middle = (low + high) / 2
        if float(squares @ middle**orders) > middle:
            low = middle
        else:
            high = middle
    return low
