"""The guard of the trial: a network that demonstrably learns is not held to be broken by a statistic of its start."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

from isometry._errors import IsometryError
from isometry._phrases import Phrase
from isometry.anatomy.task import Task
from isometry.checking.change import Change
from isometry.checking.treatment import redrawn
from isometry.findings.rule import Rule
from isometry.probes.course import TIME_BUDGET, run_course
from isometry.probes.evidence import Evidence
from isometry.probes.recurrence import Recurrences
from isometry.probes.trial import trial_of
from isometry.probes.trial_result import TrialResult
from isometry.report.finding import Finding

# What these find makes learning slow and not impossible, so that only a network that learns fast refutes them.
SLOWING = frozenset({"DAT101", "FWD104"})
FAST = 0.5  # of the constant predictor's loss, at the end of the trial: benchmarks/trial.md
LONGER = 4  # times the trial's steps, after which a network that learns no faster than it did has not refuted much
STUCK = 0.75  # of the loss at the start; below it a network has learnt, be it late
FAR_BETTER = 2.0  # times a loss over that with new weights, both after those steps
BETTER = 1.5  # the like for what makes learning slow: chosen, a third less of the loss is seen on any curve
MIN_APART = 0.03  # of the loss at the start; by less two losses are both as good as nothing


def guarded(findings: Iterable[Finding], rules: Iterable[Rule], evidence: Evidence) -> list[Finding]:
    """Return findings, those that a trial refutes as notes.

    The trial is made if something hangs on it: a statistic stands as an error or a warning, or the user gave an
    optimiser to try. It does not refute what explains a fact, nor an error without which the network learns far more.

    Args:
        findings: What the rules found.
        rules: The rules.
        evidence: What they were run on.

    Returns:
        The findings in the same order.
    """
    found, table = list(findings), {rule.code: rule for rule in rules}
    statistics = {code for code, rule in table.items() if rule.is_statistic}
    if evidence.task.optimizer_factory is None and not _serious(found, statistics):
        return found
    trial = trial_of(evidence)
    if trial is None or not trial.learns:
        return found
    is_fast = trial.remaining is not None and trial.remaining < FAST
    refuted = statistics if is_fast else statistics - SLOWING
    distant = _recurrences(evidence)
    facts = [each for each in found if each.code not in statistics and each.severity != "note"]
    appeal = _Appeal(evidence, trial)

    def is_refuted(finding: Finding) -> bool:
        if finding.code not in refuted or finding.severity == "note" or (finding.code, finding.where) in distant:
            return False
        if _leaves_samples_apart(finding) and not is_fast:
            return False
        is_ground = any(finding.code in table[fact.code].explained_by and _share(finding, fact) for fact in facts)
        return not is_ground and not appeal.succeeds(finding, table[finding.code])

    return [_as_note(each, trial) if is_refuted(each) else each for each in found]


def _leaves_samples_apart(finding: Finding) -> bool:
    """Say whether the places of each sample become one: samples are then told apart by their means alone."""
    return finding.code == "FWD105" and finding.remedy.kind == "model"


def _share(finding: Finding, fact: Finding) -> bool:
    """Say whether two findings name the same place, or one a part of the other's."""
    pairs = ((f"{one}.", f"{other}.") for one in finding.where for other in fact.where)
    return any(one.startswith(other) or other.startswith(one) for one, other in pairs)


class _Appeal:
    """A second trial, several times as long: with the weights that a finding blames, and with new ones."""

    def __init__(self, evidence: Evidence, trial: TrialResult) -> None:
        self._evidence = evidence
        self._trial = trial
        self._end: float | None = None
        self._ends: dict[frozenset[str], float] = {}  # by the parameters that were drawn anew
        self._won: set[str] = set()  # codes

    def succeeds(self, finding: Finding, rule: Rule) -> bool:
        """Say whether a network that learns would learn far more without what an error blames."""
        if not self._won.isdisjoint(rule.explained_by):
            return True  # as a symptom of what has been shown
        steps = LONGER * (len(self._trial.losses) - 1)
        if finding.severity != "error" or steps * self._trial.step_seconds > TIME_BUDGET:
            return False
        is_slowing = finding.code in SLOWING
        won = any(
            self._is_better(self._end_with(change, steps), is_slowing=is_slowing)
            for change in redrawn(finding, self._evidence)
        )
        self._won |= {finding.code} if won else set()
        return won

    def _end_with(self, change: Change, steps: int) -> float:
        if self._end is None:
            self._end = self._after(self._evidence.task, steps)
        if change.redrawn not in self._ends:
            self._ends[change.redrawn] = self._after(change.make(), steps)
        return self._ends[change.redrawn]

    def _is_better(self, other: float, *, is_slowing: bool) -> bool:
        end, start, times = self._end, self._trial.losses[0], BETTER if is_slowing else FAR_BETTER
        if end is None or not math.isfinite(end):
            return False
        return (is_slowing or end > STUCK * start) and end > times * other and end - other > MIN_APART * start

    def _after(self, task: Task, steps: int) -> float:
        try:
            losses = run_course(task, steps=steps, seed=self._evidence.seed).losses
        except IsometryError:
            return math.inf
        return losses[-1] if len(losses) > steps and math.isfinite(losses[-1]) else math.inf


def _recurrences(evidence: Evidence) -> set[tuple[str, tuple[str, ...]]]:
    """Return what no trial refutes: a batch can be told apart by the last steps of its sequences alone."""
    found: Recurrences | None = evidence.measured.get(Recurrences)
    return {("BWD101", (trace.name,)) for trace in found.traces} if found is not None else set()


def _serious(findings: Sequence[Finding], codes: set[str]) -> bool:
    return any(finding.code in codes and finding.severity != "note" for finding in findings)


def _as_note(finding: Finding, trial: TrialResult) -> Finding:
    if finding.severity == "note":
        return finding
    cause = Phrase(
        "{cause}; all the same it learns: after {steps} steps of {optimizer} it tells its samples apart, its loss went "
        "from {start:.4g} to {end:.4g}",
        cause=finding.cause,
        steps=len(trial.losses) - 1,
        optimizer=trial.optimizer,
        start=trial.losses[0],
        end=trial.losses[-1],
    )
    return replace(finding, severity="note", cause=cause)
