"""A plain tanh network of thousands of layers learns from an orthogonal start, and not from a Gaussian one."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean

import numpy as np
import torch
from torch import Tensor

from isometry._phrases import Phrase
from isometry.fills.orthogonal import Orthogonal
from isometry.lab.apparatus.recorded import spreading
from isometry.lab.demo import CLASSES, digits
from isometry.lab.experiment import EXPERIMENTS, Claim, Experiment, Measured, Progress
from isometry.lab.figure import Figure, Series
from isometry.lab.members.plain_tanh import PlainTanh, TanhShape, TanhStart, gaussian

STARTS = ("orthogonal", "Gaussian")
NUM_TEST = 497  # of the 1,797 digits
NUM_EVALUATIONS = 12  # in the course of a training
NUM_LAYERS = 120  # that are recorded, at most

LEARNED = 80.0  # per cent; 85 to 87 were seen, on a test set whose standard error is 1.6
UNLEARNED = 20.0  # per cent; guessing gives 10, and one class alone no more than 13
MAX_ERROR = 0.5  # decades of a root mean square from theory; 32 units and one draw stray by 0.2
DEVIATIONS = 2.0  # of the mean over the seeds, on either side of the loss that theory of finite width expects
MOST_LOST = 10.0  # decades; twice the deviation beyond that single precision still holds the mean square of the signal


@dataclass(frozen=True, slots=True, kw_only=True)
class DeepSettings:
    """Settings.

    Attributes:
        depth: Hidden layers behind the first, counts.
        width: Units of each, counts.
        learning_rate: Of Adam.
        num_steps: Of Adam, counts.
        batch_size: Images of a batch, counts.
    """

    depth: int = 1000
    width: int = 32
    learning_rate: float = 3e-5
    num_steps: int = 100
    batch_size: int = 256

    @property
    def recorded(self) -> list[int]:
        """Layers whose signal and gradient are noted, ever further apart."""
        return spreading(self.depth, NUM_LAYERS)


def measure(settings: DeepSettings, seed: int, progress: Progress) -> Measured:
    """Train a network from each start on the same batches, and take signal and gradient before the first step."""
    images, labels = _shuffled(seed)
    train, test = slice(NUM_TEST, None), slice(NUM_TEST)
    shape = TanhShape(inputs=images.shape[1], width=settings.width, depth=settings.depth, outputs=CLASSES)
    networks = PlainTanh([_start(name, shape) for name in STARTS], shape, seed=seed)
    signals = networks.lengths(images[test]).sqrt()
    gradients = networks.backward(images[test], labels[test]).sqrt()
    optimizer = torch.optim.Adam(networks.parameters, settings.learning_rate)
    generator = torch.Generator().manual_seed(seed)
    marks = {round(step) for step in np.linspace(0, settings.num_steps, NUM_EVALUATIONS)}
    course: list[list[float]] = []
    for step in range(settings.num_steps + 1):
        if step in marks:
            course.append([step, *(100 * networks.accuracy(images[test], labels[test])).tolist()])
            progress(step / settings.num_steps)
        if step < settings.num_steps:
            rows = NUM_TEST + torch.randperm(len(labels[train]), generator=generator)[: settings.batch_size]
            networks.backward(images[rows], labels[rows])
            optimizer.step()
    return {
        "course": course,
        "signal": signals[settings.recorded].T.tolist(),
        "gradient": (gradients / gradients[-1])[settings.recorded].T.tolist(),
    }


def judge(settings: DeepSettings, measured: Sequence[Measured]) -> tuple[Claim, ...]:
    """Say which start learned, and hold signal and gradient of both against theory."""
    orthogonal, plain = ([each["course"][-1][1 + place] for each in measured] for place in range(len(STARTS)))
    fall = fmean(-math.log10(each["gradient"][0][0]) for each in measured)
    first = _first_length(measured)
    place = _compared(settings, first)
    behind = fmean(math.log10(each["signal"][0][place] / max(each["signal"][1][place], 1e-45)) for each in measured)
    loss = gaussian_loss(settings.width, settings.recorded[place], first=first)
    stray = DEVIATIONS * loss.stdev / math.sqrt(len(measured))
    return (
        Claim(
            text=Phrase("from the orthogonal start the network learns"),
            measured=fmean(orthogonal),
            low=LEARNED,
            unit="%",
        ),
        Claim(
            text=Phrase("from the Gaussian start of the same variance it does not"),
            measured=max(plain),
            high=UNLEARNED,
            unit="%",
        ),
        Claim(
            text=Phrase("orthogonal layers lose no more of the gradient than the slope of tanh takes"),
            measured=fall - gradient_fall(settings, first),
            low=-MAX_ERROR,
            high=MAX_ERROR,
            unit="decades",
        ),
        Claim(
            text=Phrase("Gaussian layers lose the signal besides, as theory of their width says"),
            measured=behind,
            low=loss.mean - stray,
            high=loss.mean + stray,
            unit="decades",
        ),
    )


def draw(settings: DeepSettings, measured: Sequence[Measured]) -> tuple[Figure, ...]:
    """Draw how both learn, and what is left of the signal behind every layer."""
    layers = [layer + 1 for layer in settings.recorded]
    first = _first_length(measured)
    return (
        Figure(
            key="accuracy",
            title=Phrase("A plain tanh network of {depth:,} layers learns", depth=settings.depth),
            x_axis="step of Adam",
            y_axis="test accuracy, %",
            series=tuple(
                Series(
                    name=Phrase("{name} start", name=Phrase(name)),
                    x=[row[0] for row in each["course"]],
                    y=[row[1 + place] for row in each["course"]],
                )
                for place, name in enumerate(STARTS)
                for each in measured
            ),
        ),
        Figure(
            key="signal",
            title="What reaches each layer before training",
            x_axis="layer",
            y_axis="root mean square of the activations",
            x_scale="log",
            y_scale="log",
            series=(
                *(Series(name="orthogonal", x=layers, y=each["signal"][0], mark="points") for each in measured),
                *(
                    Series(name="Gaussian", x=layers, y=[value or math.nan for value in each["signal"][1]])
                    for each in measured
                ),
                Series(
                    name="theory of orthogonal layers", x=layers, y=[math.sqrt(_length(first, each)) for each in layers]
                ),
            ),
        ),
    )


def gradient_fall(settings: DeepSettings, first: float) -> float:
    """Return by how much the slope of tanh shrinks the gradient on its way back through all layers, decades.

    q' = q - 2q², so q_l = 1 / (1/q_1 + 2 (l - 1)), and χ_l = 1 - 2 q_l to first order: their product is q_L / q_1

    Args:
        settings: Of which the depth counts.
        first: q_1, mean square behind the first layer.

    Returns:
        Of the root mean square.
    """
    return -math.log10(_length(first, settings.depth + 1) / first) / 2


def gaussian_loss(width: int, layers: int, *, first: float) -> NormalDist:
    """Return by how much more Gaussian layers shrink a typical signal than orthogonal ones do, decades.

    E ln |W x|² / |x|² = ψ(n/2) + ln(2/n) ≈ -1/n a layer, of variance 2/n; tanh takes less from what has become small:
    dq/dl = -q/n - 2q² has 1/q = (1/q_1 + 2n) exp(l/n) - 2n.

    Args:
        width: n, units of a layer, counts.
        layers: l, behind the first, counts.
        first: q_1, mean square behind the first layer.

    Returns:
        Of the root mean square, over networks.
    """
    nepers = layers / width
    gaussian = nepers + math.log(1 / first - 2 * width * math.expm1(-nepers))
    mean = (gaussian + math.log(_length(first, layers + 1))) / 2
    return NormalDist(mean / math.log(10), math.sqrt(nepers / 2) / math.log(10))


def _compared(settings: DeepSettings, first: float) -> int:
    """Return the last of the recorded layers by which theory expects no more of the signal lost than can be held."""
    losses = [gaussian_loss(settings.width, layer, first=first).mean for layer in settings.recorded]
    return max(place for place, loss in enumerate(losses) if loss <= MOST_LOST)


def _length(first: float, layer: int) -> float:
    return 1 / (1 / first + 2 * (layer - 1))


def _first_length(measured: Sequence[Measured]) -> float:
    return fmean(each["signal"][0][0] ** 2 for each in measured)


def _start(name: str, shape: TanhShape) -> TanhStart:
    hidden = Orthogonal() if name == "orthogonal" else gaussian(1.0, shape.width)
    return TanhStart(first=Orthogonal(), hidden=hidden, head=Orthogonal())


def _shuffled(seed: int) -> tuple[Tensor, Tensor]:
    """Return the digits in an order of the seed, with mean 0 and deviation 1 over all pixels."""
    images, labels = digits()
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    return ((images - images.mean()) / images.std())[order], labels[order]


EXPERIMENTS.add("ten-thousand-layers")(
    Experiment(
        name="ten-thousand-layers",
        question=Phrase("Can a plain network of thousands of layers learn, without any path around them?"),
        quick=DeepSettings(),
        paper=DeepSettings(depth=10_000, learning_rate=3e-6, num_steps=120),
        measure=measure,
        judge=judge,
        draw=draw,
        source=(
            "Xiao et al. 2018, arXiv:1806.05393, which trains convolutions of that depth; Pennington, Schoenholz, "
            "Ganguli 2017, arXiv:1711.04735; Saxe, McClelland, Ganguli 2014, arXiv:1312.6120."
        ),
    )
)
