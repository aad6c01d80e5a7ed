"""Xavier's variance keeps signal and gradient through linear units and nearly through tanh; ReLU halves both."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import torch

from isometry._phrases import Phrase
from isometry.lab.apparatus.averages import mean_curve
from isometry.lab.apparatus.plain_stacks import Course, Shape, follow, predicted
from isometry.lab.experiment import EXPERIMENTS, Claim, Experiment, Measured, Progress
from isometry.lab.figure import Figure, Series

DIRECTIONS = {"signal": 1, "gradient": -1}  # with depth, and against it
HALVING = ("relu", "xavier")
KINDS = (("linear", "xavier"), ("tanh", "xavier"), ("relu", "xavier"), ("tanh", "he"), ("relu", "he"))

MAX_SCORE = 4.0  # standard errors by which what is drawn may miss its expectation
SPREAD = 5.0  # over the width, a layer: variance of the logarithm of one ReLU network's mean square, nats squared
HALVED = math.log10(0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class XavierSettings:
    """Settings.

    Attributes:
        width: Units of each layer, counts.
        depth: Hidden layers, counts.
        num_examples: Of a batch, counts.
        num_draws: Networks of each kind, counts.
        fan_in: Of the single linear layer whose sides differ, counts.
        fan_out: Likewise.
    """

    width: int = 256
    depth: int = 20
    num_examples: int = 64
    num_draws: int = 4
    fan_in: int = 400
    fan_out: int = 100

    @property
    def shape(self) -> Shape:
        """Width and depth."""
        return Shape(width=self.width, depth=self.depth)


def measure(settings: XavierSettings, seed: int, progress: Progress) -> Measured:
    """Follow variance forward and backward through networks of each kind, and through one linear layer."""
    found: dict[str, list[list[float]]] = {direction: [] for direction in DIRECTIONS}
    for number, (activation, start) in enumerate(KINDS):
        courses = [
            follow(activation, start, settings.shape, num_examples=settings.num_examples, seed=draw)
            for draw in range(seed * settings.num_draws, (seed + 1) * settings.num_draws)
        ]
        for direction in DIRECTIONS:
            found[direction].append(mean_curve(_toward(direction, course) for course in courses))
        progress((number + 1) / len(KINDS))
    return {**found, **_one_layer(settings, seed)}


def judge(settings: XavierSettings, measured: Sequence[Measured]) -> tuple[Claim, ...]:
    """Hold the book's formulas on one layer, and deep networks against theory."""
    return (*_claims_on_one_layer(settings, measured), *_claims_on_depth(settings, measured))


def draw(settings: XavierSettings, measured: Sequence[Measured]) -> tuple[Figure, ...]:
    """Draw variance by layer, forward and backward."""
    layers = range(1, settings.depth + 1)
    titles = {"signal": "Signal on its way forward", "gradient": "Gradient on its way back"}
    figures: list[Figure] = []
    for direction in DIRECTIONS:
        seen = [
            Series(name=_name(kind), x=layers, y=each[direction][place], mark="points")
            for place, kind in enumerate(KINDS)
            for each in measured
        ]
        lines = [Series(name="theory", x=layers, y=_course(settings, kind, direction)) for kind in KINDS]
        figures.append(
            Figure(
                key=f"xavier-{direction}",
                title=titles[direction],
                x_axis="layer, the first is at the input",
                y_axis="mean square, decades",
                series=(*seen, *lines),
            )
        )
    return tuple(figures)


def _name(kind: tuple[str, str]) -> Phrase:
    activation, start = kind
    return Phrase("{activation}, {start}", activation=Phrase(activation), start=start)


def _one_layer(settings: XavierSettings, seed: int) -> dict[str, float]:
    """Return what one linear layer does to the mean square of its input and of a gradient, and a uniform's variance."""
    generator = torch.Generator().manual_seed(seed)
    fan_in, fan_out = settings.fan_in, settings.fan_out

    def normal(*sizes: int) -> torch.Tensor:
        return torch.randn(sizes, generator=generator, dtype=torch.float64)

    weight = math.sqrt(2 / (fan_in + fan_out)) * normal(fan_out, fan_in)
    inputs, gradient = normal(settings.num_examples, fan_in), normal(settings.num_examples, fan_out)
    reach = math.sqrt(6 / (fan_in + fan_out))
    uniform = reach * (2 * torch.rand(fan_out, fan_in, generator=generator, dtype=torch.float64) - 1)
    return {
        "forward_factor": float((inputs @ weight.T).square().mean() / inputs.square().mean()),
        "backward_factor": float((gradient @ weight).square().mean() / gradient.square().mean()),
        "uniform_variance": float(uniform.square().mean()) * (fan_in + fan_out) / 2,
    }


def _claims_on_one_layer(settings: XavierSettings, measured: Sequence[Measured]) -> tuple[Claim, ...]:
    both = settings.fan_in + settings.fan_out
    factors = [fmean(each[key] for each in measured) for key in ("forward_factor", "backward_factor")]
    ideal = [2 * fan / both for fan in (settings.fan_in, settings.fan_out)]
    ratios = [factor / value for factor, value in zip(factors, ideal, strict=True)]
    # The relative variances: of a quadratic form with as many directions as examples, and of a uniform number's square.
    forward, backward = (
        math.sqrt(2 * (1 / settings.num_examples + 1 / inward) / outward / len(measured))
        for inward, outward in ((settings.fan_in, settings.fan_out), (settings.fan_out, settings.fan_in))
    )
    uniform = math.sqrt(0.8 / (settings.fan_in * settings.fan_out * len(measured)))
    return (
        _ratio(Phrase("one linear layer gives fan-in · σ² of its input's square"), ratios[0], error=forward),
        _ratio(Phrase("on the way back it gives fan-out · σ², so σ is a compromise"), ratios[1], error=backward),
        _ratio(
            Phrase("a uniform draw within the root of 6 over both fans has the same variance"),
            fmean(each["uniform_variance"] for each in measured),
            error=uniform,
        ),
        Claim(
            text=Phrase("it is nearer to 1, the worse way of the two, than a variance that keeps one way alone"),
            measured=_advantage(settings, factors),
            low=_advantage(settings, ideal) - MAX_SCORE * max(forward, backward) / math.log(10),
            unit="decades",
        ),
    )


def _advantage(settings: XavierSettings, factors: Sequence[float]) -> float:
    """Return by how much less Xavier's worse way strays from 1 than that of 1 over either fan, in decades."""
    both = settings.fan_in + settings.fan_out

    def worst(scale: float) -> float:
        return max(abs(math.log10(scale * factor)) for factor in factors)

    return min(worst(both / 2 / fan) for fan in (settings.fan_in, settings.fan_out)) - worst(1.0)


def _ratio(text: Phrase, measured: float, *, error: float) -> Claim:
    return Claim(text=text, measured=measured, low=1 - MAX_SCORE * error, high=1 + MAX_SCORE * error)


def _claims_on_depth(settings: XavierSettings, measured: Sequence[Measured]) -> tuple[Claim, ...]:
    seen = _seen(measured)
    exact = {(kind, way): _course(settings, kind, way) for kind, way in seen}
    error = max(abs(one - other) for key in seen for one, other in zip(seen[key], exact[key], strict=True))
    # On its way: the signal from the first layer to the last, the gradient from the last to the first.
    change = {(kind, way): (values[-1] - values[0]) * DIRECTIONS[way] for (kind, way), values in seen.items()}
    rate = {key: value / (settings.depth - 1) for key, value in change.items()}
    most = _most_error(settings, len(measured))
    most_rate = most / (settings.depth - 1)
    linear, he = (max(abs(rate[kind, way]) for way in DIRECTIONS) for kind in (("linear", "xavier"), ("relu", "he")))
    return (
        Claim(
            text=Phrase("variance by layer is that of theory, forward and backward"),
            measured=error,
            high=most,
            unit="decades",
        ),
        Claim(
            text=Phrase("through tanh Xavier leaves more than a hundredth of the gradient's square"),
            measured=change[("tanh", "xavier"), "gradient"],
            low=-2.0,
            unit="decades",
        ),
        Claim(
            text=Phrase("through tanh He lets the gradient's square grow"),
            measured=change[("tanh", "he"), "gradient"],
            low=max(0.0, exact[("tanh", "he"), "gradient"][0] - most),
            unit="decades",
        ),
        *(
            Claim(text=text, measured=value, low=middle - most_rate, high=middle + most_rate, unit="decades a layer")
            for text, value, middle in (
                (Phrase("Xavier keeps signal and gradient through linear units"), linear, 0.0),
                (Phrase("under Xavier each ReLU layer halves the signal's square"), rate[HALVING, "signal"], HALVED),
                (Phrase("and the gradient's square likewise"), rate[HALVING, "gradient"], HALVED),
                (Phrase("He keeps both through ReLU"), he, 0.0),
            )
        ),
    )


def _seen(measured: Sequence[Measured]) -> dict[tuple[tuple[str, str], str], list[float]]:
    """Return what was measured by layer, the mean over the seeds, by the kind of network and the direction."""
    return {
        (kind, way): mean_curve(each[way][place] for each in measured)
        for place, kind in enumerate(KINDS)
        for way in DIRECTIONS
    }


def _most_error(settings: XavierSettings, num_seeds: int) -> float:
    """Return by how much the mean of all draws may miss theory, which is of infinite width, in decades.

    The logarithm of one ReLU network's mean square strays by the root of 5/n a layer in nats, and lies half of its
    variance too low in the mean.
    """
    variance = SPREAD * settings.depth / settings.width
    return (variance / 2 + MAX_SCORE * math.sqrt(variance / (settings.num_draws * num_seeds))) / math.log(10)


def _course(settings: XavierSettings, kind: tuple[str, str], direction: str) -> list[float]:
    return _toward(direction, predicted(*kind, settings.shape))


def _toward(direction: str, course: Course) -> list[float]:
    return course.signal if direction == "signal" else course.gradient


EXPERIMENTS.add("xavier")(
    Experiment(
        name="xavier",
        question=Phrase(
            "Which variance of the weights keeps signal and gradient from layer to layer, and for which units?"
        ),
        quick=XavierSettings(),
        paper=XavierSettings(width=1000, depth=50, num_draws=4, fan_in=1600),
        measure=measure,
        judge=judge,
        draw=draw,
        source=(
            "Glorot, Bengio 2010, Understanding the difficulty of training deep feedforward neural networks, "
            "eqs. 10 to 12; He, Zhang, Ren, Sun 2015, arXiv:1502.01852, section 2.2."
        ),
    )
)
