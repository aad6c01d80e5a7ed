"""The test error of random features has its peak where they are as many as the examples, and falls again after it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from isometry._phrases import Phrase
from isometry.lab.apparatus.averages import mean_curve
from isometry.lab.apparatus.classification import error_of, one_hot
from isometry.lab.apparatus.digits import CLASSES, mnist_5k, split, with_wrong_labels
from isometry.lab.apparatus.random_features import relu_features
from isometry.lab.experiment import EXPERIMENTS, Claim, Experiment, Measured, Progress
from isometry.lab.figure import Figure, Series


@dataclass(frozen=True, slots=True, kw_only=True)
class DoubleDescentSettings:
    """Settings.

    Attributes:
        num_train: Images, counts.
        num_features: Random ReLU features, each count a model.
        noise: Share of wrong labels, each a curve.
    """

    num_train: int = 1000
    num_features: tuple[int, ...] = (50, 100, 200, 400, 600, 800, 950, 1000, 1050, 1200, 1500, 2000, 4000, 8000)
    noise: tuple[float, ...] = (0.0, 0.2)


def measure(settings: DoubleDescentSettings, seed: int, progress: Progress) -> Measured:
    """Fit least squares of minimum norm on random features of growing number."""
    parts = split(mnist_5k(), settings.num_train)
    train, test = parts.train, parts.test
    inside, outside = relu_features(train.images, test.images, count=max(settings.num_features), seed=seed)
    labels = [with_wrong_labels(train.labels, share, seed=seed).labels for share in settings.noise]
    targets = torch.cat([one_hot(each) for each in labels], 1)
    train_error: list[list[float]] = []
    test_error: list[list[float]] = []
    for number, count in enumerate(settings.num_features):
        fitted = _least_squares(inside[:, :count], targets).split(CLASSES, 1)
        train_error.append(
            [error_of(inside[:, :count] @ each, given).item() for each, given in zip(fitted, labels, strict=True)]
        )
        test_error.append([error_of(outside[:, :count] @ each, test.labels).item() for each in fitted])
        progress((number + 1) / len(settings.num_features))
    return {"train_error": train_error, "test_error": test_error}


def judge(settings: DoubleDescentSettings, measured: Sequence[Measured]) -> tuple[Claim, ...]:
    """Find the peak of each curve, and hold its two sides against it."""
    claims: list[Claim] = []
    for place, noise in enumerate(settings.noise):
        curve = _mean_curve(measured, "test_error", place)
        peak = int(np.argmax(curve))
        before = min(curve[: peak + 1])  # the first descent's end
        peaks, falls, ends = _sentences(noise)
        claims += [
            Claim(text=peaks, measured=settings.num_features[peak] / settings.num_train, low=0.9, high=1.1),
            Claim(text=falls, measured=curve[-1] / curve[peak], high=0.5),
            Claim(text=ends, measured=100 * (curve[-1] - before), low=0.0, unit="points")
            if noise
            else Claim(text=ends, measured=curve[-1] / before, high=0.75),
        ]
    return tuple(claims)


def draw(settings: DoubleDescentSettings, measured: Sequence[Measured]) -> tuple[Figure, ...]:
    """Draw test and training error over the number of features."""
    curves = [
        Series(
            name=_name(kind, noise),
            x=settings.num_features,
            y=[100 * value for value in _mean_curve(measured, key, place)],
        )
        for key, kind in (("test_error", "test"), ("train_error", "training"))
        for place, noise in enumerate(settings.noise)
    ]
    return (
        Figure(
            key="test-error",
            title="Error of least squares on random features",
            x_axis="features",
            y_axis="error, %",
            x_scale="log",
            series=tuple(curves),
            x_marks=((settings.num_train, "features = images"),),
        ),
    )


def _name(kind: str, noise: float) -> Phrase:
    if noise == 0:
        return Phrase("{kind}, true labels", kind=Phrase(kind))
    return Phrase("{kind}, {noise:.0%} wrong labels", kind=Phrase(kind), noise=noise)


def _sentences(noise: float) -> tuple[Phrase, Phrase, Phrase]:
    """Return the claims on the peak, on the second descent and on its end."""
    if noise == 0:
        return (
            Phrase("with true labels the error peaks where features equal images"),
            Phrase("with true labels it falls again by more than half"),
            Phrase("with true labels the second descent ends below the first"),
        )
    return (
        Phrase("with {noise:.0%} wrong labels the error peaks where features equal images", noise=noise),
        Phrase("with {noise:.0%} wrong labels it falls again by more than half", noise=noise),
        Phrase("with {noise:.0%} wrong labels the second descent ends above the first", noise=noise),
    )


def _mean_curve(measured: Sequence[Measured], key: str, place: int) -> list[float]:
    return mean_curve([row[place] for row in each[key]] for each in measured)


def _least_squares(features: Tensor, targets: Tensor) -> Tensor:
    """Return the solution of least norm."""
    return torch.linalg.lstsq(features, targets, driver="gelsd").solution


EXPERIMENTS.add("double-descent")(
    Experiment(
        name="double-descent",
        question=Phrase("Does the test error fall a second time when a model grows past what fits the data exactly?"),
        quick=DoubleDescentSettings(),
        paper=DoubleDescentSettings(
            num_features=(
                50,
                100,
                200,
                300,
                400,
                500,
                600,
                700,
                800,
                900,
                950,
                1000,
                1050,
                1100,
                1200,
                1500,
                2000,
                3000,
                4000,
                8000,
                16000,
            )
        ),
        measure=measure,
        judge=judge,
        draw=draw,
        source="Belkin, Hsu, Ma, Mandal 2019, arXiv:1812.11118, figure 2.",
    )
)
