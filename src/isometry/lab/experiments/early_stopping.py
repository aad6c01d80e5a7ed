"""Right labels are learned before wrong ones, and whoever stops in between keeps what training on would lose."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

from isometry._phrases import Phrase
from isometry.lab.apparatus.averages import mean_curve
from isometry.lab.apparatus.digits import mnist_5k
from isometry.lab.apparatus.noisy import record_noisy_training
from isometry.lab.experiment import EXPERIMENTS, Claim, Experiment, Measured, Progress
from isometry.lab.figure import Figure, Series
from isometry.probes.running.readings import Evaluation
from isometry.training.stopping.early import EarlyStopping
from isometry.training.stopping.label_wave import LabelWave
from isometry.training.stopping.prechelt import GL, PQ, UP
from isometry.training.stopping.probe import RandomLabelProbe
from isometry.training.stopping.replay import replay
from isometry.training.stopping.replayed import Replay, RuleRow
from isometry.training.stopping.rule import StoppingRule

# Measured before in this setting, three seeds; the ranges are those numbers widened by 2 points, or to a round number,
# which is often much further: they say that a thing happens, and the page how much of it.
MOSTLY = 0.9  # share of the right labels that counts as learned, seen in epoch 3
MAX_WRONG = 10.0  # per cent of the wrong labels then: guessing gives as many; 5.8 were seen
MIN_FITTED = 96.0  # per cent of them at the end; 98.7
MIN_GAIN = 10.0  # points under wrong labels; 19 to 21
MAX_CLEAN_GAIN, MAX_CLEAN_COST = 2.0, 3.4  # points without; none, and 0.2 to 1.4
MAX_BUDGET = 40.0  # per cent of the epochs that patience takes; 5 to 16
MAX_MISSED = 2.9  # points that the probe is short of the best; 0.5 to 0.9
COLUMNS = ("step", "epoch")

PATIENCES: dict[str, StoppingRule] = {f"patience {count}": EarlyStopping(patience=count) for count in (1, 3, 5, 10)}
VALIDATED: dict[str, StoppingRule] = {
    **PATIENCES,
    "patience 5, error": EarlyStopping("val_error", patience=5),
    "GL 2": GL(2),
    "GL 5": GL(5),
    "PQ 0.5": PQ(0.5),
    "PQ 1": PQ(1),
    "UP 2": UP(2),
    "UP 3": UP(3),
}
UNVALIDATED: dict[str, StoppingRule] = {"Label Wave": LabelWave()}
SHOWN = "patience 5"  # the rule whose stop is marked
FAMILIES = ("patience", "GL", "PQ", "UP", "Label Wave")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoppingSettings:
    """Settings.

    Attributes:
        noise: Share of wrong labels, in training and validation.
        num_epochs: Passes over the images under wrong labels, counts.
        num_clean_epochs: Likewise without wrong labels.
        num_probe: Further images with random labels, in a training that has no validation set, counts.
        num_probed_epochs: Passes of that one, counts.
    """

    noise: float = 0.4
    num_epochs: int = 80
    num_clean_epochs: int = 40
    num_probe: int = 250
    num_probed_epochs: int = 40


def measure(settings: StoppingSettings, seed: int, progress: Progress) -> Measured:
    """Record three trainings epoch by epoch: with wrong labels, without, and with a probe among wrong labels."""
    digits = mnist_5k()
    trainings = {
        "noisy": (settings.noise, settings.num_epochs, 0),
        "clean": (0.0, settings.num_clean_epochs, 0),
        "probed": (settings.noise, settings.num_probed_epochs, settings.num_probe),
    }
    total = sum(epochs for _, epochs, _ in trainings.values())
    found: dict[str, dict[str, list[float]]] = {}
    done = 0
    for name, (noise, epochs, num_probe) in trainings.items():

        def told(share: float, before: int = done, count: int = epochs) -> None:
            progress((before + count * share) / total)

        course = record_noisy_training(digits, noise=noise, epochs=epochs, num_probe=num_probe, seed=seed, watcher=told)
        found[name] = _columns(course)
        done += epochs
    return found


def judge(settings: StoppingSettings, measured: Sequence[Measured]) -> tuple[Claim, ...]:
    """Say what was learned first, and what each rule keeps and saves."""
    noisy = _replayed(measured, "noisy", {**VALIDATED, **UNVALIDATED})
    probed = _replayed(measured, "probed", {"probe": RandomLabelProbe()})
    return (
        *_claims_on_order(measured),
        Claim(
            text=Phrase(
                "with {noise:.0%} wrong labels every rule on a validation set gains on training to the end",
                noise=settings.noise,
            ),
            measured=100 * min(noisy.gained(noisy[name]) for name in VALIDATED),
            low=MIN_GAIN,
            unit="points",
        ),
        Claim(
            text=Phrase("so does Label Wave, which needs no validation set"),
            measured=100 * noisy.gained(noisy["Label Wave"]),
            low=MIN_GAIN,
            unit="points",
        ),
        Claim(
            text=Phrase("patience takes a small part of the epochs"),
            measured=100 * max(noisy[name].budget for name in PATIENCES),
            high=MAX_BUDGET,
            unit="%",
        ),
        *_claims_without_noise(measured),
        Claim(
            text=Phrase("a probe of random labels, without a validation set, comes near the best epoch"),
            measured=100 * probed.missed(probed["probe"]) + 0.0,
            high=MAX_MISSED,
            unit="points",
        ),
    )


def draw(settings: StoppingSettings, measured: Sequence[Measured]) -> tuple[Figure, ...]:
    """Draw what is learned when, what each rule keeps at what price, and the probe."""
    wrong = Phrase("{noise:.0%} wrong labels", noise=settings.noise)
    fitted = {
        "right labels fitted": "right_fitted",
        "wrong labels fitted": "wrong_fitted",
        "their true class answered": "wrong_seen_through",
        "new images known": "test_accuracy",
    }
    accuracies = {"given labels": "train_accuracy", "random labels": "probe_accuracy", "new images": "test_accuracy"}
    order = Figure(
        key="fitted",
        title=Phrase("Training on {wrong}: right labels come first", wrong=wrong),
        x_axis="epoch",
        y_axis="share, %",
        x_scale="log",
        series=_courses(measured, "noisy", fitted),
        x_marks=_marks(_replayed(measured, "noisy", PATIENCES)[SHOWN]),
    )
    probe = Figure(
        key="probe",
        title=Phrase(
            "{count} random labels instead of a validation set, {wrong}", count=settings.num_probe, wrong=wrong
        ),
        x_axis="epoch",
        y_axis="accuracy, %",
        x_scale="log",
        series=_courses(measured, "probed", accuracies),
        x_marks=_marks(_replayed(measured, "probed", {"probe": RandomLabelProbe()})["probe"]),
    )
    return order, _bargains(measured, "noisy", wrong), _bargains(measured, "clean", Phrase("no wrong labels")), probe


def _claims_on_order(measured: Sequence[Measured]) -> tuple[Claim, ...]:
    courses = [each["noisy"] for each in measured]
    wrong = fmean(map(_wrong_by_then, courses))
    return (
        Claim(
            text=Phrase(
                "when {share:.0%} of the right labels are fitted, the wrong ones are no more than by chance",
                share=MOSTLY,
            ),
            measured=100 * wrong,
            high=MAX_WRONG,
            unit="%",
        ),
        Claim(
            text=Phrase("in the end the wrong ones are fitted too"),
            measured=100 * fmean(each["wrong_fitted"][-1] for each in courses),
            low=MIN_FITTED,
            unit="%",
        ),
    )


def _wrong_by_then(course: Mapping[str, Sequence[float]]) -> float:
    """Return the share of wrong labels that are fitted once most right ones are; NaN if these never are."""
    both = zip(course["right_fitted"], course["wrong_fitted"], strict=True)
    return next((wrong for right, wrong in both if right >= MOSTLY), math.nan)


def _claims_without_noise(measured: Sequence[Measured]) -> tuple[Claim, ...]:
    clean = _replayed(measured, "clean", PATIENCES)
    gains = [100 * clean.gained(row) for row in clean.rows]
    return (
        Claim(
            text=Phrase("without wrong labels no patience gains"),
            measured=max(gains) + 0.0,
            high=MAX_CLEAN_GAIN,
            unit="points",
        ),
        Claim(text=Phrase("and none costs much"), measured=0.0 - min(gains), high=MAX_CLEAN_COST, unit="points"),
    )


def _columns(course: Sequence[Evaluation]) -> dict[str, list[float]]:
    """Return a list a metric, which takes less room than a mapping an epoch."""
    columns: dict[str, list[float]] = {
        "step": [each.step for each in course],
        "epoch": [each.epoch or 0.0 for each in course],
    }
    return columns | {name: [each.metrics[name] for each in course] for name in course[0].metrics}


def _course(columns: Mapping[str, Any]) -> tuple[Evaluation, ...]:
    metrics = [name for name in columns if name not in COLUMNS]
    return tuple(
        Evaluation(step=step, epoch=epoch, metrics={name: columns[name][place] for name in metrics})
        for place, (step, epoch) in enumerate(zip(columns["step"], columns["epoch"], strict=True))
    )


def _replayed(measured: Sequence[Measured], name: str, rules: Mapping[str, StoppingRule]) -> Replay:
    return replay([_course(each[name]) for each in measured], rules, score="test_accuracy")


def _marks(row: RuleRow) -> tuple[tuple[float, str], ...]:
    """Return where the weights that a rule keeps are from, and where it stops; medians over the seeds."""
    kept, stopped = (
        median(getattr(each, moment).epoch or 0.0 for each in row.outcomes) for moment in ("kept", "stopped")
    )
    return (kept, "kept"), (stopped, "stopped")


def _courses(measured: Sequence[Measured], training: str, named: Mapping[str, str]) -> tuple[Series, ...]:
    """Return the mean over the seeds of each metric."""
    return tuple(
        Series(
            name=name,
            x=measured[0][training]["epoch"],
            y=[100 * share for share in mean_curve(each[training][metric] for each in measured)],
        )
        for name, metric in named.items()
    )


def _bargains(measured: Sequence[Measured], training: str, labels: Phrase) -> Figure:
    """Return what each rule keeps over what it takes."""
    found = _replayed(measured, training, {**VALIDATED, **UNVALIDATED})
    rows = {"the last epoch": [found.last]}
    rows |= {family: [row for row in found.rows if row.rule.startswith(family)] for family in FAMILIES}
    points = [
        Series(name=family, x=[100 * row.budget for row in each], y=[100 * row.score for row in each], mark="points")
        for family, each in rows.items()
    ]
    best = Series(name="the best epoch", x=(0.0, 100.0), y=(100 * found.oracle.score,) * 2)
    return Figure(
        key=f"rules-{training}",
        title=Phrase("What each rule keeps, and what it takes: {labels}", labels=labels),
        x_axis="epochs trained, % of the recorded",
        y_axis="test accuracy of the kept weights, %",
        series=(best, *points),
    )


EXPERIMENTS.add("early-stopping")(
    Experiment(
        name="early-stopping",
        question=Phrase("Does a network learn right labels before wrong ones, and does stopping in time keep that?"),
        quick=StoppingSettings(),
        paper=StoppingSettings(num_epochs=200, num_clean_epochs=100, num_probed_epochs=100),
        measure=measure,
        judge=judge,
        draw=draw,
        source=(
            "Dive into Deep Learning, section 5.5; Arpit et al. 2017, arXiv:1706.05394, section 4; Prechelt 1998, "
            "Early stopping: but when?; Garg et al. 2021, arXiv:2105.00303."
        ),
    )
)
