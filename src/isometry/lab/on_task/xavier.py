"""Which variance the layers of somebody's own network keep, forward and backward, at its own start and at others."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from isometry._phrases import Phrase
from isometry.anatomy.task import Task
from isometry.findings.gradients import MAX_TOTAL_DECAY, MAX_TOTAL_GROWTH
from isometry.findings.signal import MAX_TOTAL_FALL, MAX_TOTAL_RISE
from isometry.lab.apparatus.own_starts import OWN, changes, courses_of_starts, figure_of_courses, worst
from isometry.lab.experiment import ON_TASK, Claim, Measured, OnTask, OwnTask, Progress
from isometry.lab.figure import Figure, Series
from isometry.probes import evidence
from isometry.probes.weights import WeightTable

SQUARES = 2.0  # decades of a mean square in one of its root


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnXavierSettings:
    """Settings.

    Attributes:
        starts: `own`, `isometry` for what `isometry fix` writes, and names of recipes or schemes.
    """

    starts: tuple[str, ...] = (OWN, "glorot-normal", "he-normal")


def measure(settings: OwnXavierSettings, own: OwnTask, progress: Progress) -> Measured:
    """Follow the mean square of signal and gradient through a copy at every start."""
    weights = _weights(own.task, seed=own.seed)
    return {"weights": weights, "courses": courses_of_starts(own, settings.starts, progress)}


def judge(settings: OwnXavierSettings, measured: Sequence[Measured]) -> tuple[Claim, ...]:
    """Hold the own start against the bounds of the rules."""
    if OWN not in settings.starts:
        return ()
    courses = [each["courses"] for each in measured]
    return (
        Claim(
            text=Phrase("from its own start the signal keeps its variance within the bounds of FWD101 and FWD102"),
            measured=SQUARES * worst(changes(courses, OWN, "signal")),
            low=-SQUARES * MAX_TOTAL_FALL,
            high=SQUARES * MAX_TOTAL_RISE,
            unit="decades",
        ),
        Claim(
            text=Phrase("and the gradient within those of BWD101 and BWD102"),
            measured=SQUARES * worst(changes(courses, OWN, "gradient")),
            low=-SQUARES * MAX_TOTAL_GROWTH,
            high=SQUARES * MAX_TOTAL_DECAY,
            unit="decades",
        ),
    )


def draw(_settings: OwnXavierSettings, measured: Sequence[Measured]) -> tuple[Figure, ...]:
    """Draw variance by layer, forward and backward, and what the two conditions on the weights make of each layer."""
    courses = [each["courses"] for each in measured]
    titles = {"signal": "Variance on the way forward", "gradient": "Variance of the gradient on its way back"}
    units = {"signal": "mean square, decades", "gradient": "mean square over the last layer's, decades"}
    figures = [
        figure_of_courses(key, title, courses, factor=SQUARES, y_axis=units[key]) for key, title in titles.items()
    ]
    names = {"fan_in": "σ² · fan-in, forward", "fan_out": "σ² · fan-out, backward"}
    products = Figure(
        key="weights",
        title="Variance of the own weights times fan",
        x_axis="weight, in the order of execution",
        y_axis="1 keeps the variance of linear units",
        y_scale="log",
        series=tuple(
            Series(name=name, x=range(1, len(each["weights"][key]) + 1), y=each["weights"][key], mark="points")
            for key, name in names.items()
            for each in measured
        ),
    )
    return (*figures, products)


def _weights(task: Task, *, seed: int) -> dict[str, Any]:
    """Return the mean square of every weight of the own start times its fans."""
    rows = evidence.measure(evidence.gather(task, [WeightTable], seed=seed), WeightTable).weights
    fans = [row.layer.layout.fans for row in rows]
    return {
        "layers": [row.name for row in rows],
        "fan_in": [row.rms**2 * each.into for row, each in zip(rows, fans, strict=True)],
        "fan_out": [row.rms**2 * each.out for row, each in zip(rows, fans, strict=True)],
    }


ON_TASK.add("xavier")(
    OnTask(
        question=Phrase("Which variance of the weights keeps signal and gradient through this network?"),
        settings=OwnXavierSettings(),
        measure=measure,
        judge=judge,
        draw=draw,
    )
)
