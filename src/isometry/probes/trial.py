"""The trial: a few optimiser steps on a copy of the model, which say more than any statistic of its start."""

import math
from collections.abc import Sequence

from isometry._errors import ModelError
from isometry._phrases import Phrase
from isometry.anatomy.task import Task
from isometry.probes.course import TIME_BUDGET, Course, Progress, run_course
from isometry.probes.evidence import Evidence, NotMeasuredError, measure, probe
from isometry.probes.losses import LossReading
from isometry.probes.trial_result import TrialResult

# What the outputs must gain by being different for different samples, over the constant predictor's loss. Networks that
# come to learn pass it within 20 steps, long before their loss falls; those that never do stay at rounding errors.
MIN_GAIN = 2e-5
MIN_GROWTH = 10.0  # times the gain before the first step, which may be there by accident
PLAIN_GAIN = 0.05  # over the constant predictor's loss; a gain like this needs no growth
HAS_LEARNT = 0.5  # over the constant predictor's loss; a gain like this before any step is no accident
MAX_END = 1.2  # times the constant predictor's loss; above it the course has not got over its start yet


@probe(TrialResult)
def measure_trial(evidence: Evidence) -> TrialResult:
    """Train a copy on the batch of the evidence."""
    task = evidence.task
    steps = affordable_steps(evidence)
    course = course_of(task, steps=steps, seed=evidence.seed)
    if not course.has_gradients and _has_gradients(evidence):
        raise NotMeasuredError("the step computes its loss with another model than the one it is given")
    return TrialResult(
        losses=course.losses,
        constant=constant_loss(course.progress),
        optimizer=course.optimizer,
        is_given=task.optimizer_factory is not None,
        learning_rate=course.learning_rate,
        updates=course.updates,
        learns=learns(course),
        remaining=min((_remaining(each) for each in course.progress), default=None),
        failure=course.failure,
        momentum=course.momentum,
        is_warming_up=course.is_warming_up,
        step_seconds=course.step_seconds,
        num_held=course.held,
        num_strangers=course.strangers,
        missed=course.missed,
    )


def trial_of(evidence: Evidence) -> TrialResult | None:
    """Return the trial of a task, made when it is first asked for; None if none can be made."""
    try:
        return measure(evidence, TrialResult)
    except NotMeasuredError:
        return None


def affordable_steps(evidence: Evidence) -> int:
    """Return how many steps a trial may have.

    Raises:
        NotMeasuredError: If it may have none, with the reason.
    """
    if not evidence.steps:
        raise NotMeasuredError("the trial is switched off")
    if not evidence.is_finite:
        raise NotMeasuredError("the loss is not finite before any step")
    if evidence.step.seconds > TIME_BUDGET:
        raise NotMeasuredError(
            Phrase(
                "a step takes {seconds:.2g} seconds, and a trial may take {limit:g}",
                seconds=evidence.step.seconds,
                limit=TIME_BUDGET,
            )
        )
    return evidence.steps


def course_of(task: Task, *, steps: int, seed: int, rate_factor: float = 1.0) -> Course:
    """Train a copy on a task's batch.

    Args:
        task: The task; nothing in it is changed.
        steps: Most optimiser steps, counts.
        seed: Seed of dropout and of other random numbers.
        rate_factor: What the learning rates are multiplied by, dimensionless.

    Returns:
        The course of training.

    Raises:
        NotMeasuredError: If the task cannot be trained, with the reason.
    """
    try:
        return run_course(task, steps=steps, seed=seed, rate_factor=rate_factor)
    except ModelError as error:
        raise NotMeasuredError(Phrase("no trial could be made: {error}", error=str(error))) from error


def learns(course: Course) -> bool:
    """Say whether a network came to tell its samples apart, and not only to hit the mean of their targets."""
    if not course.is_finite:
        return False
    return _tells_pairs(course) or any(_is_learning(progress) for progress in course.progress)


def _tells_pairs(course: Course) -> bool:
    if course.mispaired is None:
        return False
    before, after = course.mispaired
    return after > max(abs(course.losses[-1]) * PLAIN_GAIN, MIN_GROWTH * before, 0.0)


def _is_learning(progress: Progress) -> bool:
    constant = constant_of(progress.reading)
    before, after = progress.gains
    if not constant > 0 or progress.reading.value > MAX_END * constant:
        return False
    has_grown = after >= MIN_GROWTH * abs(before) or after >= PLAIN_GAIN * constant
    # Outputs may tell some samples apart by accident, and a step that moves nothing leaves them at it.
    has_risen = after - before >= MIN_GAIN * constant or (before >= HAS_LEARNT * constant and after > before)
    return after >= MIN_GAIN * constant and has_risen and has_grown


def _remaining(progress: Progress) -> float:
    constant = constant_of(progress.reading)
    return progress.reading.value / constant if constant > 0 else math.inf


def constant_loss(progress: Sequence[Progress]) -> float | None:
    """Return the loss of the best predictor that ignores its input, None if it is not known."""
    return sum(constant_of(each.reading) for each in progress) if progress else None


def constant_of(reading: LossReading) -> float:
    """Return the least that outputs alike for all samples can reach on the targets of one loss call."""
    if reading.num_classes is None or not reading.prior:
        return reading.constant
    if reading.name.startswith("binary"):
        return sum(_entropy(share) + _entropy(1 - share) for share in reading.prior) / len(reading.prior)
    return sum(_entropy(share) for share in reading.prior)


def _entropy(share: float) -> float:
    return -share * math.log(share) if 0 < share < 1 else 0.0


def _has_gradients(evidence: Evidence) -> bool:
    gradients = (each for found in evidence.step.gradients.values() for each in found)
    return any(each is not None and bool(each.any()) for each in gradients)
