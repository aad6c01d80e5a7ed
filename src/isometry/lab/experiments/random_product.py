"""A product of random matrices grows or dies at a rate that is known beforehand."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from isometry._errors import DomainError
from isometry._phrases import Phrase
from isometry.lab.experiment import EXPERIMENTS, Claim, Experiment, Measured, Progress
from isometry.lab.figure import Figure, Series
from isometry.theory.products import FloatArray, lyapunov_exponents, product_bounds, product_growth, trigamma

MAX_SCORE = 4.0  # standard errors by which what is drawn may miss its expectation
BOOK_SIZE = 1e17  # the length has 24.2 decades with a deviation of 1.7, so this is four deviations below
ROUNDING = 1e-9  # decades
NUM_POINTS = 20  # of a curve that is drawn in points, about


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomProductSettings:
    """Settings.

    Attributes:
        width: Rows and columns, counts from 2: a number has no directions that could part.
        num_matrices: That are multiplied, counts.
        variance: Of an entry.
        num_draws: Independent products, counts from 2.
    """

    width: int = 4
    num_matrices: int = 100
    variance: float = 1.0
    num_draws: int = 200

    def __post_init__(self) -> None:
        if self.width <= 1 or self.num_matrices < 1 or not 0 < self.variance < math.inf or self.num_draws <= 1:
            raise DomainError(
                f"width={self.width!r}, num_matrices={self.num_matrices!r}, variance={self.variance!r}, num_draws="
                f"{self.num_draws!r}: width and draws are 2 at least, matrices 1, and the variance is positive."
            )


def measure(settings: RandomProductSettings, seed: int, progress: Progress) -> Measured:
    """Multiply random matrices; follow lengths, all directions, the first product's entries, and pairs' eigenvalues."""
    generator = np.random.default_rng(seed)
    shape = (settings.num_draws, settings.width, settings.width)
    frames = np.broadcast_to(np.eye(settings.width), shape)
    logs, course = np.zeros(shape[:2]), [np.zeros(settings.num_draws)]
    first: list[FloatArray] = []
    for number in range(settings.num_matrices):
        matrices = math.sqrt(settings.variance) * generator.standard_normal(shape)
        first.append(matrices[0])
        frames, triangles = np.linalg.qr(matrices @ frames)
        logs += np.log(np.abs(np.diagonal(triangles, axis1=1, axis2=2)))
        course.append(logs[:, 0].copy())
        progress((number + 1) / settings.num_matrices)
    stacked = np.array(course)
    low, high = np.quantile(stacked, (0.16, 0.84), axis=1)
    pairs = math.sqrt(settings.variance) * generator.standard_normal((2, *shape))
    return {
        "mean": stacked.mean(1),
        "low": low,
        "high": high,
        "deviation": float(stacked[-1].std(ddof=1)),
        "exponents": logs.mean(0) / settings.num_matrices,
        "largest_entry": _largest_entries(first),
        "stretch": _stretch(first),
        "allowed": _allowed(first),
        "eigenvalues_above": _share_above(*pairs),
    }


def judge(settings: RandomProductSettings, measured: Sequence[Measured]) -> tuple[Claim, ...]:
    """Hold growth, spread and all exponents against theory, the book's entries against its words, and the bounds."""
    mean, deviation = product_growth(settings.width, variance=settings.variance).after(settings.num_matrices)
    error = deviation / math.sqrt(settings.num_draws * len(measured))
    seen = float(np.mean([each["mean"][-1] for each in measured]))
    spread = float(np.mean([each["deviation"] for each in measured]))
    freedom = (settings.num_draws - 1) * len(measured)
    stray = MAX_SCORE / math.sqrt(2 * freedom)
    claims = [
        Claim(
            text=Phrase("the mean logarithm of the length is that of the Lyapunov exponent"),
            measured=(seen - mean) / error,
            low=-MAX_SCORE,
            high=MAX_SCORE,
            unit="standard errors",
        ),
        Claim(
            text=Phrase("single products stray from it as far as theory says"),
            measured=spread / deviation,
            low=1 - stray,
            high=1 + stray,
        ),
        *_directions(settings, measured),
        *_bounds(measured),
    ]
    if settings == RandomProductSettings():
        entry = min(each["largest_entry"][-1] for each in measured) / math.log(10)
        claims.append(
            Claim(
                text=Phrase("the book's product of 100 matrices has entries beyond all use"),
                measured=entry,
                low=math.log10(BOOK_SIZE),
                unit="decades",
            )
        )
    return tuple(claims)


def draw(settings: RandomProductSettings, measured: Sequence[Measured]) -> tuple[Figure, ...]:
    """Draw the growth of each seed over the prediction."""
    steps = range(settings.num_matrices + 1)
    predicted = [product_growth(settings.width, variance=settings.variance).after(step) for step in steps]
    decades = 1 / math.log(10)
    band = Series(
        name="predicted, one standard deviation",
        x=steps,
        y=[(mean - spread) * decades for mean, spread in predicted],
        upper=[(mean + spread) * decades for mean, spread in predicted],
        mark="band",
    )
    middle = Series(name="Lyapunov exponent", x=steps, y=[mean * decades for mean, _ in predicted])
    few = steps[:: max(1, settings.num_matrices // NUM_POINTS)]
    seeds = [
        Series(name="mean of the draws", x=few, y=[each["mean"][step] * decades for step in few], mark="points")
        for each in measured
    ]
    entries = [
        Series(name="largest entry of one product", x=steps, y=[value * decades for value in each["largest_entry"]])
        for each in measured
    ]
    grown = Figure(
        key="growth",
        title=Phrase("A product of {width} × {width} Gaussian matrices", width=settings.width),
        x_axis="matrices multiplied",
        y_axis="growth, decades",
        series=(band, *seeds, *entries, middle),
    )
    return grown, _drawn_exponents(settings, measured)


def _drawn_exponents(settings: RandomProductSettings, measured: Sequence[Measured]) -> Figure:
    places = range(1, settings.width + 1)
    seen = [Series(name="measured", x=places, y=each["exponents"], mark="points") for each in measured]
    exact = lyapunov_exponents(settings.width, variance=settings.variance)
    return Figure(
        key="exponents",
        title="No scale suits all directions",
        x_axis="direction, the most stretched first",
        y_axis="Lyapunov exponent, nats a matrix",
        series=(Series(name="Newman 1986", x=places, y=exact.tolist()), *seen),
    )


def _directions(settings: RandomProductSettings, measured: Sequence[Measured]) -> tuple[Claim, ...]:
    """Hold all exponents against theory, and say what their distance makes of the condition number."""
    exact = lyapunov_exponents(settings.width, variance=settings.variance)
    seen = np.mean([each["exponents"] for each in measured], axis=0)
    # The variance of the logarithm of a chi-squared number of k degrees of freedom is ψ₁(k/2), of its root a quarter.
    variances = np.array([trigamma((settings.width - index) / 2) / 4 for index in range(settings.width)])
    count = settings.num_draws * settings.num_matrices * len(measured)
    scores = (seen - exact) / np.sqrt(variances / count)
    decades = settings.num_matrices / math.log(10)
    error = math.sqrt(float(variances[0] + variances[-1]) / count)
    return (
        Claim(
            text=Phrase("every direction grows by its own exponent, at the predicted rate"),
            measured=float(np.abs(scores).max()),
            high=MAX_SCORE,
            unit="standard errors",
        ),
        Claim(
            text=Phrase("so the condition number grows without end"),
            measured=float(seen[0] - seen[-1]) * decades,
            low=max(0.0, float(exact[0] - exact[-1]) - MAX_SCORE * error) * decades,
            unit="decades",
        ),
    )


def _bounds(measured: Sequence[Measured]) -> tuple[Claim, ...]:
    """Hold the first product against the bounds of its factors, and say that eigenvalues have none."""
    return (
        Claim(
            text=Phrase("the largest singular value is at most the product of the factors' largest"),
            measured=max(each["stretch"][0] - each["allowed"][0] for each in measured),
            high=ROUNDING,
            unit="decades",
        ),
        Claim(
            text=Phrase("the smallest is at least the product of the factors' smallest"),
            measured=min(each["stretch"][1] - each["allowed"][1] for each in measured),
            low=-ROUNDING,
            unit="decades",
        ),
        Claim(
            text=Phrase("eigenvalues have no such bound: that of a pair is often above the product of both"),
            measured=100 * float(np.mean([each["eigenvalues_above"] for each in measured])),
            low=5.0,
            unit="%",
        ),
    )


def _largest_entries(matrices: Sequence[FloatArray]) -> list[float]:
    """Return the logarithm of the largest entry of the product of the first k matrices, k = 0, 1, …, in nats."""
    product, scale, found = np.eye(len(matrices[0])), 0.0, [0.0]
    for matrix in matrices:
        product = matrix @ product
        peak = float(np.abs(product).max())
        product, scale = product / peak, scale + math.log(peak)
        found.append(scale)
    return found


def _stretch(matrices: Sequence[FloatArray]) -> tuple[float, float]:
    """Return the logarithms of the product's largest and smallest singular values, in decades.

    The smallest is the largest of the inverse; that of the product itself is lost in its rounding.
    """
    inverses = [np.asarray(np.linalg.inv(each), np.float64) for each in reversed(matrices)]
    return _largest_singular(matrices), -_largest_singular(inverses)


def _largest_singular(matrices: Sequence[FloatArray]) -> float:
    product, scale = np.eye(len(matrices[0])), 0.0
    for matrix in matrices:
        product = matrix @ product
        size = float(np.linalg.norm(product, 2))
        product, scale = product / size, scale + math.log10(size)
    return scale


def _allowed(matrices: Sequence[FloatArray]) -> tuple[float, float]:
    """Return the bounds of the two, in decades."""
    found = product_bounds(list(np.linalg.svd(np.stack(matrices), compute_uv=False)))
    return found.log_largest / math.log(10), found.log_smallest / math.log(10)


def _share_above(left: FloatArray, right: FloatArray) -> float:
    """Return the share of pairs with an eigenvalue of the product above the product of both largest ones, in size."""
    sizes = [np.abs(np.linalg.eigvals(each)).max(1) for each in (left, right, left @ right)]
    return float((sizes[2] > sizes[0] * sizes[1] * (1 + 1e-9)).mean())


EXPERIMENTS.add("random-product")(
    Experiment(
        name="random-product",
        question=Phrase("How fast does a product of random matrices grow, and is that known beforehand?"),
        quick=RandomProductSettings(),
        paper=RandomProductSettings(width=64, variance=1 / 64, num_matrices=1000),
        measure=measure,
        judge=judge,
        draw=draw,
        source="Dive into Deep Learning, section 5.4.1.2; Newman 1986, The distribution of Lyapunov exponents, eq. 9.",
    )
)
