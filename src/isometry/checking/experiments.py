"""Experiments: a change is made on a copy, and findings and a few steps of training are looked at again."""

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass

from isometry._errors import IsometryError
from isometry.anatomy.task import Task
from isometry.checking.change import Change
from isometry.findings.rule import Rule
from isometry.findings.run import run_rules
from isometry.probes.course import run_course
from isometry.probes.evidence import Evidence, NotMeasuredError, gather, measure
from isometry.probes.trial_result import TrialResult
from isometry.report.finding import Finding, Proof
from isometry.report.phrases import Phrase

TIME_BUDGET = 4.0  # seconds of all experiments of a check, which is to take less than ten with everything on
MIN_BETTER = 0.05  # of a loss after the same steps; 0.43 in the median without a true fault: benchmarks/proofs.md
MAX_WORSE = 0.02  # of a loss that counts as unchanged
# Of a loss with new weights: the first steps of Adam were seen to raise that of deep networks, which then learned, by
# 0.3; what is broken raises it tenfold.
MAX_WORSE_AT_FIRST = 1.0
FASTER = 3.0  # times; outputs may start further from the targets without what keeps them from ever getting there
MIN_FALL = 0.01  # of the loss before any step
MIN_STEPS = 5  # optimiser steps; the first few may raise the loss of a network that then learns
SHARE_FOR_STEPS = 0.5  # of the time that is left, spent on the steps of one experiment
PRECISION = frozenset({"NUM102", "NUM103"})  # which are not looked for in a task that needs none of it
RELAXED = 300.0  # a threshold that every number is beyond; some rules raise 10 to it, and floats end at 1e308


@dataclass(frozen=True, slots=True)
class Losses:
    """The losses of one task before and after some steps, without and with a change; not finite where they diverged.

    Attributes:
        start: Before any step.
        end: After the last step.
        least: The lowest on the way.
    """

    start: tuple[float, float]
    end: tuple[float, float]
    least: tuple[float, float]

    @property
    def falls_faster(self) -> bool:
        """Whether the loss falls several times as fast with the change, from wherever it starts."""
        before, after = (start - end for start, end in zip(self.start, self.end, strict=True))
        return after > MIN_FALL * abs(self.start[1]) and after > FASTER * before

    def is_better(self, *, same_quantity: bool) -> bool:
        """Say whether the change made the loss clearly lower, or let it fall where losses do not compare."""
        before, after = self.end if same_quantity else (self.start[1], self.end[1])
        if not math.isfinite(before) or not math.isfinite(after):
            return math.isfinite(after)
        return before - after > MIN_BETTER * max(abs(before), abs(after)) or self.falls_faster

    def is_worse(self, allowed: float, *, same_quantity: bool) -> bool:
        """Say whether the loss came nowhere as low as it ends without the change, or diverged with it.

        Args:
            allowed: By how much it may be above, as a share of the loss without the change.
            same_quantity: Whether both are the same quantity.

        Returns:
            False also where there is nothing to compare with.
        """
        before, after = self.end[0], self.least[1]
        if not math.isfinite(self.end[1]):
            return math.isfinite(before)
        is_known = same_quantity and math.isfinite(before) and not self.falls_faster
        return is_known and after - before > allowed * abs(before)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an experiment showed.

    Attributes:
        change: What was changed.
        number: The finding's own number with the change made; None if it cannot be had.
        gone: Codes of the findings that are no longer there, those among them that were not looked for left out.
        losses: Losses without and with the change; None if no steps were made.
        steps: After how many steps, counts.
        confirmed: Whether the finding, and harm that it did, went away with the change.
    """

    change: Change
    number: float | None
    gone: frozenset[str]
    losses: Losses | None
    steps: int
    confirmed: bool

    def proof(self, finding: Finding) -> Proof | None:
        """Return the outcome as a proof, in the finding's own number or, where it has none, in losses."""
        before, after = finding.measured, self.number
        unit = ""
        if before is None or after is None:
            if self.losses is None:
                return None
            (before, after), unit = self.losses.end, Phrase("loss after {steps} steps", steps=self.steps)
        losses = (None, None) if self.losses is None else self.losses.end
        return Proof(self.change.words, before, after, self.confirmed, unit, *losses)


class Bench:
    """Where experiments on one task are made, within a time budget for all of them."""

    def __init__(self, evidence: Evidence, rules: Iterable[Rule], serious: Iterable[Finding]) -> None:
        self.evidence = evidence
        self.codes = frozenset(finding.code for finding in serious)
        self._rules = {rule.code: rule for rule in rules if rule.code in self.codes}
        self._deadline = time.perf_counter() + TIME_BUDGET
        self._baseline: tuple[float, ...] | None = None

    def try_changes(self, finding: Finding, changes: Iterable[Change]) -> Outcome | None:
        """Return the first experiment that confirms a finding, else the last; None if none could be made."""
        last: Outcome | None = None
        for change in changes:
            outcome = self._try(finding, change) if self._has_time() else None
            last = outcome or last
            if outcome is None or outcome.confirmed:
                break
        return last

    def _has_time(self) -> bool:
        # Watched, with its gradients, a step takes up to twice as long as bare.
        return time.perf_counter() + 2 * self.evidence.step.seconds < self._deadline

    def _try(self, finding: Finding, change: Change) -> Outcome | None:
        try:
            changed = change.make()
            kinds = [kind for rule in self._rules.values() for kind in rule.measurements]
            evidence = gather(changed, kinds, seed=self.evidence.seed)
            found, skipped = run_rules(self._rules.values(), evidence)
            after = self._steps(change, changed)
        except IsometryError:
            return None  # the changed task does not run: nothing is shown
        left = {each.code for each in found if each.severity != "note"}
        left |= {each.code for each in skipped if each.code not in PRECISION}
        gone = self.codes - left
        losses = self._losses(after)
        if losses is not None and losses.is_better(same_quantity=change.keeps_loss):
            gone |= {code for code in self.codes if code.startswith("TRN")}
        return Outcome(
            change=change,
            number=self._number(finding, evidence, is_gone=finding.code in gone),
            gone=gone,
            losses=losses,
            steps=0 if after is None or self._baseline is None else min(len(after), len(self._baseline)) - 1,
            confirmed=_is_confirmed(finding, change, gone, losses=losses),
        )

    def _steps(self, change: Change, changed: Task) -> tuple[float, ...] | None:
        """Return the losses of a few steps with a change made, None where no steps are allowed."""
        if not self.evidence.steps:
            return None
        if self._baseline is None:
            begun = time.perf_counter()
            trial = self.evidence.measured.get(TrialResult)
            self._baseline = trial.losses if isinstance(trial, TrialResult) else self._course(self.evidence.task)
            self._deadline += time.perf_counter() - begun  # torch takes seconds to make its first optimiser
        return self._course(changed, change.rate_factor)

    def _course(self, task: Task, rate_factor: float = 1.0) -> tuple[float, ...]:
        if task is self.evidence.task and not self.evidence.is_finite:
            return (math.nan,) * (self.evidence.steps + 1)
        steps, seed = self.evidence.steps, self.evidence.seed
        seconds = SHARE_FOR_STEPS * max(self._deadline - time.perf_counter(), 0.0)
        return run_course(task, steps=steps, seed=seed, rate_factor=rate_factor, seconds=seconds).losses

    def _losses(self, after: tuple[float, ...] | None) -> Losses | None:
        if after is None or self._baseline is None:
            return None
        before = self._baseline
        diverged = not math.isfinite(before[-1]) or not math.isfinite(after[-1])
        count = min(len(before), len(after))
        if count <= MIN_STEPS and not diverged:
            return None
        ends = (before[-1], after[-1]) if diverged else (before[count - 1], after[count - 1])
        return Losses((before[0], after[0]), ends, (min(before[:count]), min(after[:count])))

    def _number(self, finding: Finding, evidence: Evidence, *, is_gone: bool) -> float | None:
        """Return a finding's number in other evidence, read by its own rule with thresholds that anything exceeds."""
        if is_gone and finding.allowed == 0:
            return 0.0
        rule = self._rules[finding.code]
        number = _number(rule, evidence, finding)
        for limit in (-RELAXED, RELAXED):
            if number is None and is_gone:
                relaxed = rule.with_thresholds(dict.fromkeys(rule.thresholds, limit))
                number = _number(relaxed, evidence, finding)
        return number


def _number(rule: Rule, evidence: Evidence, finding: Finding) -> float | None:
    """Return what a rule measures where a finding lies, else anywhere; None if it finds nothing."""
    try:
        drafts = list(rule(*(measure(evidence, kind) for kind in rule.measurements)))
    except (NotMeasuredError, ArithmeticError, LookupError, TypeError, ValueError):
        return None  # some rules cannot put numbers this far from their bounds into words
    drafts.sort(key=lambda draft: draft.where[:1] != finding.where[:1])
    return next((each.measured for each in drafts if each.measured is not None and each.unit == finding.unit), None)


def _is_confirmed(finding: Finding, change: Change, gone: frozenset[str], *, losses: Losses | None) -> bool:
    """Say whether an experiment shows that a finding is a cause."""
    if finding.code not in gone:
        return False
    allowed = MAX_WORSE_AT_FIRST if change.redrawn else MAX_WORSE
    if losses is not None and losses.is_worse(allowed, same_quantity=change.keeps_loss):
        return False
    is_better = losses is not None and losses.is_better(same_quantity=change.keeps_loss)
    return is_better or not change.is_evident or bool(gone - {finding.code})
