"""A network fits labels that mean nothing; it only takes longer, and says nothing on new data."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import torch

from isometry._phrases import Phrase
from isometry.lab.apparatus.averages import mean_curve
from isometry.lab.apparatus.digits import CLASSES, mnist_5k, split
from isometry.lab.experiment import EXPERIMENTS, Claim, Experiment, Measured, Progress
from isometry.lab.figure import Figure, Series
from isometry.lab.members.member import Member
from isometry.lab.members.training import Examples, SideBySide

# Of the mean epochs to fit random against true labels. To the last label 5.0 was seen, and 4.1 to 6.1 of single seeds;
# one image in a thousand decides that, so that the claim is on nearly all labels, and only half as much of the last.
MIN_RATIO, MIN_RATIO_TO_LAST = 3.5, 2.0
NEARLY_ALL = 0.01  # training error
CHANCE = (6.0, 14.0)  # per cent on 1,000 test images with all labels random: four standard errors around 10


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoriseSettings:
    """Settings.

    Attributes:
        num_train: Images, counts.
        width: Hidden units, counts.
        shares: Of the labels that are drawn anew, each a network.
        num_epochs: Passes over the images, counts.
        batch_size: Images of a batch, counts.
        learning_rate: Of Adam.
    """

    num_train: int = 1000
    width: int = 512
    shares: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0)
    num_epochs: int = 120
    batch_size: int = 50
    learning_rate: float = 1e-3


def measure(settings: MemoriseSettings, seed: int, progress: Progress) -> Measured:
    """Train a network a share of random labels, side by side."""
    parts = split(mnist_5k(), settings.num_train)
    train, test = parts.train, parts.test
    labels = torch.stack([redrawn(train.labels, share, seed=seed) for share in settings.shares])
    member = Member(hidden=(settings.width,), learning_rate=settings.learning_rate, seed=seed)
    together = SideBySide(
        [member] * len(settings.shares), Examples(inputs=train.images, labels=labels, num_classes=CLASSES)
    )
    examined = Examples(inputs=test.images, labels=test.labels, num_classes=CLASSES)
    train_error: list[list[float]] = []
    test_error: list[list[float]] = []
    for number in together.train(settings.num_epochs, batch_size=settings.batch_size, seed=seed):
        train_error.append(together.errors(together.examples).tolist())
        test_error.append(together.errors(examined).tolist())
        progress(number / settings.num_epochs)
    return {"train_error": train_error, "test_error": test_error}


def judge(settings: MemoriseSettings, measured: Sequence[Measured]) -> tuple[Claim, ...]:
    """Say whether all labels were fitted, how much longer random ones took, and what they teach."""
    missed = max(min(errors) for each in measured for errors in zip(*each["train_error"], strict=True))
    least = (MIN_RATIO, MIN_RATIO_TO_LAST) if settings.shares[0] == 0 and settings.shares[-1] == 1 else (1.0, 1.0)
    accuracy = [100 * (1 - fmean(each["test_error"][-1][place] for each in measured)) for place in (0, -1)]
    return (
        Claim(
            text=Phrase("labels are fitted to the last one, whether they are true or random"),
            measured=100 * missed,
            high=0.0,
            unit="%",
        ),
        Claim(
            text=Phrase("until 99 % are fitted random labels take several times as many epochs"),
            measured=_ratio(measured, NEARLY_ALL),
            low=least[0],
            unit="times",
        ),
        Claim(
            text=Phrase("until the last one is too, for which a single image decides"),
            measured=_ratio(measured, 0.0),
            low=least[1],
            unit="times",
        ),
        Claim(text=Phrase("with true labels the network knows new images"), measured=accuracy[0], low=90.0, unit="%"),
        Claim(
            text=Phrase("with random labels it does not"),
            measured=accuracy[-1],
            low=CHANCE[0],
            high=CHANCE[1],
            unit="%",
        ),
    )


def draw(settings: MemoriseSettings, measured: Sequence[Measured]) -> tuple[Figure, ...]:
    """Draw how the training labels are fitted, and what that is worth on new images."""
    train, test = (_curves(measured, key) for key in ("train_error", "test_error"))
    fitting = tuple(
        Series(name=Phrase("{share:.0%} random", share=share), x=range(1, len(curve) + 1), y=curve)
        for share, curve in zip(settings.shares, train, strict=True)
    )
    ends = (
        ("test, last epoch", [curve[-1] for curve in test]),
        ("test, best epoch", [min(curve) for curve in test]),
        ("training, last epoch", [curve[-1] for curve in train]),
    )
    return (
        Figure(
            key="train-error",
            title="Labels drawn at random are fitted too, later",
            x_axis="epoch",
            y_axis="training error, %",
            series=fitting,
        ),
        Figure(
            key="test-error",
            title="All of them are fitted; only true ones teach",
            x_axis="share of labels drawn at random",
            y_axis="error, %",
            series=tuple(Series(name=name, x=settings.shares, y=errors) for name, errors in ends),
        ),
    )


def _curves(measured: Sequence[Measured], key: str) -> list[list[float]]:
    """Return the mean error over seeds after every epoch, in per cent, a curve a share."""
    epochs = [mean_curve(rows) for rows in zip(*(each[key] for each in measured), strict=True)]
    return [[100 * error for error in curve] for curve in zip(*epochs, strict=True)]


def redrawn(labels: torch.Tensor, share: float, *, seed: int) -> torch.Tensor:
    """Return labels of which an exact share is drawn anew from all classes, some of them as they were.

    Args:
        labels: Classes, in [0, 10).
        share: Of the labels, in [0, 1]; rounded to a whole number of them.
        seed: Of the draw.
    """
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randperm(len(labels), generator=generator)[: round(share * len(labels))]
    return labels.index_copy(0, rows, torch.randint(CLASSES, rows.shape, generator=generator))


def _ratio(measured: Sequence[Measured], error: float) -> float:
    """Return the mean epochs until no more than this training error, of the last share over those of the first."""
    true, random = (
        fmean(_first([row[place] for row in each["train_error"]], error) for each in measured) for place in (0, -1)
    )
    return random / true


def _first(errors: Sequence[float], error: float) -> int:
    """Return the first epoch of an error no larger than this; one more than there were if there is none."""
    return next((number for number, seen in enumerate(errors, 1) if seen <= error), len(errors) + 1)


EXPERIMENTS.add("memorise")(
    Experiment(
        name="memorise",
        question=Phrase("Can a network fit labels that mean nothing?"),
        quick=MemoriseSettings(),
        paper=MemoriseSettings(num_train=4000, num_epochs=300),
        measure=measure,
        judge=judge,
        draw=draw,
        source="Zhang, Bengio, Hardt, Recht, Vinyals 2017, arXiv:1611.03530, figure 1.",
    )
)
