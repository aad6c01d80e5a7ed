"""The book's default start and MXNet's: right for a hidden layer or two, and lost on many."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

from isometry._errors import DomainError
from isometry._phrases import Phrase
from isometry.lab.apparatus.averages import mean_curve
from isometry.lab.apparatus.claims import claim_in_points
from isometry.lab.apparatus.classification import accuracy_of
from isometry.lab.apparatus.digits import CLASSES, POOLED, mnist_5k, split
from isometry.lab.experiment import EXPERIMENTS, Claim, Experiment, Measured, Progress
from isometry.lab.figure import Figure, Series

BOOK, MXNET, HE = STARTS = ("N(0, 0.01²)", "U(-0.07, 0.07)", "He")
BOOK_STD, MXNET_BOUND = 0.01, 0.07

MODERATE = {BOOK: 2, MXNET: 4}  # hidden layers up to which a start is to do as well as He's
BOOK_LOST = 4  # hidden layers from which on the book's is to learn nothing in the epochs of the quick preset
MOST_LOSS = {BOOK: 5.0, MXNET: 3.0}  # points; of seeds 10 to 12 the most were 3.0 and 1.2
GUESSING = 15.0  # per cent; ten classes
LEAST_LOSS = 10.0  # points at the deepest; 22 and more were seen
LEARNED = 88.0  # per cent; 90.6 was the least


@dataclass(frozen=True, slots=True, kw_only=True)
class DefaultStartSettings:
    """Settings.

    Attributes:
        depths: Hidden layers of ReLU, each count a network under each start, from the shallow to the deep.
        width: Units of each, counts.
        num_train: Images, counts.
        num_epochs: Passes over them, counts.
        batch_size: Images of a batch, counts.
        learning_rate: Of gradient descent without momentum.
    """

    depths: tuple[int, ...] = (1, 2, 3, 4, 6, 8)
    width: int = 256
    num_train: int = 1000
    num_epochs: int = 30
    batch_size: int = 50
    learning_rate: float = 0.1

    def __post_init__(self) -> None:
        if len(self.depths) < 2 or list(self.depths) != sorted(set(self.depths)):  # noqa: PLR2004 - ends to compare
            raise DomainError(f"depths={self.depths!r}: depths rise, and are two or more.")


def measure(settings: DefaultStartSettings, seed: int, progress: Progress) -> Measured:
    """Train every depth from every start, the starts side by side."""
    found: list[list[float]] = []
    for number, depth in enumerate(settings.depths, 1):
        found.append(_trained(settings, depth, seed=seed))
        progress(number / len(settings.depths))
    return {start: [row[place] for row in found] for place, start in enumerate(STARTS)}


def judge(settings: DefaultStartSettings, measured: Sequence[Measured]) -> tuple[Claim, ...]:
    """Hold both defaults against He's start, up to the depths they are good for and beyond."""
    curves = {start: mean_curve(each[start] for each in measured) for start in STARTS}
    means = {start: dict(zip(settings.depths, curve, strict=True)) for start, curve in curves.items()}

    def behind(start: str) -> float:
        """Return how far a start is behind He's at most, over the depths that it is good for."""
        gaps = [means[HE][depth] - means[start][depth] for depth in settings.depths if depth <= MODERATE[start]]
        return max(gaps, default=math.nan)

    deep = [accuracy for depth, accuracy in means[BOOK].items() if depth >= BOOK_LOST]
    last = settings.depths[-1]
    return (
        claim_in_points(
            Phrase("with up to {number} hidden layers N(0, 0.01²) is behind He's start by", number=MODERATE[BOOK]),
            behind(BOOK),
            high=MOST_LOSS[BOOK],
        ),
        Claim(
            text=Phrase("with {number} and more nothing is learned from it", number=BOOK_LOST),
            measured=max(deep, default=math.nan),
            high=GUESSING,
            unit="%",
        ),
        claim_in_points(
            Phrase("with up to {number} hidden layers U(-0.07, 0.07) is behind He's by", number=MODERATE[MXNET]),
            behind(MXNET),
            high=MOST_LOSS[MXNET],
        ),
        claim_in_points(
            Phrase("with the most layers it is behind by"), means[HE][last] - means[MXNET][last], low=LEAST_LOSS
        ),
        Claim(
            text=Phrase("from He's start every depth learns"),
            measured=min(means[HE].values()),
            low=LEARNED,
            unit="%",
        ),
    )


def draw(settings: DefaultStartSettings, measured: Sequence[Measured]) -> tuple[Figure, ...]:
    """Draw the accuracy over the depth."""
    lines = [Series(name=start, x=settings.depths, y=each[start]) for start in STARTS for each in measured]
    return (
        Figure(
            key="accuracy",
            title=Phrase(
                "Networks of {width} units a layer, {epochs} epochs", width=settings.width, epochs=settings.num_epochs
            ),
            x_axis="hidden layers",
            y_axis="test accuracy, %",
            series=tuple(lines),
        ),
    )


def _trained(settings: DefaultStartSettings, depth: int, *, seed: int) -> list[float]:
    """Return the accuracy on the test from each start, in per cent; biases start at zero."""
    parts, generator = split(mnist_5k(), settings.num_train), torch.Generator().manual_seed(seed)
    train, test = parts.train, parts.test
    sizes = (POOLED**2, *[settings.width] * depth, CLASSES)
    weights = [_drawn(into, out, generator).requires_grad_() for into, out in pairwise(sizes)]
    biases = [torch.zeros(len(STARTS), 1, out, requires_grad=True) for out in sizes[1:]]

    def outputs(inputs: Tensor) -> Tensor:
        signal = inputs.expand(len(STARTS), *inputs.shape)
        for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
            signal = torch.baddbmm(bias, signal, weight).relu()
        return torch.baddbmm(biases[-1], signal, weights[-1])

    optimiser = torch.optim.SGD([*weights, *biases], lr=settings.learning_rate)
    for _ in range(settings.num_epochs):
        for rows in torch.randperm(settings.num_train, generator=generator).split(settings.batch_size):
            optimiser.zero_grad()
            scores = outputs(train.images[rows]).flatten(0, 1)
            loss = F.cross_entropy(scores, train.labels[rows].repeat(len(STARTS)), reduction="sum")
            (loss / len(rows)).backward()  # the starts share nothing: each has the gradient of its own mean
            optimiser.step()
    with torch.no_grad():
        return accuracy_of(outputs(test.images), test.labels).tolist()


def _drawn(into: int, out: int, generator: torch.Generator) -> Tensor:
    """Return a layer's weights from each start, (starts, into, out)."""
    normal = torch.randn(2, into, out, generator=generator)
    uniform = 2 * torch.rand(into, out, generator=generator) - 1
    return torch.stack([BOOK_STD * normal[0], MXNET_BOUND * uniform, math.sqrt(2 / into) * normal[1]])


EXPERIMENTS.add("default-start")(
    Experiment(
        name="default-start",
        question=Phrase("Up to which depth do small random weights of one size for all layers do?"),
        quick=DefaultStartSettings(),
        # About as many steps as the quick preset has: with more of them what small weights lost grows back.
        paper=DefaultStartSettings(depths=tuple(range(1, 11)), num_train=4000, num_epochs=8),
        measure=measure,
        judge=judge,
        draw=draw,
        source="Dive into Deep Learning, section 5.4.2.1; MXNet 1.9, `mxnet.initializer.Uniform`.",
    )
)
