"""The trial: a few optimiser steps on a copy of the model, which say more than any statistic of its start."""

import math
from collections.abc import Sequence

from isometry._errors import ModelError
from isometry.anatomy.task import Task
from isometry.probes.course import MIN_STEPS, TIME_BUDGET, Course, run_course
from isometry.probes.evidence import Evidence, NotMeasuredError, probe
from isometry.probes.losses import LossReading
from isometry.probes.trial_result import TrialResult

# Share of the constant predictor's loss by which a network must be below it. Outputs that do not depend on the sample
# cannot be below at all, whatever the optimiser did to the head: benchmarks/trial.md.
MIN_PROGRESS = 0.05


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
        constant=constant_loss(course.readings),
        optimizer=course.optimizer,
        is_given=task.optimizer_factory is not None,
        learning_rate=course.learning_rate,
        updates=course.updates,
        learns=learns(course),
        failure=course.failure,
        is_warming_up=course.is_warming_up,
        num_strangers=course.strangers,
        missed=course.missed,
    )


def affordable_steps(evidence: Evidence) -> int:
    """Return how many steps a trial may have.

    Raises:
        NotMeasuredError: If it may have none, with the reason.
    """
    if not evidence.steps:
        raise NotMeasuredError("the trial is switched off")
    if not evidence.is_finite:
        raise NotMeasuredError("the loss is not finite before any step")
    if evidence.step.seconds * MIN_STEPS > TIME_BUDGET:
        raise NotMeasuredError(
            f"a step takes {evidence.step.seconds:.2g} seconds, and a trial may take {TIME_BUDGET:g}"
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
        raise NotMeasuredError(f"no trial could be made: {error}") from error


def learns(course: Course) -> bool:
    """Say whether a course ended clearly below what a predictor that ignores its input can reach."""
    if not course.is_finite:
        return False
    return any(reading.value < (1 - MIN_PROGRESS) * constant_of(reading) for reading in course.readings)


def constant_loss(readings: Sequence[LossReading]) -> float | None:
    """Return the loss of the best predictor that ignores its input, None if it is not known."""
    return sum(constant_of(reading) for reading in readings) if readings else None


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
