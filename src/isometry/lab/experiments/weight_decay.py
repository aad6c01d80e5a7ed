"""Weight decay as it is used lets a network fit everything; strong decay bends it away from wrong labels."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np
import torch

from isometry._phrases import Phrase
from isometry.lab.apparatus.averages import mean_curve
from isometry.lab.apparatus.classification import error_of, one_hot
from isometry.lab.apparatus.digits import CLASSES, Digits, Parts, mnist_5k, split, with_wrong_labels
from isometry.lab.apparatus.random_features import relu_features
from isometry.lab.apparatus.ridge import ridge_outputs
from isometry.lab.apparatus.rises import largest_rise
from isometry.lab.experiment import EXPERIMENTS, Claim, Experiment, Measured, Progress
from isometry.lab.figure import Figure, Series
from isometry.lab.members.member import Member
from isometry.lab.members.training import Examples, SideBySide

# Measured before in this setting, two seeds; the ranges are those numbers widened by 2 points, or to a round number,
# which is often much further: they say that a thing happens, and the page how much of it.
DEFAULT, USUAL = 0.01, 0.1  # of PyTorch's AdamW, and the strongest that is usual
MIN_FITTED = 98.0  # per cent of the training labels under it; 100 were seen
MIN_GAIN = 5.0  # points of the best decay under wrong labels; 10
MAX_CLEAN_GAIN = 2.0  # points without; 0.6
NEAR_CLEAN = (-8.0, 8.0)  # points from the share of right labels; -5.7 to 6.2 around the best decay
MAX_RISE = 2.1  # points by which tuned ridge's error may rise with more features; 0.1
MIN_TAKEN = 50.0  # points that tuned ridge takes from the peak; 68
NUM_VALID = 1000  # images to choose a strength by, with wrong labels of their own
VALID_SEED = 1000  # added to the seed, so that the noise of both parts is drawn apart
SHARE_OF_TRAINING = 0.7  # of the time


@dataclass(frozen=True, slots=True, kw_only=True)
class DecaySettings:
    """Settings.

    Attributes:
        num_train: Images, counts.
        noise: Share of wrong labels, each with every decay; the last one for ridge.
        width: Hidden units, counts.
        decays: Of AdamW, decoupled, each a network; the first is 0.
        num_epochs: Passes over the images, counts.
        batch_size: Images of a batch, counts.
        learning_rate: Of AdamW.
        num_features: Random ReLU features, each count a model.
        strengths: Of ridge, added to the features' squares; the first is 0.
    """

    num_train: int = 1000
    noise: tuple[float, ...] = (0.0, 0.2)
    width: int = 128
    decays: tuple[float, ...] = (0.0, 0.01, 0.1, 0.3, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0)
    num_epochs: int = 200
    batch_size: int = 50
    learning_rate: float = 1e-3
    num_features: tuple[int, ...] = (100, 200, 400, 700, 850, 1000, 1200, 1500, 2000, 4000)
    strengths: tuple[float, ...] = (0.0, 0.1, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)


def measure(settings: DecaySettings, seed: int, progress: Progress) -> Measured:
    """Train a network a decay side by side, and fit ridge on random features."""
    digits = mnist_5k()
    parts = [_data(digits, settings.num_train, noise, seed=seed) for noise in settings.noise]
    trained = _trained(settings, parts, progress, seed=seed)
    ridge = _ridge_errors(settings, parts[-1], progress, seed=seed)
    return {**trained, **ridge}


def judge(settings: DecaySettings, measured: Sequence[Measured]) -> tuple[Claim, ...]:
    """Say what usual and tuned decay do to fitting and to new images, and what tuned ridge does to the peak."""
    gains = [fmean(_gain(each, row) for each in measured) for row in range(len(settings.noise))]
    without = [gain for noise, gain in zip(settings.noise, gains, strict=True) if noise == 0]
    text = Phrase("without wrong labels it gains little")
    return (
        _claim_on_usual(settings, measured),
        Claim(
            text=Phrase("with wrong labels the decay that validation chooses gains on new images"),
            measured=gains[-1],
            low=MIN_GAIN,
            unit="points",
        ),
        Claim(
            text=Phrase("it fits about as many labels as are right, and is off by"),
            measured=fmean(_fitted_by_best(each) for each in measured) - 100 * (1 - settings.noise[-1]),
            low=NEAR_CLEAN[0],
            high=NEAR_CLEAN[1],
            unit="points",
        ),
        *(Claim(text=text, measured=gain, high=MAX_CLEAN_GAIN, unit="points") for gain in without),
        *_claims_on_ridge(settings, measured),
    )


def draw(settings: DecaySettings, measured: Sequence[Measured]) -> tuple[Figure, ...]:
    """Draw accuracy over the decay, and ridge's error over the number of features."""
    positive = [place for place, decay in enumerate(settings.decays) if decay > 0]
    decays = [settings.decays[place] for place in positive]
    ends, least, most = (decays[0], decays[-1]), settings.noise[0], settings.noise[-1]

    def curve(name: Phrase, key: str, row: int) -> Series:
        shares = [100 - 100 * fmean(each[key][row][place] for each in measured) for place in positive]
        return Series(name=name, x=decays, y=shares)

    networks = Figure(
        key="decay",
        title=Phrase("Networks of {width} units under weight decay", width=settings.width),
        x_axis="weight decay of AdamW",
        y_axis="accuracy, %",
        x_scale="log",
        series=(
            curve(Phrase("training labels, {noise:.0%} wrong", noise=most), "train_error", -1),
            curve(Phrase("new images, {noise:.0%} wrong", noise=most), "test_error", -1),
            curve(Phrase("new images, {noise:.0%} wrong", noise=least), "test_error", 0),
            Series(name="share of right labels", x=ends, y=(100 * (1 - most),) * 2),
        ),
        x_marks=((DEFAULT, "PyTorch's own"),),
    )
    return networks, _ridge_figure(settings, measured)


def _data(digits: Digits, num_train: int, noise: float, *, seed: int) -> Parts:
    """Return the parts with a share of wrong labels in those to train on and to choose by."""
    parts = split(digits, num_train, NUM_VALID)
    train, valid = parts.train, parts.valid
    return replace(
        parts,
        train=Digits(train.images, with_wrong_labels(train.labels, noise, seed=seed).labels),
        valid=Digits(valid.images, with_wrong_labels(valid.labels, noise, seed=seed + VALID_SEED).labels),
    )


def _trained(settings: DecaySettings, parts: Sequence[Parts], progress: Progress, *, seed: int) -> Measured:
    """Return errors in training, validation and test, a row a share of wrong labels and a column a decay."""
    count = len(settings.decays)
    member = Member(hidden=(settings.width,), learning_rate=settings.learning_rate, seed=seed)
    members = [replace(member, weight_decay=decay) for _ in parts for decay in settings.decays]
    train, valid, test = (
        _examples([getattr(part, name) for part in parts], count) for name in ("train", "valid", "test")
    )
    together = SideBySide(members, train)
    for number in together.train(settings.num_epochs, batch_size=settings.batch_size, seed=seed):
        progress(SHARE_OF_TRAINING * number / settings.num_epochs)
    errors = {name: together.errors(each) for name, each in (("train", train), ("valid", valid), ("test", test))}
    return {f"{name}_error": each.view(len(parts), count).tolist() for name, each in errors.items()}


def _examples(parts: Sequence[Digits], count: int) -> Examples:
    """Return one set of images with the labels of each part, those of one part for `count` members."""
    labels = torch.stack([part.labels for part in parts]).repeat_interleave(count, 0)
    return Examples(inputs=parts[0].images, labels=labels, num_classes=CLASSES)


def _ridge_errors(settings: DecaySettings, data: Parts, progress: Progress, *, seed: int) -> Measured:
    """Return ridge's errors in validation and test, a row a number of features and a column a strength."""
    images = (data.train.images, data.valid.images, data.test.images)
    train, valid, test = relu_features(*images, count=max(settings.num_features), seed=seed)
    targets, others = one_hot(data.train.labels), torch.cat([valid, test])
    valid_error: list[list[float]] = []
    test_error: list[list[float]] = []
    for number, count in enumerate(settings.num_features, 1):
        answers = ridge_outputs(train[:, :count], targets, others=others[:, :count], strengths=settings.strengths)
        valid_error.append([error_of(each[: len(valid)], data.valid.labels).item() for each in answers])
        test_error.append([error_of(each[len(valid) :], data.test.labels).item() for each in answers])
        progress(SHARE_OF_TRAINING + (1 - SHARE_OF_TRAINING) * number / len(settings.num_features))
    return {"ridge_valid_error": valid_error, "ridge_test_error": test_error}


def _best(errors: Sequence[float]) -> int:
    return int(np.argmin(errors))


def _gain(measured: Measured, row: int) -> float:
    """Return the points on new images that the decay chosen in validation gains on none."""
    errors = measured["test_error"][row]
    return 100 * (errors[0] - errors[_best(measured["valid_error"][row])])


def _fitted_by_best(measured: Measured) -> float:
    """Return the per cent of the training labels, some wrong, that are fitted under the decay that validation chose."""
    return 100 * (1 - measured["train_error"][-1][_best(measured["valid_error"][-1])])


def _claim_on_usual(settings: DecaySettings, measured: Sequence[Measured]) -> Claim:
    usual = [place for place, decay in enumerate(settings.decays) if 0 < decay <= USUAL]
    errors = [row[place] for each in measured for row in each["train_error"] for place in usual]
    return Claim(
        text=Phrase("under usual decays the network fits nearly every label, wrong ones too"),
        measured=100 * (1 - max(errors, default=float("nan"))),
        low=MIN_FITTED,
        unit="%",
    )


def _claims_on_ridge(settings: DecaySettings, measured: Sequence[Measured]) -> tuple[Claim, ...]:
    plain, tuned = _ridge_curve(measured, 0), _tuned_curve(measured)
    peak = int(np.argmax(plain))
    return (
        Claim(
            text=Phrase("least squares has its peak where features equal images"),
            measured=settings.num_features[peak] / settings.num_train,
            low=0.9,
            high=1.1,
        ),
        Claim(
            text=Phrase("tuned ridge takes the peak away"),
            measured=plain[peak] - tuned[peak],
            low=MIN_TAKEN,
            unit="points",
        ),
        Claim(
            text=Phrase("its error hardly rises anywhere with more features"),
            measured=largest_rise(tuned).by,
            high=MAX_RISE,
            unit="points",
        ),
    )


def _ridge_curve(measured: Sequence[Measured], place: int) -> list[float]:
    """Return the test error of one strength over the number of features, in per cent."""
    return _per_cent([row[place] for row in each["ridge_test_error"]] for each in measured)


def _tuned_curve(measured: Sequence[Measured]) -> list[float]:
    """Return it with the strength that validation chooses for each number of features."""
    return _per_cent(
        [test[_best(valid)] for valid, test in zip(each["ridge_valid_error"], each["ridge_test_error"], strict=True)]
        for each in measured
    )


def _per_cent(curves: Iterable[Sequence[float]]) -> list[float]:
    return [100 * error for error in mean_curve(curves)]


def _ridge_figure(settings: DecaySettings, measured: Sequence[Measured]) -> Figure:
    shown = [place for place, strength in enumerate(settings.strengths) if strength in (1.0, 30.0)]
    named = [(Phrase("no ridge"), _ridge_curve(measured, 0))]
    named += [
        (Phrase("ridge of {strength:g}", strength=settings.strengths[place]), _ridge_curve(measured, place))
        for place in shown
    ]
    named.append((Phrase("tuned ridge"), _tuned_curve(measured)))
    return Figure(
        key="ridge",
        title=Phrase("Ridge on random features, {noise:.0%} wrong labels", noise=settings.noise[-1]),
        x_axis="features",
        y_axis="test error, %",
        x_scale="log",
        series=tuple(Series(name=name, x=settings.num_features, y=curve) for name, curve in named),
        x_marks=((settings.num_train, "features = images"),),
    )


EXPERIMENTS.add("weight-decay")(
    Experiment(
        name="weight-decay",
        question=Phrase("Does weight decay keep a network from fitting everything, or only change what it prefers?"),
        quick=DecaySettings(),
        paper=DecaySettings(num_epochs=1000),
        measure=measure,
        judge=judge,
        draw=draw,
        source=(
            "Dive into Deep Learning, section 5.5.4; Zhang et al. 2017, arXiv:1611.03530, section 3; "
            "Nakkiran, Venkat, Kakade, Ma 2020, arXiv:2003.01897."
        ),
    )
)
