"""Somebody's own network as it starts, as built or drawn by a recipe, and what that does to signal and gradient."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from isometry._errors import LabError, NotApplicableError
from isometry._phrases import Phrase
from isometry.anatomy.task import Task, with_model
from isometry.lab.experiment import Measured, OwnTask, Progress
from isometry.lab.figure import Figure, Series
from isometry.probes.evidence import Evidence, NoSubjectError, NotMeasuredError, gather, measure
from isometry.probes.traces import GradientTrace, SignalTrace
from isometry.probes.training import copied
from isometry.repair import fix, plan

OWN = "own"  # the start that the builder gives
REPAIRED = "isometry"  # what `isometry fix` makes of it
STARTS = (OWN, "torch-default", "glorot-normal", "he-normal", REPAIRED)


def started(task: Task, start: str, *, seed: int) -> Task:
    """Return the task with a copy of its network at another start.

    Args:
        task: Its own network is left as it is.
        start: `own`, `isometry` for what `isometry fix` writes, or a recipe or scheme such as `he-normal`.
        seed: Of the weights.

    Raises:
        NotApplicableError: If the start draws no weight of this network.
        UnknownNameError: If there is no such start.
    """
    copy = with_model(task, copied(task.model))
    if start == REPAIRED:
        fix(copy, seed=seed)
    elif start != OWN:
        made = plan(copy, seed=seed, recipe=start)
        if not made.changes:
            raise NotApplicableError(
                Phrase(
                    "the start {start!r} draws no weight of {model}: all are pretrained, protected or have a rule of "
                    "their own. Leave it out: --set starts={own}.",
                    start=start,
                    model=type(task.model).__name__,
                    own=OWN,
                )
            )
        made.apply(copy.model)
    return copy


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnCourse:
    """Sizes by layer from the input on, along the way on which they change most; root mean squares in decades.

    Attributes:
        gradient: Of the loss, at each hidden layer over that at the last.
        signal: Of each hidden layer's output.
        apart: Share of it that differs between samples; empty where it is not known at every layer.
        why_not: Why nothing was measured; empty if something was.
    """

    gradient: tuple[float, ...] = ()
    signal: tuple[float, ...] = ()
    apart: tuple[float, ...] = ()
    why_not: str = ""


def course_of(evidence: Evidence) -> OwnCourse:
    """Read the course from a recorded step, by the probes of `isometry check`."""
    try:
        return _course_of(evidence)
    except NotMeasuredError as reason:
        return OwnCourse(why_not=str(reason.reason))


def own_course_of(evidence: Evidence) -> OwnCourse:
    """Read the course of a network's own start.

    Args:
        evidence: As `evidence_of` gives it.

    Returns:
        A course that is there.

    Raises:
        NotApplicableError: If the network has no two hidden layers in a row.
        LabError: If its numbers are not finite, or its gradient is zero.
    """
    try:
        return _course_of(evidence)
    except NoSubjectError as reason:
        raise NotApplicableError(
            Phrase(
                "in {model} {found}, and this experiment follows signal and gradient from one hidden layer to the "
                "next.",
                model=type(evidence.task.model).__name__,
                found=Phrase(reason.reason),
            )
        ) from reason
    except NotMeasuredError as reason:
        raise LabError(
            f"nothing can be followed through {type(evidence.task.model).__name__}: {reason.reason}. isometry check "
            "says where."
        ) from reason


def _course_of(evidence: Evidence) -> OwnCourse:
    gradient, signal = measure(evidence, GradientTrace), measure(evidence, SignalTrace)
    shares = [
        None if part is None else part / size for size, part in zip(signal.rms, signal.spread, strict=True) if size
    ]
    return OwnCourse(
        gradient=tuple(_decades(rms) - _decades(gradient.rms[-1]) for rms in gradient.rms),
        signal=tuple(_decades(rms) for rms in signal.rms),
        apart=tuple(_decades(share) for share in shares if share is not None) if None not in shares else (),
    )


def evidence_of(task: Task, *, seed: int) -> Evidence:
    """Record one step of a task for `course_of`; nothing in it is changed."""
    return gather(task, [GradientTrace, SignalTrace], seed=seed)


def courses_of_starts(own: OwnTask, starts: Sequence[str], progress: Progress) -> Measured:
    """Follow signal and gradient through a network at several starts.

    Args:
        own: The task, and the seed of weights and dropout.
        starts: As for `started`.
        progress: Told after each start.

    Returns:
        A course a start, under its name.

    Raises:
        NotApplicableError: If the network has no hidden layers in a row, or a start draws none of its weights.
        LabError: If nothing can be followed from the network's own start.
    """
    found: dict[str, Any] = {}
    for number, start in enumerate(starts, 1):
        evidence = evidence_of(started(own.task, start, seed=own.seed), seed=own.seed)
        found[start] = asdict(own_course_of(evidence) if start == OWN else course_of(evidence))
        progress(number / len(starts))
    return found


def changes(measured: Sequence[Measured], start: str, key: str) -> list[float]:
    """Return the change from the first layer to the last of each seed, decades; NaN where there is no course."""
    courses = [each[start][key] for each in measured]
    return [course[-1] - course[0] if course else math.nan for course in courses]


def worst(values: Iterable[float]) -> float:
    """Return the value furthest from 0; NaN if one is no number."""
    found = list(values)
    return math.nan if any(math.isnan(value) for value in found) else max(found, key=abs)


def figure_of_courses(key: str, title: str, measured: Sequence[Measured], *, factor: float, y_axis: str) -> Figure:
    """Draw one course by layer, a curve a start and a seed.

    Args:
        key: `gradient`, `signal` or `apart`.
        title: Of the picture.
        measured: As `courses_of_starts` returns it.
        factor: 1 for root mean squares, 2 for mean squares.
        y_axis: Of the picture.

    Returns:
        The picture.
    """
    curves = [
        Series(name=start, x=range(1, len(course[key]) + 1), y=[factor * value for value in course[key]])
        for start in measured[0]
        for course in (each[start] for each in measured)
    ]
    return Figure(
        key=key, title=title, x_axis="hidden layer, the first is at the input", y_axis=y_axis, series=tuple(curves)
    )


def _decades(size: float) -> float:
    return math.log10(size) if size > 0 else -math.inf
