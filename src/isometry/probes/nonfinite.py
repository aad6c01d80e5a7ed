"""The first NaN or infinity of a step, or of the first steps with the user's optimiser."""

import copy
from dataclasses import replace
from typing import Any

import torch

from isometry._errors import ModelError
from isometry.anatomy.preserve import preserved, seeded
from isometry.anatomy.substitution import with_substitution
from isometry.probes.domains import is_at_edge
from isometry.probes.evidence import Evidence, NotMeasuredError, measure, probe
from isometry.probes.guarded import GUARDED
from isometry.probes.operands import count_bad
from isometry.probes.origin import NonFiniteOrigin, origin_in
from isometry.probes.training import Training
from isometry.probes.trial import course_of
from isometry.probes.trial_result import Failure, TrialResult

FINITE = NonFiniteOrigin(None)


@probe(NonFiniteOrigin)
def find_origin(evidence: Evidence) -> NonFiniteOrigin:
    """Look for the origin in a second pass, made only if the loss or a gradient is not finite, now or in the trial."""
    gradients = (each for group in evidence.step.gradients.values() for each in group)
    if not evidence.is_finite or any(count_bad(each) for each in gradients):
        return origin_in(evidence.task, seed=evidence.seed)
    failure = _failure(evidence)
    return FINITE if failure is None else _origin_after(evidence, failure)


def _failure(evidence: Evidence) -> Failure | None:
    """Return where the trial with the user's optimiser broke; with another optimiser it would say nothing."""
    if evidence.task.optimizer_factory is None or not evidence.steps:
        return None
    try:
        return measure(evidence, TrialResult).failure
    except NotMeasuredError:
        return None


def _origin_after(evidence: Evidence, failure: Failure) -> NonFiniteOrigin:
    """Train a copy up to the step before, and look there."""
    steps = failure.step - (failure.parameter is not None)
    with preserved(evidence.task.model, seed=evidence.seed) as guard:
        try:
            training = Training(evidence.task, evidence.task.model, guard)
            for _ in range(steps):
                with seeded(training.task.model, evidence.seed):
                    training.step(copy.deepcopy(evidence.task.batch))
        except ModelError:
            return FINITE
    found = _origin_at(training, failure, copy.deepcopy(evidence.task.batch), seed=evidence.seed)
    if found.during == "forward" and not _goes_well(evidence, found):
        return FINITE
    return replace(found, steps=steps) if found.during else FINITE


def _is_to_blame(origin: NonFiniteOrigin) -> bool:
    """Say whether it is the operation's doing; what only grows until it overflows is the step size's."""
    is_backward = origin.during == "backward"
    is_exponential = origin.operation in GUARDED  # a guard tells whether it is to blame
    at_edge = is_at_edge(origin.operation, origin.settings, origin.operands, is_backward=is_backward)
    return at_edge or is_exponential or origin.is_custom


def _goes_well(evidence: Evidence, origin: NonFiniteOrigin) -> bool:
    """Say whether training goes well with the operation kept inside its domain; else the steps are to blame."""
    safe = GUARDED.get(origin.operation)
    if safe is None or origin.index is None:
        return True
    guarded = with_substitution(
        evidence.task, lambda operation, call: safe(call) if operation.index == origin.index else None
    )
    try:
        course = course_of(guarded, steps=evidence.steps, seed=evidence.seed)
    except NotMeasuredError:
        return True
    return course.is_finite and course.losses[-1] < course.losses[0]


def _origin_at(training: Training, failure: Failure, batch: Any, *, seed: int) -> NonFiniteOrigin:
    task = replace(training.task, optimizer_factory=None)
    found = origin_in(task, seed=seed)
    if found.during in {"forward", "backward"}:
        return found if _is_to_blame(found) else FINITE
    parameter = dict(task.model.named_parameters()).get(failure.parameter or "")
    if found.during is not None or parameter is None:
        return FINITE
    with preserved(task.model, seed=seed), seeded(task.model, seed):
        training.step(batch)
    count = int(parameter.isnan().sum())
    # Steps that are too long make infinities first, and of these NaN; only in float16 may an eps that is 0 make both.
    if not count and parameter.dtype != torch.float16:
        return FINITE
    group = training.optimizer.param_groups[0]
    return NonFiniteOrigin(
        "update",
        failure.parameter or "",
        type(training.optimizer).__name__,
        count=count or 1,
        total=parameter.numel(),
        settings={key: float(group[key]) for key in ("eps", "lr") if isinstance(group.get(key), int | float)},
        dtype=str(parameter.dtype).removeprefix("torch."),
    )
