"""A product of random matrices grows or dies at a rate that is known beforehand."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from isometry._phrases import Phrase
from isometry.lab.experiment import EXPERIMENTS, Claim, Experiment, Measured, Progress
from isometry.lab.figure import Figure, Series
from isometry.theory.products import growth

MAX_SCORE = 4.0  # standard errors by which the mean of independent draws may miss its expectation
BOOK_SIZE = 1e20  # entries of the book's product are larger than this


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomProductSettings:
    """Settings.

    Attributes:
        width: Rows and columns, counts.
        num_matrices: That are multiplied, counts.
        variance: Of an entry.
        num_draws: Independent products, counts.
    """

    width: int = 4
    num_matrices: int = 100
    variance: float = 1.0
    num_draws: int = 200


def measure(settings: RandomProductSettings, seed: int, progress: Progress) -> Measured:
    """Multiply random matrices, and follow the length of one vector and the largest entry of the first product."""
    generator = np.random.default_rng(seed)
    shape = (settings.num_draws, settings.width, settings.width)
    vectors = np.zeros(shape[:2])
    vectors[:, 0] = 1.0
    logs, course, product = np.zeros(settings.num_draws), [np.zeros(settings.num_draws)], np.eye(settings.width)
    scale, largest = 0.0, [0.0]
    for number in range(settings.num_matrices):
        matrices = math.sqrt(settings.variance) * generator.standard_normal(shape)
        vectors = np.einsum("dij,dj->di", matrices, vectors)
        sizes = np.linalg.norm(vectors, axis=1)
        vectors, logs = vectors / sizes[:, None], logs + np.log(sizes)
        course.append(logs.copy())
        product = matrices[0] @ product
        peak = float(np.abs(product).max())
        product, scale = product / peak, scale + math.log(peak)
        largest.append(scale)
        progress((number + 1) / settings.num_matrices)
    stacked = np.array(course)
    quantiles = {name: np.quantile(stacked, share, axis=1) for name, share in (("low", 0.16), ("high", 0.84))}
    return {
        "mean": stacked.mean(1),
        **quantiles,
        "deviation": float(stacked[-1].std(ddof=1)),
        "largest_entry": largest,
    }


def judge(settings: RandomProductSettings, measured: Sequence[Measured]) -> tuple[Claim, ...]:
    """Hold mean and spread of the growth against theory, and the book's entries against its words."""
    mean, deviation = growth(settings.width, variance=settings.variance).after(settings.num_matrices)
    error = deviation / math.sqrt(settings.num_draws * len(measured))
    seen = float(np.mean([each["mean"][-1] for each in measured]))
    spread = float(np.mean([each["deviation"] for each in measured]))
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
            low=0.85,
            high=1.15,
        ),
    ]
    if settings == RandomProductSettings():
        entry = float(np.mean([each["largest_entry"][-1] for each in measured])) / math.log(10)
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
    predicted = [growth(settings.width, variance=settings.variance).after(step) for step in steps]
    decades = 1 / math.log(10)
    band = Series(
        name="predicted, one standard deviation",
        x=steps,
        y=[(mean - spread) * decades for mean, spread in predicted],
        upper=[(mean + spread) * decades for mean, spread in predicted],
        mark="band",
    )
    middle = Series(name="Lyapunov exponent", x=steps, y=[mean * decades for mean, _ in predicted])
    seeds = [
        Series(name="mean of the draws", x=steps, y=[value * decades for value in each["mean"]]) for each in measured
    ]
    entries = [
        Series(name="largest entry of one product", x=steps, y=[value * decades for value in each["largest_entry"]])
        for each in measured
    ]
    return (
        Figure(
            key="growth",
            title=f"A product of {settings.width} × {settings.width} Gaussian matrices",
            x_axis="matrices multiplied",
            y_axis="growth, decades",
            series=(band, middle, *seeds, *entries),
        ),
    )


EXPERIMENTS.add("random-product")(
    Experiment(
        name="random-product",
        question=Phrase("How fast does a product of random matrices grow, and is that known beforehand?"),
        quick=RandomProductSettings(),
        paper=RandomProductSettings(width=64, variance=1 / 64, num_matrices=1000),
        measure=measure,
        judge=judge,
        draw=draw,
        source="Dive into Deep Learning, section 5.4.1.2; Newman 1986, The distribution of Lyapunov exponents.",
    )
)
