"""Experiments: a change is made on a copy, and findings and a few steps of training are looked at again."""

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass

from isometry._errors import IsometryError
from isometry._phrases import Phrase
from isometry.anatomy.task import Task
from isometry.checking.change import Change
from isometry.findings.rule import Rule
from isometry.findings.run import run_rules
from isometry.probes.course import Course, run_course
from isometry.probes.evidence import Evidence, NotMeasuredError, gather, measure
from isometry.probes.trial import learns
from isometry.probes.trial_result import TrialResult
from isometry.report.finding import Finding, Proof

TIME_BUDGET = 4.0  # seconds for all experiments of a check, which is to take less than ten with everything on
MIN_BETTER = 0.05  # of a loss after the same steps; 0.43 in the median without a true fault: benchmarks/proofs.md
MAX_WORSE = 0.02  # of a loss that counts as unchanged
# Of a loss with new weights: the first steps of Adam were seen to raise that of deep networks, which then learned, by
# 0.3; what is broken raises it tenfold.
MAX_WORSE_AT_FIRST = 1.0
FASTER = 3.0  # times; outputs may start further from the targets without what keeps them from ever getting there
MIN_FALL = 0.01  # of the loss before any step
MIN_STEPS = 5  # optimiser steps; the first few may raise the loss of a network that then learns
LONGER = 4  # times the steps, after which a network with new weights has either begun to learn or not
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
        steps: How many steps both made, counts.
    """

    start: tuple[float, float]
    end: tuple[float, float]
    least: tuple[float, float]
    steps: int = 0

    @property
    def falls_faster(self) -> bool:
        """Whether the loss falls several times as fast with the change, from wherever it starts."""
        before, after = (start - end for start, end in zip(self.start, self.end, strict=True))
        return after > MIN_FALL * abs(self.start[1]) and after > FASTER * before

    @property
    def falls_further(self) -> bool:
        """Whether the loss falls clearly further with the change, as a share of where each began."""
        if min(self.start) <= 0 or not all(map(math.isfinite, self.end)):
            return True
        before, after = (end / start for start, end in zip(self.start, self.end, strict=True))
        return after < (1 - MIN_BETTER) * before

    @property
    def are_equal(self) -> bool:
        """Whether the change changed none of them."""
        return self.start[0] == self.start[1] and self.end[0] == self.end[1]

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
        is_open: Whether the finding went away and only its harm did not show: it is certain, or new weights need more
            steps to learn.
    """

    change: Change
    number: float | None
    gone: frozenset[str]
    losses: Losses | None
    steps: int
    confirmed: bool
    is_open: bool = False

    def proof(self, finding: Finding) -> Proof | None:
        """Return the outcome as a proof, in the finding's own number or, where it has none, in losses.

        None where the change had no effect, or where there was no step in which harm could show.
        """
        ends = None if self.losses is None else self._ends(self.losses)
        if (self.is_open and ends is None) or self._is_idle(finding):
            return None
        before, after = finding.measured, self.number
        unit = ""
        if before is None or after is None:
            if ends is None:
                return None
            (before, after), unit = ends, self._unit()
        losses = ends or (None, None)
        return Proof(
            self.change.words,
            before,
            after,
            self.confirmed,
            unit,
            *losses,
            is_share=not self.change.keeps_loss,
            open_after=self.steps if self.is_open else None,
        )

    def _ends(self, losses: Losses) -> tuple[float, float] | None:
        """Return the last losses, each over its own first where they are not the same quantity."""
        if self.change.keeps_loss:
            return losses.end
        if min(losses.start) <= 0:
            return None  # of a loss that may be negative no share can be told
        return losses.end[0] / losses.start[0], losses.end[1] / losses.start[1]

    def _unit(self) -> Phrase:
        if self.change.keeps_loss:
            return Phrase("loss after {steps} steps", steps=self.steps)
        return Phrase("of the loss at the start, after {steps} steps", steps=self.steps)

    def _is_idle(self, finding: Finding) -> bool:
        """Say whether a change left everything as it was, such as numbers standardised that the model rounds."""
        is_same = self.number is None or self.number == finding.measured
        return is_same and finding.code not in self.gone and self.losses is not None and self.losses.are_equal


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
            if outcome is not None and outcome.confirmed:
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
        losses = None if after is None or self._baseline is None else _losses_of(self._baseline, after.losses)
        is_better = _is_better(losses, change, is_statistic=self._rules[finding.code].is_statistic)
        if is_better:
            gone |= {code for code in self.codes if code.startswith("TRN")}
        may_confirm = is_confirmed = finding.code in gone and _is_harmless(change, losses)
        is_fact = change.is_evident and not self._rules[finding.code].is_statistic
        if is_confirmed and change.is_evident:
            is_confirmed = is_better or bool(gone - {finding.code})
        elif is_confirmed and after is not None and losses is not None and not is_better and not learns(after):
            losses, is_confirmed = self._followed(change, changed, course=after, losses=losses)
        return Outcome(
            change=change,
            number=self._number(finding, evidence, is_gone=finding.code in gone),
            gone=gone,
            losses=losses,
            steps=0 if losses is None else losses.steps,
            confirmed=is_confirmed,
            is_open=may_confirm and not is_confirmed and (is_fact or bool(change.redrawn)),
        )

    def _followed(self, change: Change, changed: Task, *, course: Course, losses: Losses) -> tuple[Losses, bool]:
        """Return the losses of more steps, and whether the change then makes the network learn what it did not."""
        steps = LONGER * (len(course.losses) - 1)
        if not self._can_afford(2 * steps * course.step_seconds):
            return losses, False
        try:
            after = self._course(changed, change.rate_factor, steps=steps)
            before = self._course(self.evidence.task, steps=steps)
        except IsometryError:
            return losses, False  # it broke on the way
        longer = _losses_of(before.losses, after.losses)
        if longer is None:
            return losses, False
        is_learning = learns(after) or _falls_below(after)
        return longer, is_learning and longer.is_better(same_quantity=change.keeps_loss)

    def _can_afford(self, seconds: float) -> bool:
        return time.perf_counter() + seconds < self._deadline

    def _steps(self, change: Change, changed: Task) -> Course | None:
        """Return a course of a few steps with a change made, None where no steps are allowed."""
        if not self.evidence.steps:
            return None
        if self._baseline is None:
            begun = time.perf_counter()
            self._baseline = self._losses_before()
            self._deadline += time.perf_counter() - begun  # torch takes seconds to make its first optimiser
        return self._course(changed, change.rate_factor, steps=self.evidence.steps)

    def _losses_before(self) -> tuple[float, ...]:
        trial = self.evidence.measured.get(TrialResult)
        if isinstance(trial, TrialResult):
            return trial.losses
        steps = self.evidence.steps
        return (
            self._course(self.evidence.task, steps=steps).losses
            if self.evidence.is_finite
            else (math.nan,) * (steps + 1)
        )

    def _course(self, task: Task, rate_factor: float = 1.0, *, steps: int) -> Course:
        seconds = SHARE_FOR_STEPS * max(self._deadline - time.perf_counter(), 0.0)
        return run_course(task, steps=steps, seed=self.evidence.seed, rate_factor=rate_factor, seconds=seconds)

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
    except NotMeasuredError:
        return None
    drafts.sort(key=lambda draft: draft.where[:1] != finding.where[:1])
    return next((each.measured for each in drafts if each.measured is not None and each.unit == finding.unit), None)


def _losses_of(before: tuple[float, ...], after: tuple[float, ...]) -> Losses | None:
    """Return the losses of two courses after as many steps as both have, None where these are too few."""
    diverged = not math.isfinite(before[-1]) or not math.isfinite(after[-1])
    count = min(len(before), len(after))
    if count <= MIN_STEPS and not diverged:
        return None
    ends = (before[-1], after[-1]) if diverged else (before[count - 1], after[count - 1])
    return Losses((before[0], after[0]), ends, (min(before[:count]), min(after[:count])), count - 1)


def _is_harmless(change: Change, losses: Losses | None) -> bool:
    """Say whether training went at least as well as without a change."""
    allowed = MAX_WORSE_AT_FIRST if change.redrawn else MAX_WORSE
    return losses is None or not losses.is_worse(allowed, same_quantity=change.keeps_loss)


def _is_better(losses: Losses | None, change: Change, *, is_statistic: bool) -> bool:
    """Say whether training went better with a change; of another quantity that is asked for what is only a size."""
    if losses is None or not losses.is_better(same_quantity=change.keeps_loss):
        return False
    return change.keeps_loss or not is_statistic or losses.falls_further


def _falls_below(course: Course) -> bool:
    """Say whether a loss whose constant predictor is not known falls clearly."""
    start, end = course.losses[0], course.losses[-1]
    return not course.progress and course.is_finite and start - end > MIN_BETTER * abs(start)
