"""Runs rules on the evidence of one step, and puts what they find in order."""

from collections.abc import Iterable, Sequence

from isometry.findings.rule import Draft, Rule
from isometry.probes.evidence import Evidence, NotMeasuredError, measure
from isometry.report.catalogue import message
from isometry.report.facts import Skipped
from isometry.report.finding import SEVERITIES, Finding
from isometry.report.numerals import finite


def run_rules(rules: Iterable[Rule], evidence: Evidence) -> tuple[list[Finding], tuple[Skipped, ...]]:
    """Return what rules find in a recorded step, and those that lack their measurement, with the reason.

    Nothing explains anything yet: see `causes.explained`.
    """
    drafts: list[tuple[Rule, Draft]] = []
    skipped: list[Skipped] = []
    for rule in rules:
        try:
            measured = [measure(evidence, kind) for kind in rule.measurements]
        except NotMeasuredError as error:
            skipped.append(Skipped(rule.code, error.reason))
            continue
        drafts.extend((rule, draft) for draft in rule(*measured))
    return findings_of(drafts), tuple(skipped)


def findings_of(drafts: Sequence[tuple[Rule, Draft]]) -> list[Finding]:
    """Return what rules have drafted as findings."""
    return [_finding(rule, draft) for rule, draft in drafts]


def rank(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Order findings: causes before what they explain; errors, or what explains one, before warnings before notes.

    Of causes that weigh the same those that an experiment confirmed come first, those that it did not confirm last.

    Args:
        findings: What was found, with what explains it and what was proved.

    Returns:
        The same findings, each once.
    """
    found = list(findings)
    symptoms: dict[str, list[Finding]] = {}
    for finding in found:
        if finding.because is not None:
            symptoms.setdefault(finding.because, []).append(finding)

    def weight(cause: Finding) -> tuple[int, int]:
        worst = min(SEVERITIES.index(each.severity) for each in (cause, *symptoms.get(cause.code, ())))
        if cause.proof is None or cause.proof.open_after is not None:
            return worst, 1
        return worst, 0 if cause.proof.confirmed else 2

    leading = sorted((finding for finding in found if finding.because is None), key=weight)
    ordered = [each for cause in leading for each in (cause, *symptoms.get(cause.code, ()))]
    return tuple(dict.fromkeys(ordered))


def _finding(rule: Rule, draft: Draft) -> Finding:
    return Finding(
        code=rule.code,
        name=rule.name,
        severity=draft.severity or rule.severity,
        where=draft.where,
        measured=finite(draft.measured),
        allowed=finite(draft.allowed),
        unit=draft.unit,
        message=draft.message
        or message(rule.code, where=draft.where, measured=draft.measured, allowed=draft.allowed, unit=draft.unit),
        cause=draft.cause,
        because=None,
        proof=None,
        remedy=draft.remedy,
    )
