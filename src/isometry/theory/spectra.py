"""The law of the singular values of a wide network's Jacobian at a finite depth, by free probability.

The Jacobian of L layers is J = ∏ D_l W_l, with D_l the diagonal slopes φ'(h) and W_l random. At infinite width the
squared singular values follow the law whose S-transform is that of D² and of W Wᵀ multiplied, to the power L. With
m = E[d/(y - d)], d = φ'², and weights scaled by σ_w², that law has M(x) = m at

    x = (1 + m)/m · (σ_w² m y / ((1 + m) S_W(m)))^L,  S_W = 1 for orthogonal weights, 1/(1 + m) for Gaussian ones

so a y in the upper half plane gives both m and x without an inverse, and the density is -Im[(1 + m)/x] / π.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isometry._errors import DomainError
from isometry.theory.meanfield import relative_spread, require_slope
from isometry.theory.quadrature import REACH, Function, sample

FloatArray = NDArray[np.float64]
Complex = NDArray[np.complex128]

NUM_VALUES = 400  # values that stand for the law of the squared slopes
NUM_PLACES = 20_001  # among which the edge is looked for
HIGH = 1e3  # height above the line, relative to the place, at which y and x are nearly equal
NEAR = 1e-6  # height at which the density is read
STEPS_A_LAYER = 8  # from the one height to the other; x is the steeper in y the more layers there are
NUM_NEWTON = 20
CLOSE = 1e-9  # relative change at which Newton's method ends


@dataclass(frozen=True, slots=True, eq=False)
class Slopes:
    """The law of the squared slopes φ'(h)² of one layer.

    Attributes:
        values: Squared slopes, dimensionless, at least 0.
        weights: Their probabilities, which add up to 1.
    """

    values: FloatArray
    weights: FloatArray

    @property
    def mean(self) -> float:
        """μ₁ = E[φ'²], dimensionless."""
        return float(self.weights @ self.values)


LINEAR = Slopes(np.ones(1), np.ones(1))


def slopes_of(function: Function, variance: float) -> Slopes:
    """Return the law of φ'(h)² for pre-activations of a mean square.

    Args:
        function: The activation φ, vectorised, float64 to float64.
        variance: Mean square q of the pre-activations, in their units squared, positive.

    Returns:
        The law, gathered into a few hundred values of equal probability where it is continuous.

    Raises:
        DomainError: If the variance is not positive, or the function not finite or level where the pre-activations go.
    """
    if not 0 < variance < math.inf:
        raise DomainError(f"variance={variance!r} is no mean square of a spread-out signal; it is positive and finite.")
    deviation = math.sqrt(variance)
    samples = sample(function, REACH * deviation)
    measure = samples.measure(deviation)
    measure = measure / measure.sum()
    require_slope(samples, variance)
    order = np.argsort(samples.slopes**2, kind="stable")
    values, weights = samples.slopes[order] ** 2, measure[order]
    place = np.minimum((np.cumsum(weights) - weights / 2) * NUM_VALUES, NUM_VALUES - 1).astype(int)
    total = np.bincount(place, weights, NUM_VALUES).astype(np.float64)
    means = np.bincount(place, weights * values, NUM_VALUES).astype(np.float64)
    filled = total > 0
    return Slopes(means[filled] / total[filled], total[filled])


def jacobian_moments(
    slopes: Slopes, num_layers: int, *, weight_variance: float, is_orthogonal: bool
) -> tuple[float, float]:
    """Return mean and variance of the squared singular values of the Jacobian.

    m₁ = (σ_w² μ₁)^L, variance = m₁² L (μ₂/μ₁² - 1 - s₁), with s₁ = 0 for orthogonal and -1 for Gaussian weights

    Args:
        slopes: Law of the squared slopes, of every layer.
        num_layers: L, counts.
        weight_variance: σ_w², the variance of a weight times fan-in, dimensionless, positive.
        is_orthogonal: Whether the weights are orthogonal; else they are Gaussian.

    Returns:
        Both, dimensionless.

    Source:
        Pennington, Schoenholz, Ganguli 2017, arXiv:1711.04735, eqs. 17 to 19.
    """
    second = float(slopes.weights @ slopes.values**2)
    mean = (weight_variance * slopes.mean) ** num_layers
    return mean, mean**2 * relative_spread([(slopes.mean, second)] * num_layers, is_orthogonal=is_orthogonal)


def jacobian_density(
    slopes: Slopes, num_layers: int, places: FloatArray, *, weight_variance: float, is_orthogonal: bool
) -> FloatArray:
    """Return the density of the squared singular values of the Jacobian of L layers.

    Args:
        slopes: Law of the squared slopes, of every layer.
        num_layers: L, counts from 1, from 2 where weights are orthogonal.
        places: Squared singular values at which it is wanted, positive, (k,).
        weight_variance: σ_w², the variance of a weight times fan-in, dimensionless, positive.
        is_orthogonal: Whether the weights are orthogonal; else they are Gaussian.

    Returns:
        The density, (k,); what lies at 0 behind a ReLU is not in it.

    Raises:
        DomainError: If there are too few layers, or a place is not positive.

    Source:
        Pennington, Schoenholz, Ganguli 2018, arXiv:1802.09979, section 3 and algorithm 1.
    """
    places = np.asarray(places, dtype=np.float64)
    if num_layers < 1 + is_orthogonal or not np.all(places > 0):
        raise DomainError(
            f"num_layers={num_layers}, places from {np.min(places, initial=np.inf):g}: the density is of one Gaussian "
            "layer or more, or of two orthogonal ones, at squared singular values above 0. That of one orthogonal "
            "layer is the law of its squared slopes, times σ_w²: slopes_of."
        )
    scale = (weight_variance * slopes.mean) ** num_layers
    if not places.size:
        return places
    layers = _Layers(slopes, num_layers, is_orthogonal=is_orthogonal)
    x, m = layers.followed(places / scale)
    return np.maximum(-((1 + m) / x).imag / math.pi, 0.0) / scale


def jacobian_edge(slopes: Slopes, num_layers: int, *, weight_variance: float, is_orthogonal: bool) -> float:
    """Return the upper edge of the squared singular values of the Jacobian of L layers.

    It is the least x(y) over real y above the largest squared slope; for linear Gaussian layers (L + 1)^{L+1} / L^L.

    Args:
        slopes: Law of the squared slopes, of every layer.
        num_layers: L, counts from 1.
        weight_variance: σ_w², the variance of a weight times fan-in, dimensionless, positive.
        is_orthogonal: Whether the weights are orthogonal; else they are Gaussian.

    Returns:
        The edge, dimensionless.

    Raises:
        DomainError: If there is no layer.

    Example:
        >>> round(jacobian_edge(LINEAR, 2, weight_variance=1.0, is_orthogonal=False), 4)  # 3³ / 2²
        6.75

    Source:
        Pennington, Schoenholz, Ganguli 2018, arXiv:1802.09979, section 3.
    """
    if num_layers < 1:
        raise DomainError(f"num_layers={num_layers}: the Jacobian is of one layer or more.")
    layers = _Layers(slopes, num_layers, is_orthogonal=is_orthogonal)
    top = float(layers.values.max())
    y = top + np.geomspace(1e-9 * top, 1e3 * num_layers * top, NUM_PLACES)
    return float(layers.place_of(y.astype(np.complex128))[0].real.min()) * (weight_variance * slopes.mean) ** num_layers


class _Layers:
    """The map from y to x and m, for squared slopes of mean 1 and weights of variance 1."""

    def __init__(self, slopes: Slopes, num_layers: int, *, is_orthogonal: bool) -> None:
        self.values = slopes.values / slopes.mean
        self.weights = slopes.weights
        self.num_layers = num_layers
        self.loss = 1 if is_orthogonal else 0  # powers of 1 + m that orthogonal weights take away in each layer

    def place_of(self, y: Complex) -> tuple[Complex, Complex]:
        """Return x and m."""
        m = (self.weights * self.values / (y[:, None] - self.values)).sum(1)
        return (1 + m) / m * (m * y / (1 + m) ** self.loss) ** self.num_layers, m

    def slope_at(self, y: Complex, m: Complex) -> Complex:
        """Return the slope of ln x with y."""
        change = -(self.weights * self.values / (y[:, None] - self.values) ** 2).sum(1)
        power = self.num_layers
        return change * ((power - 1) / m + (1 - self.loss * power) / (1 + m)) + power / y

    def followed(self, places: FloatArray) -> tuple[Complex, Complex]:
        """Return x and m just above places on the line, followed down from where m is about 1/x."""
        high = HIGH * (1 + places)
        y = places + 1j * high
        for share in np.linspace(0, 1, STEPS_A_LAYER * (self.num_layers + 10)):
            target = places + 1j * high * (NEAR * places / high) ** share
            y = self._solved(y, target)
        return self.place_of(y)

    def _solved(self, y: Complex, target: Complex) -> Complex:
        """Return the y at which x is the target, by Newton's method on the logarithm from one nearby."""
        for _ in range(NUM_NEWTON):
            x, m = self.place_of(y)
            step = np.log(x / target) / self.slope_at(y, m)
            y = y - step
            if np.abs(step).max() < CLOSE * np.abs(y).min():
                break
        return y
