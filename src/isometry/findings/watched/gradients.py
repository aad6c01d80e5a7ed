"""Rules on the gradients of a run (BWD)."""

import math
from collections.abc import Iterator, Sequence

from isometry._phrases import Phrase
from isometry.findings.rule import WATCH_RULES, Draft, rule
from isometry.findings.watched.training import latest, makes_long_updates
from isometry.probes.running.loss_course import LossCourse, median
from isometry.probes.running.readings import History, ParameterReading, Reading
from isometry.report.finding import Remedy

MAX_FALL = 4.0  # decades from the last quarter of the parameters to the first, as in `check`
MIN_GAIN = 0.1  # of the loss at the start; a run that gained more learns with the gradients it has
MAX_GROWTH = 3.0  # decades of the gradient's norm over that of the first readings
NUM_FIRST = 5  # readings whose median is the norm at the start
NUM_LAST = 3  # readings that must all be far above it
MIN_READINGS = 5  # in which a fall is seen before it counts; zero branch ends have none in the first
MIN_STEPS = 50  # before a run that gains nothing is held to be stuck
LEAST = 1.4e-45  # the smallest number of float32; a gradient of zero may be any that is smaller
MIN_PARAMETERS = 8  # below which a quarter of them says nothing
CLIP = Remedy("optimizer", Phrase("Clip the gradient's norm, and train with a smaller step."))
REPAIR = Remedy("init", Phrase("Look at the network before its first step: isometry check."))


@rule("BWD101", severity="error", explained_by=("TRN101", "FWD103", "FWD104"), table=WATCH_RULES)
def vanishing_gradient(
    history: History, course: LossCourse, *, max_fall: float = MAX_FALL, min_gain: float = MIN_GAIN
) -> Iterator[Draft]:
    """The first parameters get next to no gradient beside the last, and the run does not learn.

    Why:
        Layers near the input stay as they were drawn, or as a long step left them.

    Measured:
        Fall of log10 of the gradient's root mean square from the last quarter of the parameters to the first, medians
        in each, more than 4 decades in each of the last ten readings; while the loss after
        fifty steps or more has gained less than a tenth of
        its start, or lost again what it had gained. A gradient of zero counts as the smallest number of float32.

    Remedy:
        `isometry check` tells whether the start is to blame; otherwise a smaller step, norms or residual paths.

    Source:
        Schoenholz, Gilmer, Ganguli, Sohl-Dickstein 2017, arXiv:1611.01232; Kim, Hwang, Ye, Lee 2024 (BTTackler) for
        the guard: a run whose loss improves has no such fault.
    """
    readings = latest(history)
    if len(readings) < MIN_READINGS or course.steps < MIN_STEPS or course.learns(min_gain):
        return
    falls: list[float] = []
    for reading in reversed(readings):
        fall = _fall(reading)
        if fall is None or fall <= max_fall:
            return
        falls.append(fall)
    yield Draft(
        where=tuple(each.name for each in _graded(readings[-1])[0][:3]),
        measured=median(falls),
        allowed=max_fall,
        unit="decades",
        cause=Phrase(
            "in {count} readings up to step {step} the first parameters got less than {left:.1g} of the gradient of "
            "the last ones, and the loss stands at {recent:.4g}, after {start:.4g} at the start",
            count=len(readings),
            step=readings[-1].step,
            left=10**-max_fall,
            recent=course.recent,
            start=course.start,
        ),
        remedy=REPAIR,
        message=Phrase(
            "The gradient falls by {decades:.3g} decades from the last parameters to the first.", decades=median(falls)
        ),
    )


@rule("BWD102", severity="error", explained_by=("TRN101",), table=WATCH_RULES)
def exploding_gradient(
    history: History, course: LossCourse, *, max_growth: float = MAX_GROWTH, min_gain: float = MIN_GAIN
) -> Iterator[Draft]:
    """The gradient grew by orders of magnitude, and the loss is the worse for it.

    Why:
        A gradient that is a thousand times as long makes steps a thousand times as long, into places where nothing
        that was learnt holds.

    Measured:
        Growth of log10 of the norm of all gradients, from the median of the first five readings to the smallest of the
        last three: more than 3 decades; while the loss lost again what it had gained, or stands above its start. A note
        where the loss began at next to nothing and no update was long, as where values are learnt.

    Remedy:
        Clip the gradient's norm; a smaller step; in recurrences orthogonal weights.

    Source:
        Pascanu, Mikolov, Bengio 2013, arXiv:1211.5063.
    """
    count = len(history.readings)
    if count < NUM_FIRST + NUM_LAST or course.learns(min_gain):
        return
    first = [norm for index in range(NUM_FIRST) if (norm := history.readings[index].gradient_norm)]
    last = [norm for index in range(count - NUM_LAST, count) if (norm := history.readings[index].gradient_norm)]
    if len(last) < NUM_LAST or not first or not math.isfinite(min(last)) or min(last) <= 10**max_growth * median(first):
        return
    growth = math.log10(min(last) / median(first))
    yield Draft(
        where=(),  # of many parameters that explode together another one is the largest each time
        measured=growth,
        allowed=max_growth,
        unit="decades",
        cause=Phrase(
            "its norm went from {first:.3g} to {last:.3g}, and the loss from {start:.4g} to {recent:.4g}",
            first=median(first),
            last=last[-1],
            start=course.start,
            recent=course.recent,
        ),
        remedy=CLIP,
        severity="note" if course.starts_near_zero and not makes_long_updates(history) else None,
        message=Phrase("The gradient has grown by {decades:.3g} decades since the start.", decades=growth),
    )


def _graded(reading: Reading) -> tuple[Sequence[ParameterReading], Sequence[ParameterReading]]:
    """Return the first and the last quarter of the parameters that have a gradient."""
    graded = [each for each in reading.parameters if each.gradient_rms is not None]
    quarter = max(len(graded) // 4, 1)
    return (graded[:quarter], graded[-quarter:]) if len(graded) >= MIN_PARAMETERS else ((), ())


def _fall(reading: Reading) -> float | None:
    first, last = _graded(reading)
    if not first:
        return None
    low, high = (median([each.gradient_rms or 0.0 for each in part]) for part in (first, last))
    return math.log10(high / max(low, LEAST)) if high > 0 else None
