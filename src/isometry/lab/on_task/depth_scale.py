"""Over how many layers signals and gradients of somebody's own network change, beside its depth and theory's scale."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from isometry._phrases import Phrase
from isometry.findings.gradients import MAX_TOTAL_DECAY
from isometry.findings.signal import MAX_COLLAPSE
from isometry.lab.apparatus.averages import mean_curve
from isometry.lab.apparatus.own_starts import OwnCourse, evidence_of, own_course_of, worst
from isometry.lab.experiment import ON_TASK, Claim, Measured, OnTask, OwnTask, Progress
from isometry.lab.figure import Figure, Series
from isometry.probes.evidence import Evidence
from isometry.probes.prediction import predict

NATS = 2 * math.log(10)  # of a mean square in one decade of its root
TRAINABLE = 6.0  # scales of theory that the paper's networks could be deep; with Adam more
MAX_REACH = 3.0  # times the depth; a mark further off says nothing and squeezes the picture
# Decades a layer between theory of infinite width and one network: over six ReLU layers of width 64 one draw strays by
# 0.03 (5/n a layer in nats squared, for the square).
MAX_ERROR = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnDepthScaleSettings:
    """Settings.

    Attributes:
        num_draws: Forward passes that are averaged, each with a dropout of its own, counts.
    """

    num_draws: int = 1


def measure(settings: OwnDepthScaleSettings, own: OwnTask, progress: Progress) -> Measured:
    """Follow gradient and signal, and ask theory, where the network is a plain stack."""
    courses: list[OwnCourse] = []
    theory: dict[str, Any] = {}
    for draw in range(settings.num_draws):
        evidence = evidence_of(own.task, seed=own.seed + draw)
        courses.append(own_course_of(evidence))
        theory = theory or _theory(evidence)
        progress(len(courses) / settings.num_draws)
    mean = {key: mean_curve(getattr(each, key) for each in courses) for key in ("gradient", "signal", "apart")}
    return {**mean, **theory}


def judge(_settings: OwnDepthScaleSettings, measured: Sequence[Measured]) -> tuple[Claim, ...]:
    """Count the network's depth in its own scales, and hold theory against what was measured."""
    claims = [
        Claim(
            text=Phrase("in scales of its gradient the network is not too deep (BWD101)"),
            measured=NATS * max(_fall(each["gradient"][::-1]) for each in measured),
            high=NATS * MAX_TOTAL_DECAY,
            unit="scales",
        )
    ]
    if all(each["apart"] for each in measured):
        claims.append(
            Claim(
                text=Phrase("nor in scales of what tells its examples apart (FWD105)"),
                measured=NATS * max(_fall(each["apart"]) for each in measured),
                high=NATS * MAX_COLLAPSE,
                unit="scales",
            )
        )
    known = [each for each in measured if each["theory"] and each["theory"]["gradient"] is not None]
    if known:
        errors = [(-_fall(each["gradient"][::-1]) - each["theory"]["gradient"]) / _num_steps(each) for each in known]
        text = Phrase("theory of wide networks says by how much a layer changes its gradient")
        claims.append(Claim(text=text, measured=worst(errors), low=-MAX_ERROR, high=MAX_ERROR, unit="decades a layer"))
    return tuple(claims)


def draw(_settings: OwnDepthScaleSettings, measured: Sequence[Measured]) -> tuple[Figure, ...]:
    """Draw what is left of the gradient and of the differences between examples at every layer."""
    figures = [
        Figure(
            key="gradient",
            title="Gradient by layer",
            x_axis="hidden layer, the first is at the input",
            y_axis="root mean square over the last layer's, decades",
            series=(*_curves("measured", "gradient", measured), *_lines(measured)),
        )
    ]
    if all(each["apart"] for each in measured):
        figures.append(
            Figure(
                key="apart",
                title="Share of the signal that differs between examples",
                x_axis="hidden layer, the first is at the input",
                y_axis="share that differs, decades",
                series=_curves("measured", "apart", measured),
                x_marks=_marks(measured),
            )
        )
    return tuple(figures)


def _theory(evidence: Evidence) -> dict[str, Any]:
    """Return theory's scale, phase and change of the gradient over the hidden layers, or why it has none."""
    theory, why_not = predict(evidence)
    if theory is None:
        return {"theory": None, "why_no_theory": str(why_not)}
    square = theory.hidden_mean_square
    found = {
        "activation": theory.activation,
        "phase": theory.phase,
        "depth_scale": theory.depth_scale,
        "gradient": math.log10(square) / 2 if square else None,
    }
    return {"theory": found, "why_no_theory": ""}


def _fall(values: Sequence[float]) -> float:
    """Return by how much values fall from the first to the last; below 0 where they rise."""
    return values[0] - values[-1]


def _num_steps(each: Measured) -> int:
    return max(len(each["gradient"]) - 1, 1)


def _curves(name: str, key: str, measured: Sequence[Measured]) -> tuple[Series, ...]:
    return tuple(Series(name=name, x=range(1, len(each[key]) + 1), y=each[key], mark="points") for each in measured)


def _lines(measured: Sequence[Measured]) -> tuple[Series, ...]:
    """Return theory's change of the gradient, spread evenly over the layers."""
    known = [(each["theory"]["gradient"], len(each["gradient"])) for each in measured if each["theory"]]
    return tuple(Series(name="theory", x=(1, count), y=(change, 0.0)) for change, count in known if change is not None)


def _marks(measured: Sequence[Measured]) -> tuple[tuple[float, str], ...]:
    theory: Mapping[str, Any] = measured[0]["theory"] or {}
    reach = TRAINABLE * theory.get("depth_scale", math.inf)
    return ((reach, f"{TRAINABLE:g} ξ"),) if reach <= MAX_REACH * len(measured[0]["apart"]) else ()


ON_TASK.add("depth-scale")(
    OnTask(
        question=Phrase("Over how many layers do gradient and signal of this network change, and is it deeper?"),
        settings=OwnDepthScaleSettings(),
        measure=measure,
        judge=judge,
        draw=draw,
    )
)
