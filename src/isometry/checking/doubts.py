"""Doubts: a note, where a gradient fades by less than its bound and new weights alone begin to learn at once.

With Adam a network learns from a start from which plain gradient descent may take thousands of steps, so that no bound
on the gradient alone can tell. Some textbook programs only need patience there, so that a doubt accuses nobody.
"""

import time
from collections.abc import Iterable, Iterator
from dataclasses import replace

from isometry._errors import IsometryError
from isometry._phrases import Phrase
from isometry.anatomy.task import Task
from isometry.checking.treatment import redrawn
from isometry.findings.rule import Rule
from isometry.findings.run import findings_of
from isometry.probes.course import Course, run_course
from isometry.probes.courses import GradientCourse
from isometry.probes.evidence import Evidence, NotMeasuredError, measure
from isometry.probes.trial import learns, trial_of
from isometry.report.finding import Finding, Remedy

CODE = "BWD101"  # which also names what fades on its way forward, as both fade together in plain networks
BOUND = "safe-decay"
# Of the bound from which on a fall is a warning by itself; chosen: benchmarks/doubts.md has what lies on both sides.
DOUBTFUL = 0.5
LONGER = 4  # times the trial's steps, in which the network does not learn; new weights have the trial's steps alone
TIME_BUDGET = 8.0  # seconds from the start of a check, which is to take less than ten
REMEDY = Remedy("init", Phrase("To begin sooner, initialise at the critical point of the activation: isometry init."))


def doubted(findings: Iterable[Finding], rules: Iterable[Rule], evidence: Evidence, *, proofs: int) -> list[Finding]:
    """Return findings, with a note on a fading gradient where it alone explains why a network does not begin to learn.

    It is looked for where the user gave an optimiser, the trial does not learn with it and nothing but notes was found.
    It is found where the network does not learn in several times the steps either, and with new weights in the trial's.
    Where these steps take longer than a check may, nothing is said.

    Args:
        findings: What was found, with what a trial refutes as notes.
        rules: The rules that found it.
        evidence: The recorded step it was found in; nothing in it is changed.
        proofs: Most causes that may be put to an experiment; without any there is no doubt, counts.
    """
    found, rule = list(findings), next((each for each in rules if each.code == CODE), None)
    is_explained = any(each.severity != "note" for each in found)
    if rule is None or is_explained or not proofs or not _is_at_a_standstill(evidence):
        return found
    return [*found, *_noted(_suspected(rule, evidence), evidence)]


def _is_at_a_standstill(evidence: Evidence) -> bool:
    """Say whether fresh weights do not begin to learn at the rate that the user's optimiser will keep."""
    if evidence.task.optimizer_factory is None or not evidence.task.is_fresh:
        return False
    trial = trial_of(evidence)
    if trial is None or trial.learns or trial.failure is not None or trial.is_warming_up:
        return False
    steps = (LONGER + 1) * (len(trial.losses) - 1)
    return steps * trial.step_seconds <= _seconds_left(evidence)


def _seconds_left(evidence: Evidence) -> float:
    return evidence.start + TIME_BUDGET - time.perf_counter()


def _suspected(rule: Rule, evidence: Evidence) -> list[Finding]:
    """Return what the rule finds in the depth of the network with a lower bound."""
    try:
        course = measure(evidence, GradientCourse)
    except NotMeasuredError:
        return []
    thresholds = rule.thresholds
    strict = rule.with_thresholds(thresholds | {BOUND: DOUBTFUL * thresholds[BOUND]})
    return findings_of([(strict, draft) for draft in strict(replace(course, time=()))])


def _noted(suspected: list[Finding], evidence: Evidence) -> Iterator[Finding]:
    """Yield what keeps the network from learning for long, beside weights that begin at once."""
    trial = trial_of(evidence)
    assert trial is not None, "a standstill is what a trial showed"
    steps = len(trial.losses) - 1
    for finding in suspected:
        before = _course(evidence.task, evidence, LONGER * steps)
        if before is None or learns(before):
            continue
        for change in redrawn(finding, evidence):
            after = _course(change.make(), evidence, steps)
            if after is not None and learns(after):
                yield replace(finding, severity="note", cause=_cause(finding, before, after), remedy=REMEDY)
                break


def _course(task: Task, evidence: Evidence, steps: int) -> Course | None:
    """Return a course of all these steps; None where it breaks, or the time of the check is up before."""
    try:
        course = run_course(task, steps=steps, seed=evidence.seed, seconds=_seconds_left(evidence))
    except IsometryError:
        return None
    return course if len(course.losses) > steps else None


def _cause(finding: Finding, before: Course, after: Course) -> Phrase:
    return Phrase(
        "{cause}; {steps} steps of {optimizer} do not teach it to tell its samples apart (loss {start:.4g} to "
        "{end:.4g}), {fewer} from new weights do (to {other:.4g}): it may take far longer than from those",
        cause=finding.cause,
        steps=len(before.losses) - 1,
        optimizer=before.optimizer,
        start=before.losses[0],
        end=before.losses[-1],
        fewer=len(after.losses) - 1,
        other=after.losses[-1],
    )
