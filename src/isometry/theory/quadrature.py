"""Gaussian means of a function that may have kinks and jumps at unknown places.

The line is cut into panels, finer towards 0, and a panel is halved until one polynomial describes the function on it.
Kinks thereby end on the edge of a panel, so no rule is ever applied across one: Gauss-Hermite rules do that and err
by 3e-3 on ReLU. Slopes are those of the panels' polynomials, so no difference quotient crosses a kink either.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import NDArray

from isometry._errors import DomainError

FloatArray = NDArray[np.float64]
Function = Callable[[FloatArray], FloatArray]

REACH = 10.0  # standard deviations on either side; a Gaussian has 1.5e-23 of its mass beyond
NUM_OCTAVES = 16  # the innermost panels are 2**16 times nearer to 0 than the outermost edge
PANELS_PER_OCTAVE = 2
NUM_POINTS = 16  # per panel; the rule is exact up to degree 2 * 16 - 3
TAIL = 3  # the last Legendre coefficients of a resolved panel vanish; three, for a symmetric function skips some
RESOLUTION = 1e-13  # of the numbers at hand, some 450 rounding units of float64
NUM_HALVINGS = 40  # a panel of width 1 shrinks to 1e-12, less than any mean here can feel
MAX_PANELS = 2**14  # unresolved at once; enough for sin(30 x) over 2000 units


def _lobatto_points() -> FloatArray:
    """Gauss-Lobatto points on [-1, 1]: both ends belong to them, so a kink beside an end is seen."""
    inner = np.real(legendre.Legendre.basis(NUM_POINTS - 1).deriv().roots())
    return np.concatenate(([-1.0], np.sort(inner), [1.0]))


_POINTS = _lobatto_points()
_BASIS = legendre.legvander(_POINTS, NUM_POINTS - 1)
_WEIGHTS = 2 / (NUM_POINTS * (NUM_POINTS - 1) * _BASIS[:, -1] ** 2)
_TO_COEFFICIENTS = np.linalg.inv(_BASIS)
_TO_SLOPES = legendre.legval(_POINTS, legendre.legder(np.eye(NUM_POINTS))).T @ _TO_COEFFICIENTS


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """A function on a grid that follows its kinks, ready for a mean under any Gaussian that fits inside.

    Attributes:
        points: Places on the line, ascending; an edge between two panels comes twice.
        weights: Lengths for which the points stand; an integral is their sum with the values.
        values: The function at the points.
        slopes: Its derivative from the inside of each panel; 0 where a jump could not be resolved.
    """

    points: FloatArray
    weights: FloatArray
    values: FloatArray
    slopes: FloatArray

    def measure(self, std: float) -> FloatArray:
        """Weights whose sum with a quantity at the points is its mean for x ~ N(0, std²)."""
        density = np.exp(-0.5 * (self.points / std) ** 2) / (std * math.sqrt(2 * math.pi))
        return self.weights * density


def sample(function: Function, reach: float) -> Samples:
    """Evaluate a function on [-reach, reach] so finely that a polynomial describes it on each panel.

    Features are found if they are no narrower than about a fiftieth of their distance from 0. A function that is not
    finite there, or rough at every scale, is a DomainError.

    Args:
        function: Vectorised, float64 to float64, pure; smooth but for kinks and jumps.
        reach: Half the length of the interval, in the function's units, in (0, inf).

    Returns:
        Points, weights, values and slopes.
    """
    left, right = _starting_panels(reach)
    panels: list[tuple[FloatArray, ...]] = []
    for halving in range(NUM_HALVINGS + 1):
        half_width = (right - left)[:, None] / 2
        points = np.clip((left + right)[:, None] / 2 + half_width * _POINTS, left[:, None], right[:, None])
        values = _evaluate(function, points)
        rough = _is_rough(points, values)
        slopes = np.where(rough[:, None], 0.0, values @ _TO_SLOPES.T / half_width)
        done = ~rough if halving < NUM_HALVINGS else np.ones_like(rough)
        panels.append(tuple(part[done] for part in (points, half_width * _WEIGHTS, values, slopes)))
        if done.all():
            break
        left, right = _halve(left[rough], right[rough])
    parts = (np.concatenate(part) for part in zip(*panels, strict=True))
    points, weights, values, slopes = parts
    order = np.argsort(points[:, 0], kind="stable")
    return Samples(*(part[order].ravel() for part in (points, weights, values, slopes)))


def gaussian_mean(function: Function, std: float, *, mean: float = 0.0) -> float:
    """Mean of a function of a Gaussian variable.

    E[f(mean + std z)], z ~ N(0, 1)

    Exact to 1e-8 for std in [1e-4, 1e2] and values of size 1, and in proportion for larger ones. The function may grow
    like any polynomial; of one that grows exponentially the part beyond ten standard deviations is left out.

    Args:
        function: Vectorised, float64 to float64; smooth but for kinks and jumps, wherever they are.
        std: Standard deviation of the variable, in the function's units, in [0, inf).
        mean: Mean of the variable, in the function's units.

    Returns:
        The mean, in units of the function's values.
    """
    if std == 0:
        return float(_evaluate(function, np.array([mean]))[0])
    samples = sample(lambda points: function(points + mean), REACH * _checked_std(std))
    return float(samples.measure(std) @ samples.values)


def gaussian_slope_mean_square(function: Function, std: float) -> float:
    """Mean square of the derivative of a function that cannot be differentiated by rule.

    E[f'(std z)²], z ~ N(0, 1)

    Exact to 1e-7 of itself for std in [1e-4, 1e2]. A jump counts for nothing, as in back-propagation.

    Args:
        function: Vectorised, float64 to float64; smooth but for kinks and jumps, wherever they are.
        std: Standard deviation of the variable, in the function's units, in (0, inf).

    Returns:
        The mean square, in units of the function's slope squared.
    """
    samples = sample(function, REACH * _checked_std(std))
    return float(samples.measure(std) @ samples.slopes**2)


def _checked_std(std: float) -> float:
    if not 0 < std < math.inf:
        raise DomainError(
            f"std={std!r} is not the standard deviation of a spread-out variable; it must be positive and finite. "
            "Check the variance it was computed from."
        )
    return std


def _starting_panels(reach: float) -> tuple[FloatArray, FloatArray]:
    """Left and right edges of panels whose width grows with their distance from 0, where activations bend."""
    edges = reach * 2.0 ** np.linspace(-NUM_OCTAVES, 0, NUM_OCTAVES * PANELS_PER_OCTAVE + 1)
    edges = np.concatenate((-edges[::-1], [0.0], edges))
    return edges[:-1], edges[1:]


def _evaluate(function: Function, points: FloatArray) -> FloatArray:
    # An overflow inside the function is its own affair as long as its value is finite: 1 / (1 + exp(1000)) is 0.
    try:
        with np.errstate(all="ignore"):
            values = np.asarray(function(points.ravel()), dtype=np.float64)
    except TypeError as error:
        raise DomainError(
            f"{function!r} does not take an array of numbers ({error}); theory asks for a function of float64 arrays, "
            "such as np.tanh. Wrap one of tensors or of single numbers in a function that converts."
        ) from error
    if values.size != points.size:
        raise DomainError(
            f"the function answered {points.size} points with {values.size} values; it must act on each point alone. "
            "Softmax and normalisations have no gain of this kind."
        )
    if not np.isfinite(values).all():
        place = points.ravel()[~np.isfinite(values.ravel())][0]
        raise DomainError(
            f"the function is not finite at {place:.6g}; its Gaussian means need a finite value on the whole line. "
            "Check that it computes in float64, or clip its input."
        )
    return values.reshape(points.shape)


def _is_rough(points: FloatArray, values: FloatArray) -> NDArray[np.bool_]:
    """Which panels no polynomial describes yet."""
    tail = np.abs(values @ _TO_COEFFICIENTS[-TAIL:].T).max(axis=1)
    # Functions compute with numbers of the size of 1, of x and of their value; their rounding noise is in proportion.
    return tail > RESOLUTION * (1 + np.abs(points).max(axis=1) + np.abs(values).max(axis=1))


def _halve(left: FloatArray, right: FloatArray) -> tuple[FloatArray, FloatArray]:
    if 2 * left.size > MAX_PANELS:
        raise DomainError(
            f"the function is rough on {left.size} pieces at once; a Gaussian mean needs one that is smooth between "
            "its kinks. Check that it is not random and that it computes in float64."
        )
    middle = (left + right) / 2
    return np.concatenate((left, middle)), np.concatenate((middle, right))
