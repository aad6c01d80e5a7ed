"""A plain network trains if it is no deeper than a few of the depth scales over which its signals become alike."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations, pairwise
from statistics import fmean, median

import numpy as np
import torch

from isometry._phrases import Phrase
from isometry.lab.apparatus.digits import CLASSES, mnist_5k
from isometry.lab.experiment import EXPERIMENTS, Claim, Experiment, Measured, Progress
from isometry.lab.figure import Figure, Map, Series
from isometry.lab.members.plain_tanh import PlainTanh, TanhShape, TanhStart, gaussian
from isometry.theory.meanfield import depths
from isometry.theory.phases import critical_weight_variances, edge_of_chaos, phase_diagram

MOMENTUM = 0.9

MULTIPLE = 6  # of the depth scale that Schoenholz et al. found to bound the depths that train
SHALLOW = 3  # of it, far enough below that bound
LEAST_SHALLOW, MOST_DEEP = 70.0, 40.0  # per cent of the training images, in the mean; guessing gives 10
HALF = 50.0  # per cent, between trained and not
MULTIPLES = (3.0, 12.0)  # in which the depth at one half may lie: the source's 6, divided by 2 or times it
LEAST_ORDERED = 80.0  # per cent of pairs; ten variances whose order has nothing to do with ξ give 79 once in a hundred
LEAST_VARIANCES = 8  # below which chance orders 80 % of their pairs too often
NEAR_LINE = (0.8, 1.2)  # the best weight variance over the critical one: the neighbours of that on the grid

PLANE_WEIGHTS = tuple(np.linspace(0.5, 3.9, 18).tolist())
PLANE_BIASES = tuple(np.linspace(0.0, 0.4, 9).tolist())
MOST_DECADES = 2.0  # a depth scale beyond 100 layers is drawn as that
LINE_LENGTHS = tuple(np.geomspace(1e-2, 2.0, 40).tolist())  # mean squares along the critical line


@dataclass(frozen=True, slots=True, kw_only=True)
class DepthScaleSettings:
    """Settings.

    Attributes:
        weight_variances: σ_w² of the starts, variance of a weight times fan-in.
        bias_variance: σ_b² of all of them.
        depths: Hidden layers, counts, each with every weight variance.
        width: Units of a layer, counts.
        num_train: Images, counts.
        num_steps: Of gradient descent with momentum 0.9, counts.
        batch_size: Images of a batch, counts.
        rates: Learning rates times depth, of which the better counts: chaos asks for smaller ones than order.
    """

    weight_variances: tuple[float, ...] = (1.0, 1.25, 1.5, 1.75, 2.0, 2.25, 2.5, 3.0, 3.5, 4.0)
    bias_variance: float = 0.05
    depths: tuple[int, ...] = (8, 16, 24, 36, 52)
    width: int = 48
    num_train: int = 1000
    num_steps: int = 500
    batch_size: int = 32
    rates: tuple[float, ...] = (0.03, 0.08)

    @property
    def scales(self) -> list[float]:
        """Depth scale ξ of every weight variance, layers."""
        return [_scale(weight, self.bias_variance) for weight in self.weight_variances]


def measure(settings: DepthScaleSettings, seed: int, progress: Progress) -> Measured:
    """Train a network of every depth from every start at every rate, those of one depth side by side."""
    rows: list[list[float]] = []
    for number, depth in enumerate(settings.depths):
        rows.append(_trained(settings, depth, seed=seed))
        progress(sum(settings.depths[: number + 1]) / sum(settings.depths))
    return {"accuracy": rows}


def judge(settings: DepthScaleSettings, measured: Sequence[Measured]) -> tuple[Claim, ...]:
    """Hold the accuracies below and beyond multiples of the depth scale against each other."""
    mean = _mean(measured)
    cells = [
        (accuracy, depth / scale)
        for row, depth in zip(mean, settings.depths, strict=True)
        for accuracy, scale in zip(row, settings.scales, strict=True)
    ]
    shallow = [accuracy for accuracy, multiple in cells if multiple <= SHALLOW]
    deep = [accuracy for accuracy, multiple in cells if multiple > MULTIPLE]
    claims: list[Claim] = []
    if shallow:
        text = Phrase("networks of at most three depth scales train")
        claims.append(Claim(text=text, measured=fmean(shallow), low=LEAST_SHALLOW, unit="%"))
    if deep:
        text = Phrase("networks of more than six do not")
        claims.append(Claim(text=text, measured=fmean(deep), high=MOST_DEEP, unit="%"))
    reached = reached_multiples(settings, mean)
    if reached:
        text = Phrase("training fails at about six depth scales, in the median over the variances of the weights")
        claims.append(Claim(text=text, measured=median(reached), low=MULTIPLES[0], high=MULTIPLES[1], unit="ξ"))
    if len(settings.scales) >= LEAST_VARIANCES:
        text = Phrase("of two variances of the weights that of the longer depth scale trains better over all depths")
        claims.append(Claim(text=text, measured=ordered(settings, mean), low=LEAST_ORDERED, unit="%"))
    best = settings.weight_variances[int(np.argmax(mean[-1]))]
    text = Phrase("of the deepest networks those next to the critical line learn best")
    ratio = best / _critical(settings.bias_variance)
    return *claims, Claim(text=text, measured=ratio, low=NEAR_LINE[0], high=NEAR_LINE[1])


def draw(settings: DepthScaleSettings, measured: Sequence[Measured]) -> tuple[Figure, ...]:
    """Draw the accuracies with theory's bound over them, and the plane of both variances."""
    weights = np.linspace(settings.weight_variances[0], settings.weight_variances[-1], 121)
    bound = [MULTIPLE * _scale(float(weight), settings.bias_variance) for weight in weights]
    critical = _critical(settings.bias_variance)
    plane, line = phase_diagram(np.tanh, PLANE_WEIGHTS, PLANE_BIASES), edge_of_chaos(np.tanh, LINE_LENGTHS)
    decades = [[min(math.log10(max(point.depth_scale, 1.0)), MOST_DECADES) for point in row] for row in plane.depths]
    return (
        Figure(
            key="trained",
            title="How deep a tanh network may be to be trained",
            x_axis="σ_w², variance of a weight times fan-in",
            y_axis="hidden layers",
            map=Map(
                x=settings.weight_variances, y=settings.depths, values=_mean(measured), unit="training accuracy, %"
            ),
            series=(Series(name="six depth scales", x=weights.tolist(), y=bound),),
            x_marks=((critical, "critical"),),
        ),
        Figure(
            key="phases",
            title="Order and chaos of tanh",
            x_axis="σ_w², variance of a weight times fan-in",
            y_axis="σ_b², variance of a bias",
            map=Map(x=PLANE_WEIGHTS, y=PLANE_BIASES, values=decades, unit="depth scale ξ, decades of layers"),
            series=(Series(name="critical line", x=[each[0] for each in line], y=[each[1] for each in line]),),
        ),
    )


def reached_multiples(settings: DepthScaleSettings, mean: Sequence[Sequence[float]]) -> list[float]:
    """Return for each weight variance the depth at which accuracy falls through one half, in depth scales.

    Args:
        settings: Weight variances, depths.
        mean: Accuracies, a row a depth, in per cent.

    Returns:
        None for those that train at every depth or at none, or whose depth scale is beyond all depths.
    """
    found: list[float] = []
    for place, scale in enumerate(settings.scales):
        course = list(zip(settings.depths, (row[place] for row in mean), strict=True))
        for (depth, accuracy), (deeper, lower) in pairwise(course):
            if accuracy >= HALF > lower and scale <= settings.depths[-1]:
                found.append((depth + (deeper - depth) * (accuracy - HALF) / (accuracy - lower)) / scale)
                break
    return found


def ordered(settings: DepthScaleSettings, mean: Sequence[Sequence[float]]) -> float:
    """Return of how many pairs of weight variances that of the longer depth scale has the higher accuracy, per cent.

    Args:
        settings: Weight variances.
        mean: Accuracies, a row a depth, of which each variance's average counts.

    Returns:
        50 where depth scales say nothing, and less where accuracies are the same.
    """
    by_scale = sorted(zip(settings.scales, np.mean(mean, axis=0).tolist(), strict=True))
    pairs = [longer > shorter for (_, shorter), (_, longer) in combinations(by_scale, 2)]
    return 100 * fmean(pairs)


def _trained(settings: DepthScaleSettings, depth: int, *, seed: int) -> list[float]:
    """Return the training accuracy that each weight variance reaches at the better of the rates, per cent."""
    digits = mnist_5k()[: settings.num_train]
    shape = TanhShape(inputs=digits.images.shape[1], width=settings.width, depth=depth - 1, outputs=CLASSES)
    starts = [_start(weight, settings, shape) for weight in settings.weight_variances for _ in settings.rates]
    networks = PlainTanh(starts, shape, seed=seed)
    rates = (torch.tensor(settings.rates) / depth).repeat(len(settings.weight_variances))[:, None, None]
    optimizer = torch.optim.SGD(networks.parameters, 1.0, momentum=MOMENTUM)  # each network's own rate is in its slope
    generator = torch.Generator().manual_seed(seed)
    for _ in range(settings.num_steps):
        rows = torch.randint(len(digits), (settings.batch_size,), generator=generator)
        networks.backward(digits.images[rows], digits.labels[rows])
        for gradient in networks.gradients:
            gradient.mul_(rates)
        optimizer.step()
    accuracy = networks.accuracy(digits.images, digits.labels).view(-1, len(settings.rates))
    return (100 * accuracy.amax(1)).tolist()


def _start(weight_variance: float, settings: DepthScaleSettings, shape: TanhShape) -> TanhStart:
    gain = math.sqrt(weight_variance)
    return TanhStart(
        first=gaussian(gain, shape.inputs),
        hidden=gaussian(gain, shape.width),
        head=gaussian(1.0, shape.width),
        bias_std=math.sqrt(settings.bias_variance),
    )


def _mean(measured: Sequence[Measured]) -> list[list[float]]:
    return np.mean([each["accuracy"] for each in measured], axis=0).tolist()


@cache
def _scale(weight_variance: float, bias_variance: float) -> float:
    return depths(np.tanh, weight_variance=weight_variance, bias_variance=bias_variance).depth_scale


@cache
def _critical(bias_variance: float) -> float:
    return critical_weight_variances(np.tanh, bias_variance=bias_variance)[0]


EXPERIMENTS.add("depth-scale")(
    Experiment(
        name="depth-scale",
        question=Phrase("How deep may a plain network be to be trained, and what does the variance of its weights do?"),
        quick=DepthScaleSettings(),
        paper=DepthScaleSettings(
            weight_variances=tuple(np.linspace(1.0, 4.0, 13).tolist()),
            depths=(10, 20, 30, 45, 65, 90),
            width=100,
            num_train=4000,
            num_steps=1000,
        ),
        measure=measure,
        judge=judge,
        draw=draw,
        source="Schoenholz, Gilmer, Ganguli, Sohl-Dickstein 2017, arXiv:1611.01232, figure 5.",
    )
)
