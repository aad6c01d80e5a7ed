"""What stopping rules would have kept of one training of somebody's own network, and how much of it they take."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from torch import Tensor

from isometry._phrases import Phrase
from isometry.lab.apparatus.own_data import SURE, OwnData, Schooling, accuracy, loss_on, noise_of, own_data, train
from isometry.lab.experiment import ON_TASK, Claim, Measured, OnTask, OwnTask, Progress
from isometry.lab.figure import Figure, Series
from isometry.probes.running.readings import Evaluation
from isometry.training.labels.learner import Learner
from isometry.training.stopping.early import EarlyStopping
from isometry.training.stopping.prechelt import GL, PQ, UP
from isometry.training.stopping.replay import replay
from isometry.training.stopping.replayed import Replay, RuleRow
from isometry.training.stopping.rule import StoppingRule

JUDGED = "patience 5"
HELD_OUT = 0.4  # share of the examples, half for the rules and half to tell what they keep
RULES: Mapping[str, StoppingRule] = {
    "patience 1": EarlyStopping("val_loss", patience=1),
    JUDGED: EarlyStopping("val_loss", patience=5),
    "patience 10": EarlyStopping("val_loss", patience=10),
    "GL 5": GL(5),
    "PQ 0.5": PQ(0.5),
    "UP 3": UP(3),
}
FAMILIES = ("patience", "GL", "PQ", "UP")
# Points beyond noise: without wrong labels patience 5 cost 0.2 to 0.8 (benchmarks/stopping.md); widened by 2.
MAX_COST = 3.0
MAX_DEARER = 10.0  # per cent of the loss, where the targets are numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnStoppingSettings:
    """Settings.

    Attributes:
        max_examples: Largest number of examples; a fifth is for the rules, a fifth tells what they keep, counts.
        num_epochs: Passes over the others, counts.
        batch_size: Examples of a step, counts.
    """

    max_examples: int = 1500
    num_epochs: int = 50
    batch_size: int = 50


def measure(settings: OwnStoppingSettings, own: OwnTask, progress: Progress) -> Measured:
    """Record one training to its end."""
    data = own_data(own.task, most=settings.max_examples, seed=own.seed, held_out=HELD_OUT)
    middle = len(data.held_out) // 2
    parts = {"val": data.held_out[:middle], "test": data.held_out[middle:]}
    course: list[dict[str, float]] = []

    def look(learner: Learner, epoch: int) -> None:
        if epoch:
            losses = learner.training.losses
            trained = {"train_loss": fmean(losses[-(len(losses) // epoch) :])}
            course.append({**trained, **_metrics(learner, data, parts)})
        progress(epoch / settings.num_epochs)

    schooling = Schooling(num_epochs=settings.num_epochs, batch_size=settings.batch_size, seed=own.seed)
    train(own.task, data, schooling, look=look)
    return {
        "kind": data.kind,
        "num_test": len(parts["test"]),
        "course": {name: [each[name] for each in course] for name in course[0]},
    }


def judge(_settings: OwnStoppingSettings, measured: Sequence[Measured]) -> tuple[Claim, ...]:
    """Say what a patience of five costs against the last weights and against the best."""
    found = _replayed(measured)
    row = found[JUDGED]
    scale, unit, most = _scale(found)
    noises = [_noise(found, other, measured) for other in (found.last, found.oracle)]
    return (
        Claim(
            text=Phrase("patience of five epochs costs little against training to the end"),
            measured=-scale * found.gained(row),
            high=most + SURE * noises[0],
            unit=unit,
        ),
        Claim(
            text=Phrase("and comes near the best epoch there was"),
            measured=scale * found.missed(row),
            high=most + SURE * noises[1],
            unit=unit,
        ),
    )


def draw(_settings: OwnStoppingSettings, measured: Sequence[Measured]) -> tuple[Figure, ...]:
    """Draw what each rule keeps and takes, and the training that they were replayed on."""
    found = _replayed(measured)
    is_share = found.score == "test_accuracy"
    factor = 100 if is_share else 1
    rows = {"last epoch": [found.last]}
    rows |= {family: [row for row in found.rows if row.rule.startswith(family)] for family in FAMILIES}
    best = Series(name="best epoch", x=(0.0, 100.0), y=(factor * found.oracle.score,) * 2)
    points = [
        Series(name=name, x=[100 * row.budget for row in each], y=[factor * row.score for row in each], mark="points")
        for name, each in rows.items()
    ]
    kept = "accuracy of the kept weights on test data, %" if is_share else "loss of the kept weights on test data"
    rules = Figure(
        key="rules",
        title="What each rule keeps, and what it takes",
        x_axis="share of the epochs, %",
        y_axis=kept,
        series=(best, *points),
    )
    losses = Figure(
        key="loss",
        title="The training that was recorded",
        x_axis="epoch",
        y_axis="loss",
        y_scale="log",
        series=tuple(
            Series(name=name, x=range(1, len(each["course"][key]) + 1), y=each["course"][key])
            for name, key in (("training", "train_loss"), ("validation", "val_loss"))
            for each in measured
        ),
    )
    return rules, losses


def _metrics(learner: Learner, data: OwnData, parts: Mapping[str, Tensor]) -> dict[str, float]:
    found = {f"{name}_loss": loss_on(learner, data, rows) for name, rows in parts.items()}
    if data.kind == "numbers":
        return found
    return found | {f"{name}_accuracy": accuracy(learner, data, rows) / 100 for name, rows in parts.items()}


def _replayed(measured: Sequence[Measured]) -> Replay:
    is_share = all("test_accuracy" in each["course"] for each in measured)
    score = "test_accuracy" if is_share else "test_loss"
    return replay([_course(each["course"]) for each in measured], RULES, score=score)


def _noise(found: Replay, other: RuleRow, measured: Sequence[Measured]) -> float:
    """Return the noise of the judged rule's accuracy beside another row's, points; of losses none is known."""
    if found.score != "test_accuracy":
        return 0.0
    kept, others = ([100 * each.score for each in row.outcomes] for row in (found[JUDGED], other))
    return noise_of(kept, others, [each["num_test"] for each in measured])


def _course(columns: Mapping[str, Any]) -> list[Evaluation]:
    rows = zip(*columns.values(), strict=True)
    return [
        Evaluation(step=epoch, epoch=epoch, metrics=dict(zip(columns, row, strict=True)))
        for epoch, row in enumerate(rows, 1)
    ]


def _scale(found: Replay) -> tuple[float, str, float]:
    """Return by what differences of the score are multiplied for people, their unit, and the most that is little."""
    if found.score == "test_accuracy":
        return 100.0, "points", MAX_COST
    return 100.0 / max(abs(found.oracle.score), 1e-12), "% of the loss", MAX_DEARER


ON_TASK.add("early-stopping")(
    OnTask(
        question=Phrase("What would stopping rules keep of a training of this network, and what would they save?"),
        settings=OwnStoppingSettings(),
        measure=measure,
        judge=judge,
        draw=draw,
    )
)
