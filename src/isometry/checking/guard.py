"""The guard of the trial: a network that demonstrably learns is not held to be broken by a statistic of its start."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from isometry.findings.rule import Rule
from isometry.probes.evidence import Evidence
from isometry.probes.recurrence import Recurrences
from isometry.probes.trial import trial_of
from isometry.probes.trial_result import TrialResult
from isometry.report.finding import Finding
from isometry.report.phrases import Phrase

# What these find makes learning slow and not impossible, so that only a network that learns fast refutes them.
SLOWING = frozenset({"DAT101", "FWD104"})
FAST = 0.5  # of the constant predictor's loss, at the end of the trial: benchmarks/trial.md


def guarded(findings: Iterable[Finding], rules: Iterable[Rule], evidence: Evidence) -> list[Finding]:
    """Return findings, those that a trial refutes as notes.

    The trial is made if something hangs on it: a statistic stands as an error or a warning, or the user gave an
    optimiser to try.

    Args:
        findings: What the rules found.
        rules: The rules.
        evidence: What they were run on.

    Returns:
        The findings in the same order.
    """
    found = list(findings)
    statistics = {rule.code for rule in rules if rule.is_statistic}
    if evidence.task.optimizer_factory is None and not _serious(found, statistics):
        return found
    trial = trial_of(evidence)
    if trial is None or not trial.learns:
        return found
    refuted = statistics if trial.remaining is not None and trial.remaining < FAST else statistics - SLOWING
    distant = _recurrences(evidence)
    return [
        _as_note(each, trial) if each.code in refuted and (each.code, each.where) not in distant else each
        for each in found
    ]


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
