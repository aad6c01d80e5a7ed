"""A gradient shrinks or grows by a factor a layer, known from the activation and the variance of the weights."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from isometry._phrases import Phrase
from isometry.lab.apparatus.averages import mean_curve
from isometry.lab.apparatus.plain_stacks import ACTIVATIONS, Shape, follow, predicted
from isometry.lab.experiment import EXPERIMENTS, Claim, Experiment, Measured, Progress
from isometry.lab.figure import Figure, Series
from isometry.theory.fluctuations import log_norm_variance
from isometry.theory.stacks import Stack

# Decades a layer. Theory is of infinite width: over 29 layers of width 256 the size of a ReLU net's gradient strays by
# 0.16 decades (5/n a layer in the logarithm of its square), which is 0.006 a layer.
MAX_ERROR = 0.02
QUARTER = -math.log10(0.25)  # decades that a sigmoid takes at least, if weights keep the size
MAX_SPREAD_ERROR = 0.20  # relative: theory is the first order of depth over width, and 100 draws err by 0.07
NARROW = ("relu", "he")
HALF = math.log10(2) / 2  # decades that a ReLU takes if weights keep the size: half of the square

NAMES = {"relu": "ReLU"}


@dataclass(frozen=True, slots=True, kw_only=True)
class VanishingSettings:
    """Settings.

    Attributes:
        activations: Of the hidden layers, each with every start.
        starts: How weights are drawn; see `lab/apparatus/plain_stacks.py`.
        width: Units of each layer, counts.
        depth: Hidden layers, counts.
        num_examples: Of a batch, counts.
        num_draws: Networks of each kind, counts.
        narrow_width: Units of the narrow ReLU networks whose gradients' spread is measured, counts.
        num_narrow: Of them, counts from 2.
    """

    activations: tuple[str, ...] = ("sigmoid", "tanh", "relu")
    starts: tuple[str, ...] = ("normal 0.01", "torch default", "xavier", "he", "critical")
    width: int = 256
    depth: int = 30
    num_examples: int = 32
    num_draws: int = 2
    narrow_width: int = 64
    num_narrow: int = 100

    @property
    def shape(self) -> Shape:
        """Width and depth."""
        return Shape(width=self.width, depth=self.depth)

    @property
    def kinds(self) -> list[tuple[str, str]]:
        """Activation and start of every kind of network."""
        return [(activation, start) for activation in self.activations for start in self.starts]


def measure(settings: VanishingSettings, seed: int, progress: Progress) -> Measured:
    """Draw networks of every kind, and take the gradient at each of their layers."""
    found: list[list[float]] = []
    for number, (activation, start) in enumerate(settings.kinds):
        courses = [
            follow(activation, start, settings.shape, num_examples=settings.num_examples, seed=draw).gradient
            for draw in range(seed * settings.num_draws, (seed + 1) * settings.num_draws)
        ]
        found.append([square / 2 for square in mean_curve(courses)])
        progress((number + 1) / (len(settings.kinds) + 1))
    narrow = Shape(width=settings.narrow_width, depth=settings.depth)
    seeds = range(seed * settings.num_narrow, (seed + 1) * settings.num_narrow)
    strayed = [follow(*NARROW, narrow, num_examples=1, seed=draw).gradient[0] for draw in seeds]
    progress(1.0)
    return {"gradient": found, "spread": stdev(strayed)}


def judge(settings: VanishingSettings, measured: Sequence[Measured]) -> tuple[Claim, ...]:
    """Hold the fall a layer of every kind of network against theory and against the textbook."""
    rates = _rates(settings, measured)
    errors = [abs(rate - _predicted_rate(settings, *kind)) for kind, rate in rates.items()]
    claims = [_claim(Phrase("every network's gradient falls or grows as theory says"), max(errors), high=MAX_ERROR)]
    if ("sigmoid", "xavier") in rates:
        text = Phrase("through sigmoids under Xavier it falls at least as the powers of a quarter")
        claims.append(_claim(text, rates["sigmoid", "xavier"], low=QUARTER - MAX_ERROR))
    usual = [rate for (activation, start), rate in rates.items() if activation == "sigmoid" and start != "critical"]
    if usual:
        text = Phrase("no usual start saves a network of sigmoids")
        claims.append(_claim(text, min(usual), low=QUARTER - HALF - MAX_ERROR))
    if ("relu", "xavier") in rates:
        text = Phrase("through ReLU under Xavier half of its square is lost in each layer")
        claims.append(_claim(text, rates["relu", "xavier"], low=HALF - MAX_ERROR, high=HALF + MAX_ERROR))
    critical = [abs(rate) for (_, start), rate in rates.items() if start == "critical"]
    if critical:
        text = Phrase("at the critical point of its activation no network loses it")
        claims.append(_claim(text, max(critical), high=MAX_ERROR))
    return *claims, _claim_on_spread(settings, measured)


def draw(settings: VanishingSettings, measured: Sequence[Measured]) -> tuple[Figure, ...]:
    """Draw what is left of the gradient at every layer, a picture an activation."""
    layers = range(1, settings.depth + 1)
    figures: list[Figure] = []
    for activation in settings.activations:
        curves = [
            Series(name=start, x=layers, y=each["gradient"][place], mark="points")
            for place, (kind, start) in enumerate(settings.kinds)
            for each in measured
            if kind == activation
        ]
        lines = [
            Series(name="theory", x=range(1, len(course) + 1), y=[value / 2 for value in course])
            for start in settings.starts
            for course in (predicted(activation, start, settings.shape).gradient,)
        ]
        figures.append(
            Figure(
                key=f"gradient-{activation}",
                title=Phrase(
                    "Gradients in {depth} layers of {activation}",
                    depth=settings.depth,
                    activation=NAMES.get(activation, activation),
                ),
                x_axis="layer, the first is at the input",
                y_axis="root mean square over the last layer's, decades",
                series=(*curves, *lines),
            )
        )
    return tuple(figures)


def _claim(text: Phrase, rate: float, *, low: float = -math.inf, high: float = math.inf) -> Claim:
    return Claim(text=text, measured=rate, low=low, high=high, unit="decades a layer")


def _claim_on_spread(settings: VanishingSettings, measured: Sequence[Measured]) -> Claim:
    widths = (settings.narrow_width,) * (settings.depth - 1)
    stack = Stack(function=ACTIVATIONS[NARROW[0]].of_arrays, weight_variance=2.0)  # of He's start
    expected = math.sqrt(log_norm_variance(stack, 1.0, widths)) / math.log(10)
    return Claim(
        text=Phrase("narrow networks of one kind differ among themselves as theory of finite width says"),
        measured=fmean(each["spread"] for each in measured) / expected,
        low=1 - MAX_SPREAD_ERROR,
        high=1 + MAX_SPREAD_ERROR,
    )


def _rates(settings: VanishingSettings, measured: Sequence[Measured]) -> dict[tuple[str, str], float]:
    """Return the fall from the last layer to the first a layer, in decades; below 0 where it grows."""
    return {
        kind: fmean(-each["gradient"][place][0] for each in measured) / (settings.depth - 1)
        for place, kind in enumerate(settings.kinds)
    }


def _predicted_rate(settings: VanishingSettings, activation: str, start: str) -> float:
    return -predicted(activation, start, settings.shape).gradient[0] / 2 / (settings.depth - 1)


EXPERIMENTS.add("vanishing")(
    Experiment(
        name="vanishing",
        question=Phrase("By what factor does each layer of a deep network shrink or grow the gradient?"),
        quick=VanishingSettings(),
        paper=VanishingSettings(width=1000, depth=50, num_examples=64, num_draws=3, narrow_width=200, num_narrow=400),
        measure=measure,
        judge=judge,
        draw=draw,
        source=(
            "Dive into Deep Learning, section 5.4.1; Schoenholz et al. 2017, arXiv:1611.01232, section 4; "
            "Hanin, Nica 2019, arXiv:1812.05994, theorem 1."
        ),
    )
)
