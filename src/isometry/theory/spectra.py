"""The law of the singular values of a wide network's Jacobian at a finite depth, by free probability.

The Jacobian of L layers is J = ∏ D_l W_l, with D_l the diagonal slopes φ'(h_l) and W_l random. At infinite width the
squared singular values follow the law whose S-transform is the product of those of all D_l² and W_l W_lᵀ. With
m = E[d/(y_l - d)], d = φ'(h_l)², and weights scaled by σ_w², that law has M(x) = m at

    x = (1 + m)/m · ∏_l σ_w² m y_l / ((1 + m) S_W(m)),  S_W = 1 for orthogonal weights, 1/(1 + m) for Gaussian ones

Newton's method follows m and the y_l of the layers down to an x just above the line, where the density is
-Im[(1 + m)/x] / π. Layers of one and the same `Slopes` share their y: a signal at its fixed point costs one.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isometry._errors import DomainError, ShapeError
from isometry.theory.criticality import require_layer
from isometry.theory.meanfield import relative_spread, require_slope
from isometry.theory.quadrature import REACH, Function, sample

FloatArray = NDArray[np.float64]
Complex = NDArray[np.complex128]

NUM_VALUES = 400  # values that stand for the law of the squared slopes
SAME = 1e-8  # share of the largest squared slope by which equal ones differ, from rounding
NUM_PLACES = 20_001  # among which the edge is looked for
NEAREST, FARTHEST = 1e-9, 1e3  # their distances from the largest squared slope, over it; the farthest for each layer
HIGH = 1e3  # height above the line, relative to the place, at which y and x are nearly equal; for each layer
NEAR = 1e-6  # height at which the density is read
STEPS_A_LAYER = 8  # from the one height to the other; x is the steeper in m the more layers there are
NUM_NEWTON = 20
CLOSE = 1e-9  # relative change at which Newton's method ends
FAR = 1e-6  # at which it has failed; by which probabilities do not add up to 1


@dataclass(frozen=True, slots=True, eq=False)
class Slopes:
    """The law of the squared slopes φ'(h)² of one layer.

    Attributes:
        values: Squared slopes, dimensionless, at least 0.
        weights: Their probabilities, which add up to 1.
    """

    values: FloatArray
    weights: FloatArray

    def __post_init__(self) -> None:
        values, weights = np.asarray(self.values), np.asarray(self.weights)
        if values.ndim != 1 or values.shape != weights.shape:
            raise ShapeError(f"values of shape {values.shape} and weights of {weights.shape}: each value has a weight.")
        if not (np.all(values >= 0) and np.all(weights >= 0) and abs(weights.sum() - 1) < FAR):
            raise DomainError("squared slopes are at least 0, and so are their probabilities, which add up to 1.")
        if not 0 < self.mean < math.inf:
            raise DomainError(f"squared slopes have a mean of {self.mean:g}; it has to be positive and finite.")

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
        The law, gathered into a few hundred values of equal probability where it is continuous; a slope that many units
        share is one value.

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
    alike = _alike(values)
    is_atom = np.bincount(alike, weights)[alike] > 1 / NUM_VALUES
    place = np.where(is_atom, NUM_VALUES + alike, place)
    total = np.bincount(place, weights).astype(np.float64)
    means = np.bincount(place, weights * values).astype(np.float64)
    filled = total > 0
    return Slopes(means[filled] / total[filled], total[filled])


def _alike(values: FloatArray) -> NDArray[np.intp]:
    """Return a number for each value, the same for those that only rounding tells apart."""
    return np.unique(np.round(values / (SAME * values.max())), return_inverse=True)[1]


def jacobian_moments(layers: Sequence[Slopes], *, weight_variance: float, is_orthogonal: bool) -> tuple[float, float]:
    """Return mean and variance of the squared singular values of the Jacobian.

    m₁ = ∏_l σ_w² μ₁, variance = m₁² Σ_l (μ₂/μ₁² - 1 - s₁), with s₁ = 0 for orthogonal and -1 for Gaussian weights

    Args:
        layers: Law of the squared slopes of each layer; [slopes] * L where all have the same.
        weight_variance: σ_w², the variance of a weight times fan-in, dimensionless, positive.
        is_orthogonal: Whether the weights are orthogonal; else they are Gaussian.

    Returns:
        Both, dimensionless.

    Raises:
        DomainError: If there is no layer, or σ_w² is not positive.

    Source:
        Pennington, Schoenholz, Ganguli 2017, arXiv:1711.04735, eqs. 17 to 19.
    """
    mean = _mean(layers, weight_variance)
    moments = [(each.mean, float(each.weights @ each.values**2)) for each in layers]
    return mean, mean**2 * relative_spread(moments, is_orthogonal=is_orthogonal)


def jacobian_density(
    layers: Sequence[Slopes], places: FloatArray, *, weight_variance: float, is_orthogonal: bool
) -> FloatArray:
    """Return the density of the squared singular values of the Jacobian of several layers.

    Args:
        layers: Law of the squared slopes of each layer, one or more; [slopes] * L where all have the same, as at the
            fixed point of the signal's length. Orthogonal weights need two with slopes that differ among the units.
        places: Squared singular values at which it is wanted, positive, in an array of any shape.
        weight_variance: σ_w², the variance of a weight times fan-in, dimensionless, positive.
        is_orthogonal: Whether the weights are orthogonal; else they are Gaussian.

    Returns:
        The density at each place. Not in it is what lies at 0 behind a ReLU and at the values of `jacobian_atoms`, of
        orthogonal layers that are mostly linear.

    Raises:
        DomainError: If there are too few layers, a place or σ_w² is not positive, or Newton's method does not find it.

    Example:
        >>> from isometry.theory import Stack, passages
        >>> stack = Stack(function=np.tanh, weight_variance=1.2)  # its signal shrinks from layer to layer
        >>> lengths = [2.0, *(each.length for each in passages(stack, 2.0, 3))]
        >>> layers = [slopes_of(stack.function, each) for each in lengths]
        >>> jacobian_density(layers, np.array([0.2, 0.5]), weight_variance=1.2, is_orthogonal=True).round(3).tolist()
        [0.859, 0.446]

    Source:
        Pennington, Schoenholz, Ganguli 2018, arXiv:1802.09979, section 3 and algorithm 1, there for equal layers.
    """
    places = np.asarray(places, dtype=np.float64)
    scale = _mean(layers, weight_variance)
    num_telling = sum(not is_orthogonal or np.ptp(each.values) > SAME * each.values.max() for each in layers)
    if num_telling < 1 + is_orthogonal:
        raise DomainError(
            f"{num_telling} of {len(layers)} orthogonal layers have slopes that differ; a density has the Jacobian of "
            "two such. That of one is the law of its squared slopes, times σ_w²: slopes_of."
        )
    if not np.all((places > 0) & (places < math.inf)):
        raise DomainError("a place is not positive and finite; the density is that of squared singular values above 0.")
    x, m = _Layers(layers, is_orthogonal=is_orthogonal).followed(places.ravel() / scale)
    density = -((1 + m) / x).imag / math.pi
    if is_orthogonal:
        values, masses = _atoms(layers)
        density = density + (masses / (x[:, None] - values / scale)).imag.sum(1) / math.pi
    return (np.maximum(density, 0.0) / scale).reshape(places.shape)


def jacobian_atoms(layers: Sequence[Slopes], *, weight_variance: float) -> tuple[FloatArray, FloatArray]:
    """Return the squared singular values that many directions share, of the Jacobian of orthogonal layers.

    At ∏_l σ_w² d_l lies the mass 1 - Σ_l (1 - P(φ'_l² = d_l)) if that is positive: at the top of hard tanh, whose units
    are mostly in the linear part. Gaussian layers have no such values.

    Args:
        layers: Law of the squared slopes of each layer, one or more; [slopes] * L where all have the same.
        weight_variance: σ_w², the variance of a weight times fan-in, dimensionless, positive.

    Returns:
        The values, above 0, and the share of all singular values that lies at each, dimensionless.

    Raises:
        DomainError: If there is no layer, or σ_w² is not positive.

    Example:
        >>> layer = slopes_of(lambda x: np.clip(x, -1, 1), 0.3)
        >>> values, shares = jacobian_atoms([layer] * 3, weight_variance=1.0)
        >>> values.round(4).tolist(), shares.round(3).tolist()
        ([1.0], [0.796])

    Source:
        Belinschi 2003, The atoms of the free multiplicative convolution of two probability distributions.
    """
    _mean(layers, weight_variance)
    values, shares = _atoms(layers)
    return values * weight_variance ** len(layers), shares


def _atoms(layers: Sequence[Slopes]) -> tuple[FloatArray, FloatArray]:
    """Return the atoms above 0 for weights of variance 1, and their masses."""
    values = masses = np.ones(1)
    for each in layers:
        alike = _alike(each.values)
        weights = np.bincount(alike, each.weights)
        own = np.bincount(alike, each.weights * each.values) / np.maximum(weights, np.finfo(np.float64).tiny)
        left = masses[:, None] + weights - 1
        stays = (left > SAME) & (own > 0)
        values, masses = (values[:, None] * own)[stays], left[stays]
    return values, masses


def jacobian_edge(layers: Sequence[Slopes], *, weight_variance: float, is_orthogonal: bool) -> float:
    """Return the upper edge of the squared singular values of the Jacobian of several layers.

    It is the least x over positive m; for linear Gaussian layers (L + 1)^{L+1} / L^L.

    Args:
        layers: Law of the squared slopes of each layer, one or more; [slopes] * L where all have the same.
        weight_variance: σ_w², the variance of a weight times fan-in, dimensionless, positive.
        is_orthogonal: Whether the weights are orthogonal; else they are Gaussian.

    Returns:
        The edge, dimensionless.

    Raises:
        DomainError: If there is no layer, or σ_w² is not positive.

    Example:
        >>> round(jacobian_edge([LINEAR] * 2, weight_variance=1.0, is_orthogonal=False), 4)  # 3³ / 2²
        6.75

    Source:
        Pennington, Schoenholz, Ganguli 2018, arXiv:1802.09979, section 3.
    """
    scale = _mean(layers, weight_variance)
    return _Layers(layers, is_orthogonal=is_orthogonal).edge() * scale


def _mean(layers: Sequence[Slopes], weight_variance: float) -> float:
    """Return the mean squared singular value, and refuse layers that have none."""
    if not layers:
        raise DomainError("no layers were given; the Jacobian is of one or more.")
    require_layer(weight_variance, 0.0)
    mean = math.prod(weight_variance * each.mean for each in layers)
    if not 0 < mean < math.inf:
        raise DomainError(f"the mean squared singular value of {len(layers)} layers is {mean:g}, beyond all numbers.")
    return mean


class _Layers:
    """The map from m and the y of each layer to x, for squared slopes of mean 1 and weights of variance 1."""

    def __init__(self, layers: Sequence[Slopes], *, is_orthogonal: bool) -> None:
        counts = Counter(layers)
        self.values = [each.values / each.mean for each in counts]
        self.weights = [each.weights for each in counts]
        self.counts = np.array(list(counts.values()))[:, None]
        self.power = len(layers)
        self.loss = len(layers) if is_orthogonal else 0  # powers of 1 + m that orthogonal weights take away

    def logarithm(self, m: Complex, y: Complex) -> Complex:
        """Return ln x; y has a row for each law."""
        return (1 - self.loss) * np.log(1 + m) + (self.power - 1) * np.log(m) + (self.counts * np.log(y)).sum(0)

    def moments(self, y: Complex) -> tuple[Complex, Complex]:
        """Return the m at which each y stands and its slope with y, a row for each law."""
        found = [_moment(*each) for each in zip(self.values, self.weights, y, strict=True)]
        return np.stack([m for m, _ in found]), np.stack([slope for _, slope in found])

    def edge(self) -> float:
        """Return the least x over positive m, where y lies above the largest squared slope."""
        tops = np.array([[values.max()] for values in self.values])
        above = np.geomspace(NEAREST, FARTHEST * self.power, NUM_PLACES) * tops
        known = np.log(self.moments((tops + above).astype(np.complex128))[0].real)  # falls along a row
        m = np.linspace(known.min(1).max(), known.max(1).min(), NUM_PLACES)
        y = tops + np.exp([np.interp(m, row[::-1], np.log(far[::-1])) for row, far in zip(known, above, strict=True)])
        return math.exp(self.logarithm(np.exp(m) + 0j, y + 0j).real.min())

    def followed(self, places: FloatArray) -> tuple[Complex, Complex]:
        """Return x and m just above places on the line, followed down from where m is about 1/x."""
        high = HIGH * self.power * (1 + places)
        m, y = 1 / (places + 1j * high), np.tile(places + 1j * high, (len(self.values), 1))
        target = places + 1j * high
        miss = np.zeros_like(places)
        with np.errstate(all="ignore"):  # what overflows misses
            for share in np.linspace(0, 1, STEPS_A_LAYER * (self.power + 10)):
                target = places + 1j * high * (NEAR * places / high) ** share
                m, y, miss = self._solved(m, y, target)
        if not np.all(miss < FAR):
            raise DomainError(
                f"Newton's method lost the density of {self.power} layers at {places[~(miss < FAR)][0]:g} times the "
                "mean. Ask for it nearer to the mean, or of fewer layers."
            )
        return target, m

    def _solved(self, m: Complex, y: Complex, target: Complex) -> tuple[Complex, Complex, FloatArray]:
        """Return the m and y at which x is the target, by Newton's method from ones nearby, and its last step."""
        last = np.zeros(m.shape)
        for _ in range(NUM_NEWTON):
            moments, slopes = self.moments(y)
            misses = moments - m
            slope = (self.power - 1) / m + (1 - self.loss) / (1 + m) + (self.counts / (slopes * y)).sum(0)
            miss = np.log(np.exp(self.logarithm(m, y)) / target)  # on the branch near 0
            step = (miss - (self.counts * misses / (slopes * y)).sum(0)) / slope
            m, y = m - step, y - (misses + step) / slopes
            last = np.abs(step / m)
            if np.max(last, initial=0.0) < CLOSE:
                break
        return m, y, last


def _moment(values: FloatArray, weights: FloatArray, y: Complex) -> tuple[Complex, Complex]:
    """Return E[d/(y - d)] and its slope with y."""
    parts = 1 / (y - values[:, None])
    shares = (weights * values).astype(np.complex128)
    return shares @ parts, -(shares @ parts**2)
