"""Runs rules on the evidence of one step, and folds what they find under its causes."""

from collections.abc import Iterable, Mapping, Sequence

from isometry.findings.rule import Draft, Rule
from isometry.probes.evidence import Evidence, NotMeasuredError, measure
from isometry.report.catalogue import message
from isometry.report.facts import Skipped
from isometry.report.finding import SEVERITIES, Finding
from isometry.report.numerals import finite


def run_rules(rules: Iterable[Rule], evidence: Evidence) -> tuple[list[Finding], tuple[Skipped, ...]]:
    """Return what rules find in a recorded step, and those that lack their measurement, with the reason."""
    drafts: list[tuple[Rule, Draft]] = []
    skipped: list[Skipped] = []
    for rule in rules:
        try:
            measured = [measure(evidence, kind) for kind in rule.measurements]
        except NotMeasuredError as reason:
            skipped.append(Skipped(rule.code, str(reason)))
            continue
        drafts.extend((rule, draft) for draft in rule(*measured))
    return findings_of(drafts), tuple(skipped)


def rank(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Order findings: causes before what they explain, errors before warnings before notes."""
    found = list(findings)
    leading = sorted(
        (finding for finding in found if finding.because is None), key=lambda each: SEVERITIES.index(each.severity)
    )
    ordered: list[Finding] = []
    for cause in leading:
        ordered.append(cause)
        ordered.extend(finding for finding in found if finding.because == cause.code)
    return tuple(dict.fromkeys(ordered))


def findings_of(drafts: Sequence[tuple[Rule, Draft]]) -> list[Finding]:
    """Return what rules have drafted as findings, each with the code of the one that explains it."""
    causes = _causes(drafts)
    return [_finding(rule, draft, causes) for rule, draft in drafts]


def _causes(drafts: Sequence[tuple[Rule, Draft]]) -> dict[str, str]:
    """From the code of each explained finding to the code of the finding at the root of it."""
    serious = {rule.code for rule, draft in drafts if (draft.severity or rule.severity) != "note"}
    rules = {rule.code: rule for rule, _ in drafts}
    nearest = {
        code: next((cause for cause in rule.explained_by if cause in serious), None) for code, rule in rules.items()
    }
    roots: dict[str, str] = {}
    for code in rules:
        root = nearest[code]
        while root is not None and nearest[root] is not None:
            root = nearest[root]
        if root is not None:
            roots[code] = root
    return roots


def _finding(rule: Rule, draft: Draft, causes: Mapping[str, str]) -> Finding:
    severity = draft.severity or rule.severity
    return Finding(
        code=rule.code,
        name=rule.name,
        severity=severity,
        where=draft.where,
        measured=finite(draft.measured),
        allowed=finite(draft.allowed),
        unit=draft.unit,
        message=message(rule.code, where=draft.where, measured=draft.measured, allowed=draft.allowed),
        cause=draft.cause,
        because=None if severity == "note" else causes.get(rule.code),
        proof=None,
        remedy=draft.remedy,
    )
