"""The plane of weight and bias variances of an activation: where signals become one, where they drift apart.

The two phases meet on the critical line, on which the depth scale is infinite: only there can a plain network be as
deep as one likes. It is where χ₁ = 1 at a length that stays; some activations (GELU, SiLU) have no such length for
small biases and pass from order to chaos in a jump.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from isometry._errors import DomainError
from isometry.theory.landscape import VARIANCES
from isometry.theory.meanfield import Depths, depths, require_slope
from isometry.theory.quadrature import REACH, Function, Samples, sample

ON_LINE = 1e-6  # of the length: a bias variance that is met so nearly is met; ReLU meets 0 at every length
ROUNDING = 1e-9  # of the length: a bias variance so little below 0 is 0
STABLE = 1e-6  # above 1, of the length map's slope; 1 itself belongs to ReLU and to half-stable points
NEAR_ORIGIN = 1e-3  # the length at which the slope of a point at the origin is told from 1
NUM_BISECTIONS = 50  # of a step of a twentieth of a decade


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseDiagram:
    """What becomes of signals at every point of a grid.

    Attributes:
        weight_variances: σ_w² of the columns, dimensionless.
        bias_variances: σ_b² of the rows, in units of the pre-activations squared.
        depths: A row a bias variance: q*, χ₁, c*, ξ and phase.
        line: Weight and bias variances of the critical line, where it crosses the rows.
    """

    weight_variances: tuple[float, ...]
    bias_variances: tuple[float, ...]
    depths: tuple[tuple[Depths, ...], ...]
    line: tuple[tuple[float, float], ...]


def phase_diagram(
    function: Function, weight_variances: Sequence[float], bias_variances: Sequence[float], *, start: float = 1.0
) -> PhaseDiagram:
    """Say at every point of a grid where signals settle and how fast, and where the critical line runs.

    Args:
        function: The activation φ, vectorised, float64 to float64.
        weight_variances: σ_w² of the columns, dimensionless, positive.
        bias_variances: σ_b² of the rows, in units of the pre-activations squared, at least 0.
        start: Mean square of the first pre-activations, positive.

    Returns:
        The plane; a point takes some hundredths of a second.

    Raises:
        DomainError: If the function is not finite where the pre-activations go.

    Example:
        >>> import numpy as np
        >>> plane = phase_diagram(np.tanh, (1.0, 3.0), (0.1,))
        >>> [point.phase for point in plane.depths[0]]
        ['ordered', 'chaotic']

    Source:
        Poole et al. 2016, arXiv:1606.05340, figure 1; Schoenholz et al. 2017, arXiv:1611.01232, figure 1.
    """
    rows = tuple(
        tuple(depths(function, weight_variance=weight, bias_variance=bias, start=start) for weight in weight_variances)
        for bias in bias_variances
    )
    line = tuple(
        (weight, bias) for bias in bias_variances for weight in critical_weight_variances(function, bias_variance=bias)
    )
    return PhaseDiagram(
        weight_variances=tuple(weight_variances), bias_variances=tuple(bias_variances), depths=rows, line=line
    )


def critical_weight_variances(function: Function, *, bias_variance: float) -> tuple[float, ...]:
    """Return where the critical line crosses a bias variance: the σ_w² with χ₁ = 1 at a length that stays.

    σ_w² E[φ'(√q z)²] = 1 and σ_w² E[φ(√q z)²] + σ_b² = q with a slope of at most 1 with q, which is 0 to 100

    Args:
        function: The activation φ, vectorised, float64 to float64.
        bias_variance: σ_b², in units of the pre-activations squared, from 0 to less than 100.

    Returns:
        Weight variances in ascending order, dimensionless; one for most activations, none for some.

    Raises:
        DomainError: If the bias variance is out of its range, or the function is not finite where the pre-activations
            go, or level there.

    Example:
        >>> critical_weight_variances(lambda x: (x + abs(x)) / 2, bias_variance=0.0)
        (2.0,)

    Source:
        Schoenholz et al. 2017, arXiv:1611.01232, eq. 5 set to 1.
    """
    if not 0 <= bias_variance < VARIANCES[-1]:
        raise DomainError(
            f"bias_variance={bias_variance!r}: the line is looked for at lengths up to {VARIANCES[-1]:g}, so at bias "
            "variances from 0 to less than that. Scale the activation's input for larger ones."
        )
    samples = sample(function, REACH * math.sqrt(VARIANCES[-1]))

    def excess(length: float) -> float:
        """Bias variance of the line at a length, less the one that is wanted, over the length."""
        return (_on_line(samples, length)[1] - bias_variance) / length

    lengths: list[float] = []
    low, before = 0.0, math.nan
    for length in VARIANCES:
        here = excess(length)
        if abs(here) <= ON_LINE:
            lengths += [length] if not abs(before) <= ON_LINE else []  # of a stretch of the line its beginning
        elif before * here < 0 and abs(before) > ON_LINE:
            lengths.append(_bisected(excess, low, length))
        low, before = length, here
    weights = [(_weight_at(samples, length), length) for length in lengths]
    return tuple(sorted(round(weight, 9) for weight, length in weights if _stays(samples, length, weight)))


def edge_of_chaos(function: Function, lengths: Sequence[float]) -> tuple[tuple[float, float], ...]:
    """Return the line between the ordered and the chaotic phase, point by point.

    σ_w² = 1 / E[φ'(√q z)²], σ_b² = q - σ_w² E[φ(√q z)²]

    Args:
        function: The activation φ, vectorised, float64 to float64.
        lengths: The q for which a point is wanted, in units of the pre-activations squared, positive.

    Returns:
        Weight and bias variance of each; those are left out at which the bias variance would be negative, or from which
        the length strays.

    Raises:
        DomainError: A length is not positive, or the function is not finite where the pre-activations go, or level
            there.

    Example:
        >>> edge_of_chaos(lambda x: (x + abs(x)) / 2, [1.0])
        ((2.0, 0.0),)

    Source:
        Poole et al. 2016, arXiv:1606.05340, figure 1; Schoenholz et al. 2017, arXiv:1611.01232, figure 1.
    """
    if not all(0 < length < math.inf for length in lengths):
        raise DomainError(f"lengths={tuple(lengths)!r}: a mean square q is positive and finite.")
    samples = sample(function, REACH * math.sqrt(max(lengths, default=1.0)))
    points = [(*_on_line(samples, length), length) for length in lengths]
    return tuple(
        (round(weight, 12), round(max(bias, 0.0), 12))
        for weight, bias, length in points
        if bias >= -ROUNDING * length and _stays(samples, length, weight)
    )


def _on_line(samples: Samples, length: float) -> tuple[float, float]:
    """Return the weight variance with a slope of 1 at a length, and the bias variance that keeps it; maybe negative."""
    measure = samples.measure(math.sqrt(length))
    require_slope(samples, length)
    weight = 1 / float(measure @ samples.slopes**2)
    return weight, length - weight * float(measure @ samples.values**2)


def _weight_at(samples: Samples, length: float) -> float:
    """Return the weight variance of the line at a length; at the least one, which stands for 0, that at 0."""
    if length > VARIANCES[0]:
        return _on_line(samples, length)[0]
    left, right = samples.slopes[samples.points == 0]
    return 2 / float(left**2 + right**2)


def _stays(samples: Samples, length: float, weight: float) -> bool:
    """Return whether the length map comes back to a length on the line."""
    length = max(length, NEAR_ORIGIN)
    bend = samples.points**2 / length - 1
    slope = weight * float(samples.measure(math.sqrt(length)) @ (samples.values**2 * bend)) / (2 * length)
    return slope <= 1 + STABLE


def _bisected(excess: Callable[[float], float], low: float, high: float) -> float:
    """Return the length between two at which the excess changes its sign."""
    is_rising = excess(low) < 0
    for _ in range(NUM_BISECTIONS):
        middle = math.sqrt(low * high)
        if (excess(middle) < 0) == is_rising:
            low = middle
        else:
            high = middle
    return high
