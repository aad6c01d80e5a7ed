"""The test error of trained networks over their width: with wrong labels it rises and falls a second time."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from isometry._phrases import Phrase
from isometry.lab.apparatus.averages import mean_curve
from isometry.lab.apparatus.digits import CLASSES, mnist_5k, split, with_wrong_labels
from isometry.lab.apparatus.rises import largest_rise
from isometry.lab.experiment import EXPERIMENTS, Claim, Experiment, Measured, Progress
from isometry.lab.figure import Figure, Series
from isometry.lab.members.member import Member
from isometry.lab.members.training import Examples, SideBySide

# Measured before in this setting, means of three seeds: a rise of 4.2 points from 8 units to a peak that is flat from
# 12 to 20, where the training error falls below 1 % too; and one of 1.3 points where each stops at its best epoch.
MIN_RISE, MAX_RISE_STOPPED = 2.0, 3.0  # points
PEAK, FITTING = (10, 32), (12, 32)  # units, in the quick preset's settings, at whatever widths
FITTED = 0.01  # training error that counts as nearly none


@dataclass(frozen=True, slots=True, kw_only=True)
class WidthSettings:
    """Settings.

    Attributes:
        num_train: Images, counts.
        widths: Hidden units, each count a network.
        noise: Share of wrong labels.
        num_epochs: Passes over the images, counts.
        batch_size: Images of a batch, counts.
        learning_rate: Of Adam.
    """

    num_train: int = 1000
    widths: tuple[int, ...] = (2, 4, 6, 8, 10, 12, 14, 16, 20, 24, 32, 48, 64, 96, 128, 256, 512)
    noise: float = 0.2
    num_epochs: int = 400
    batch_size: int = 50
    learning_rate: float = 1e-3


def measure(settings: WidthSettings, seed: int, progress: Progress) -> Measured:
    """Train all widths side by side on the same batches."""
    parts = split(mnist_5k(), settings.num_train)
    train, test = parts.train, parts.test
    noisy = with_wrong_labels(train.labels, settings.noise, seed=seed)
    members = [
        Member(hidden=(width,), learning_rate=settings.learning_rate, seed=seed * len(settings.widths) + place)
        for place, width in enumerate(settings.widths)
    ]
    together = SideBySide(members, Examples(inputs=train.images, labels=noisy.labels, num_classes=CLASSES))
    examined = Examples(inputs=test.images, labels=test.labels, num_classes=CLASSES)
    test_error = best = [1.0] * len(members)
    for number in together.train(settings.num_epochs, batch_size=settings.batch_size, seed=seed):
        test_error = together.errors(examined).tolist()
        best = list(map(min, best, test_error))
        progress(number / settings.num_epochs)
    train_error = together.errors(together.examples).tolist()
    return {"train_error": train_error, "test_error": test_error, "best_error": best}


def judge(settings: WidthSettings, measured: Sequence[Measured]) -> tuple[Claim, ...]:
    """Find the largest rise of each curve, and hold the wide end against its peak."""
    last, best = (_mean(measured, key) for key in ("test_error", "best_error"))
    rise, threshold = largest_rise(last), _fitting(settings, measured)
    stopped = largest_rise(best[rise.start :])  # narrower ones may fail to train at all, which is no peak
    return (
        Claim(
            text=Phrase("at the end of training the error rises with the width to a peak"),
            measured=100 * rise.by,
            low=MIN_RISE,
            unit="points",
        ),
        *_places(settings, settings.widths[rise.end], threshold),
        Claim(
            text=Phrase("the widest network is far below the peak"),
            measured=100 * (last[rise.end] - last[-1]),
            low=10.0,
            unit="points",
        ),
        Claim(
            text=Phrase("stopped at its best epoch no width has a peak"),
            measured=100 * stopped.by,
            high=MAX_RISE_STOPPED,
            unit="points",
        ),
    )


def draw(settings: WidthSettings, measured: Sequence[Measured]) -> tuple[Figure, ...]:
    """Draw the three errors over the width."""
    names = (("test_error", "test, last epoch"), ("best_error", "test, best epoch"), ("train_error", "training"))
    curves = [
        Series(name=name, x=settings.widths, y=[100 * value for value in _mean(measured, key)]) for key, name in names
    ]
    threshold = _fitting(settings, measured)
    return (
        Figure(
            key="test-error",
            title=Phrase("Networks of one hidden layer, {noise:.0%} wrong labels", noise=settings.noise),
            x_axis="hidden units",
            y_axis="error, %",
            x_scale="log",
            series=tuple(curves),
            x_marks=() if threshold is None else ((threshold, "training error below 1 %"),),
        ),
    )


def _places(settings: WidthSettings, peak: int, threshold: int | None) -> tuple[Claim, ...]:
    """Say where the peak lies and where labels are fitted; nothing of other settings, which may move both."""
    usual = WidthSettings()
    if replace(settings, widths=usual.widths) != usual:
        return ()
    return (
        Claim(
            text=Phrase("which lies at a few units"),
            measured=peak,
            low=PEAK[0],
            high=PEAK[1],
            unit="hidden units",
        ),
        Claim(
            text=Phrase("the training error falls below 1 % at about the widths of the peak"),
            measured=math.nan if threshold is None else threshold,
            low=FITTING[0],
            high=FITTING[1],
            unit="hidden units",
        ),
    )


def _fitting(settings: WidthSettings, measured: Sequence[Measured]) -> int | None:
    """Return the least width that fits nearly all labels."""
    train = _mean(measured, "train_error")
    return next((width for width, error in zip(settings.widths, train, strict=True) if error < FITTED), None)


def _mean(measured: Sequence[Measured], key: str) -> list[float]:
    return mean_curve(each[key] for each in measured)


EXPERIMENTS.add("double-descent-width")(
    Experiment(
        name="double-descent-width",
        question=Phrase("Does a trained network's test error fall a second time when it grows wider?"),
        quick=WidthSettings(),
        paper=WidthSettings(num_epochs=4000),
        measure=measure,
        judge=judge,
        draw=draw,
        source="Nakkiran et al. 2020, arXiv:1912.02292; Belkin et al. 2019, arXiv:1812.11118, figure 4.",
    )
)
