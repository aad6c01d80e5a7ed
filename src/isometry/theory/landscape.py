"""What a layer does to signal and gradient at every size of its pre-activations, for one activation."""

import math
from dataclasses import dataclass

import numpy as np

from isometry._errors import DomainError
from isometry.theory.quadrature import REACH, Function, Samples, sample

VARIANCES = tuple(float(10**exponent) for exponent in np.linspace(-6, 2, 161))  # mean squares that are tried
UNIT_VARIANCE = 120  # index of 1.0 among them
NEGLIGIBLE = 1e-12  # relative to values of size 1; rounding of φ(0) and of a constant stays below


@dataclass(frozen=True, slots=True)
class Moments:
    """What a layer does to pre-activations of mean square q, with weights of σ_w = 1.

    Attributes:
        variance: q, in units of the pre-activations squared, like all below but the slopes.
        mean: What is cancelled: E[φ], or 0 if the mean is left in.
        square: E[φ²], of φ less `mean`.
        growth: The slope of `square` with q, dimensionless.
        slope: E[φ'²], dimensionless.
    """

    variance: float
    mean: float
    square: float
    growth: float
    slope: float

    @property
    def forward(self) -> float:
        """Factor on the mean square of the signal, dimensionless."""
        return self.square / self.variance


@dataclass(frozen=True, slots=True, eq=False)
class Landscape:
    """An activation and its moments at each of `VARIANCES`.

    Attributes:
        samples: The activation less its value at 0; numbers near 0 keep their digits.
        at_zero: That value, 0 if it is negligible.
        moments: In the order of `VARIANCES`.
    """

    samples: Samples
    at_zero: float
    moments: tuple[Moments, ...]

    @property
    def is_compensated(self) -> bool:
        """Whether the mean is cancelled, which it is if φ(0) != 0."""
        return self.at_zero != 0

    @property
    def unit(self) -> Moments:
        """The moments at variance 1."""
        return self.moments[UNIT_VARIANCE]

    def moments_at(self, variance: float) -> Moments:
        """Moments at any variance in the range of `VARIANCES`."""
        return _moments(self.samples, variance, is_compensated=self.is_compensated)

    def mean_at(self, variance: float) -> float:
        """E[φ(√q z)], in units of the activation."""
        return self.at_zero + float(self.samples.measure(math.sqrt(variance)) @ self.samples.values)


def survey(function: Function) -> Landscape:
    """Take the moments of an activation over eight decades of variance.

    Args:
        function: The activation φ, vectorised, float64 to float64; any kinks and jumps.

    Returns:
        The activation, sampled, and its moments.

    Raises:
        DomainError: The function is constant, or not finite for pre-activations of variance up to 100.
    """
    samples = sample(function, REACH * math.sqrt(VARIANCES[-1]))
    at_zero = float(np.mean(samples.values[samples.points == 0]))
    at_zero = at_zero if abs(at_zero) > NEGLIGIBLE else 0.0
    shifted = Samples(samples.points, samples.weights, samples.values - at_zero, samples.slopes)
    moments = tuple(_moments(shifted, variance, is_compensated=at_zero != 0) for variance in VARIANCES)
    if moments[UNIT_VARIANCE].square <= (NEGLIGIBLE * at_zero) ** 2:
        raise DomainError(
            f"the function is {at_zero:.6g} wherever pre-activations of variance 1 go; a gain needs one that lets a "
            "signal through. Check which function was passed."
        )
    return Landscape(shifted, at_zero, moments)


def _moments(samples: Samples, variance: float, *, is_compensated: bool) -> Moments:
    measure = samples.measure(math.sqrt(variance))
    mean = float(measure @ samples.values) if is_compensated else 0.0
    squares = (samples.values - mean) ** 2
    return Moments(
        variance=variance,
        mean=mean,
        square=float(measure @ squares),
        growth=float(measure @ (squares * (samples.points**2 / variance - 1))) / (2 * variance),
        slope=float(measure @ samples.slopes**2),
    )
