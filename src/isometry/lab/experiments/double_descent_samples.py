"""Near the count of features more examples make least squares worse, unless a penalty is tuned."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, median

import numpy as np
import torch
from torch import Tensor

from isometry._phrases import Phrase
from isometry.lab.apparatus.averages import mean_curve
from isometry.lab.apparatus.classification import error_of, one_hot
from isometry.lab.apparatus.digits import mnist_5k, split, with_wrong_labels
from isometry.lab.apparatus.random_features import relu_features
from isometry.lab.apparatus.rises import largest_rise
from isometry.lab.experiment import EXPERIMENTS, Claim, Experiment, Measured, Progress
from isometry.lab.figure import Figure, Mark, Series
from isometry.theory.least_squares import LinearProblem, least_norm_risk, tuned_ridge_risk

FAR = 0.2  # relative distance of examples from features from which on the mean over draws is not of a few of them
LESS, MORE = 0.5, 4 / 3  # examples over features between which more data do not help, with a noise of half the signal
SHOWN = 0.04  # likewise, from which on the least norm's risk is drawn: at the peak it has no mean
UNIT = "times"


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplesSettings:
    """Settings.

    Attributes:
        num_features: Of the linear model, counts.
        num_examples: Of the linear model, each count a place of the curve.
        noise: Standard deviation of the targets' noise; the signal has 1.
        num_draws: Data sets of each count.
        num_random: Random ReLU features of digits, counts.
        num_images: Digits, each count a place of the curve.
        wrong: Share of wrong labels among them.
        penalty: Of the ridge regression on digits, beside the sum of squares.
    """

    num_features: int = 100
    num_examples: tuple[int, ...] = (10, 20, 30, 50, 70, 80, 90, 95, 100, 105, 110, 120, 133, 150, 200, 300, 500)
    noise: float = 0.5
    num_draws: int = 200
    num_random: int = 500
    num_images: tuple[int, ...] = (50, 100, 150, 250, 350, 425, 475, 500, 525, 600, 750, 1000, 1500, 2500, 4000)
    wrong: float = 0.2
    penalty: float = 30.0

    @property
    def problem(self) -> LinearProblem:
        """Signal and noise as theory takes them."""
        return LinearProblem(signal=1.0, noise=self.noise**2)


def measure(settings: SamplesSettings, seed: int, progress: Progress) -> Measured:
    """Fit least squares to ever more examples, of the linear model and of digits."""
    generator = torch.Generator().manual_seed(seed)
    least: list[list[float]] = []
    tuned: list[list[float]] = []
    for number, count in enumerate(settings.num_examples):
        for risks, found in zip((least, tuned), _linear_risks(settings, count, generator), strict=True):
            risks.append(found.tolist())
        progress((number + 1) / (2 * len(settings.num_examples)))
    errors = _digit_errors(settings, seed, lambda share: progress((1 + share) / 2))
    return {"risk": least, "tuned": tuned, "error": errors[0], "ridge": errors[1]}


def judge(settings: SamplesSettings, measured: Sequence[Measured]) -> tuple[Claim, ...]:
    """Hold the risks against theory, and the peaks against the counts of features."""
    return (*_linear_claims(settings, measured), *_digit_claims(settings, measured))


def draw(settings: SamplesSettings, measured: Sequence[Measured]) -> tuple[Figure, ...]:
    """Draw the risk with theory's, and the error on digits."""
    return _picture_of_risk(settings, measured), _picture_of_digits(settings, measured)


def _picture_of_risk(settings: SamplesSettings, measured: Sequence[Measured]) -> Figure:
    width, counts = settings.num_features, settings.num_examples
    smooth = range(min(counts), max(counts) + 1)
    curves: list[Series] = []
    names = {"risk": Phrase("least norm"), "tuned": Phrase("tuned ridge")}
    for (key, name), told in zip(names.items(), _theory(settings, smooth), strict=True):
        seen = _over_draws(measured, key, fmean)
        kinds: tuple[tuple[Phrase, Mark, Sequence[int], Sequence[float]], ...] = (
            (Phrase("theory, {name}", name=name), "line", smooth, told),
            (Phrase("measured, {name}", name=name), "points", counts, seen),
        )
        for kind, mark, places, values in kinds:
            is_high = [key == "risk" and abs(count / width - 1) < SHOWN for count in places]
            shown = [math.nan if hidden else value for value, hidden in zip(values, is_high, strict=True)]
            ratios = [count / width for count in places]
            curves.append(Series(name=kind, x=ratios, y=shown, mark=mark))
    return Figure(
        key="risk-over-samples",
        title=Phrase("Least squares on {count} features: before the peak more data hurts", count=width),
        x_axis="examples over features",
        y_axis="risk, targets squared",
        x_scale="log",
        series=tuple(curves),
        x_marks=((1.0, "examples = features"),),
    )


def _picture_of_digits(settings: SamplesSettings, measured: Sequence[Measured]) -> Figure:
    count, wrong = settings.num_random, settings.wrong
    names = {"error": "least norm", "ridge": Phrase("ridge, penalty {penalty:g}", penalty=settings.penalty)}
    curves = [
        Series(
            name=name,
            x=settings.num_images,
            y=[100 * value for value in mean_curve(each[key] for each in measured)],
        )
        for key, name in names.items()
    ]
    return Figure(
        key="error-over-images",
        title=Phrase("{count} random ReLU features of digits, {wrong:.0%} wrong labels", count=count, wrong=wrong),
        x_axis="images",
        y_axis="test error, %",
        x_scale="log",
        series=tuple(curves),
        x_marks=((count, "images = features"),),
    )


def _linear_claims(settings: SamplesSettings, measured: Sequence[Measured]) -> tuple[Claim, ...]:
    middle, mean = _over_draws(measured, "risk", median), _over_draws(measured, "risk", fmean)
    tuned = _over_draws(measured, "tuned", fmean)
    ratios = [count / settings.num_features for count in settings.num_examples]
    peak = int(np.argmax(middle))
    told, told_tuned = _theory(settings, settings.num_examples)
    errors = [_off(mean[place], told[place]) for place, ratio in enumerate(ratios) if abs(ratio - 1) >= FAR]
    theory = (max(errors, default=math.nan), max(map(_off, tuned, told_tuned)))
    return (
        Claim(
            text=Phrase("the risk peaks where examples are as many as features"),
            measured=ratios[peak],
            low=0.9,
            high=1.1,
        ),
        Claim(
            text=Phrase("there the data do worse than none"),
            measured=middle[peak] / (1 + settings.noise**2),
            low=2.0,
            unit=UNIT,
        ),
        Claim(
            text=Phrase("with four thirds as many examples as features it is where it was with half as many"),
            measured=mean[_nearest(ratios, MORE)] / mean[_nearest(ratios, LESS)],
            low=0.9,
            high=1.15,
            unit=UNIT,
        ),
        Claim(text=Phrase("away from the peak the mean risk is theory's"), measured=theory[0], high=0.15),
        Claim(text=Phrase("and with its penalty tuned everywhere"), measured=theory[1], high=0.1),
        Claim(
            text=Phrase("with its penalty tuned more data never hurts: the largest rise"),
            measured=largest_rise(tuned).by,
            high=0.02,
            unit="targets squared",
        ),
    )


def _digit_claims(settings: SamplesSettings, measured: Sequence[Measured]) -> tuple[Claim, ...]:
    error, ridge = (mean_curve(each[key] for each in measured) for key in ("error", "ridge"))
    worst = int(np.argmax(error))
    return (
        Claim(
            text=Phrase("on digits the error peaks where images are as many as random features"),
            measured=settings.num_images[worst] / settings.num_random,
            low=0.9,
            high=1.1,
        ),
        Claim(
            text=Phrase("there it is above that with a quarter of the images"),
            measured=100 * (error[worst] - error[_nearest(settings.num_images, settings.num_random / 4)]),
            low=20.0,
            unit="points",
        ),
        Claim(
            text=Phrase("with a penalty it has no peak: the largest rise"),
            measured=100 * largest_rise(ridge).by,
            high=3.0,
            unit="points",
        ),
    )


def _linear_risks(settings: SamplesSettings, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return the risks of the least norm and of the tuned ridge on every draw."""
    draws, width = settings.num_draws, settings.num_features

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    features, truth = normal(draws, count, width), torch.nn.functional.normalize(normal(draws, width, 1), dim=1)
    targets = features @ truth + settings.noise * normal(draws, count, 1)
    left, values, right = torch.linalg.svd(features, full_matrices=False)
    along = left.mT @ targets
    penalty = width * settings.noise**2
    fits = (along / values[..., None], along * (values / (values**2 + penalty))[..., None])
    least, tuned = ((right.mT @ fit - truth).square().sum((1, 2)) + settings.noise**2 for fit in fits)
    return least, tuned


def _digit_errors(
    settings: SamplesSettings, seed: int, progress: Callable[[float], None]
) -> tuple[list[float], list[float]]:
    """Return the test errors of the least norm and of the ridge for every count of images."""
    parts = split(mnist_5k(), max(settings.num_images))
    pool, test = parts.train, parts.test
    inside, outside = relu_features(pool.images, test.images, count=settings.num_random, seed=seed)
    targets = one_hot(with_wrong_labels(pool.labels, settings.wrong, seed=seed).labels)
    errors: tuple[list[float], list[float]] = ([], [])
    for number, count in enumerate(settings.num_images):
        rows, goal = inside[:count], targets[:count]
        gram = rows.T @ rows + settings.penalty * torch.eye(settings.num_random, dtype=torch.float64)
        fits = (torch.linalg.lstsq(rows, goal, driver="gelsd").solution, torch.linalg.solve(gram, rows.T @ goal))
        for found, fit in zip(errors, fits, strict=True):
            found.append(error_of(outside @ fit, test.labels).item())
        progress((number + 1) / len(settings.num_images))
    return errors


def _theory(settings: SamplesSettings, counts: Sequence[int]) -> tuple[list[float], list[float]]:
    """Return theory's risks of the least norm and of the tuned ridge at some counts of examples."""
    width, problem = settings.num_features, settings.problem
    return (
        [least_norm_risk(count, width, problem) for count in counts],
        [tuned_ridge_risk(width / count, problem) for count in counts],
    )


def _over_draws(measured: Sequence[Measured], key: str, of: Callable[[list[float]], float]) -> list[float]:
    """Return the mean or median over the draws of all seeds, at every count."""
    return [
        of([value for row in rows for value in row]) for rows in zip(*(each[key] for each in measured), strict=True)
    ]


def _off(seen: float, told: float) -> float:
    """Return the distance from what theory tells, as a share of it; as it is where theory tells of no risk at all."""
    return abs(seen - told) / (told or 1.0)


def _nearest(values: Sequence[float], wanted: float) -> int:
    return int(np.argmin([abs(value - wanted) for value in values]))


EXPERIMENTS.add("double-descent-samples")(
    Experiment(
        name="double-descent-samples",
        question=Phrase("Can more data make a model worse?"),
        quick=SamplesSettings(),
        paper=SamplesSettings(num_features=400, num_examples=tuple(range(40, 1201, 40)), num_draws=100),
        measure=measure,
        judge=judge,
        draw=draw,
        source="Nakkiran 2019, arXiv:1912.07242; Nakkiran et al. 2021, arXiv:2003.01897, for the tuned penalty.",
    )
)
