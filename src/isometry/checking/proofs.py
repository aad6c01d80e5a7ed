"""Counterfactual proofs: leading causes are put to an experiment, and what vanishes with one folds under it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from isometry._phrases import Phrase
from isometry.checking.change import Change, Changes
from isometry.checking.changes_of_data import (
    averaged,
    cleaned,
    in_full_precision,
    larger_steps,
    smaller_steps,
)
from isometry.checking.changes_of_losses import output_exchanged, targets_in_domain, targets_reshaped
from isometry.checking.changes_of_operations import (
    activation_cooled,
    gradient_let_through,
    nonlinearity_inserted,
    operand_guarded,
)
from isometry.checking.changes_of_scale import standardised
from isometry.checking.experiments import Bench, Outcome
from isometry.checking.treatment import SIGNAL_FAMILIES, redrawn
from isometry.findings.rule import Rule
from isometry.findings.run import rank
from isometry.probes.evidence import Evidence, NotMeasuredError
from isometry.report.finding import Finding, Remedy

CHANGES: Mapping[str, tuple[Changes, ...]] = {
    "DAT101": (standardised,),
    "DAT103": (targets_reshaped,),
    "FWD104": (redrawn, activation_cooled),
    "FWD106": (nonlinearity_inserted,),
    "LOS102": (output_exchanged,),
    "LOS103": (targets_in_domain,),
    "LOS104": (averaged,),
    "NUM101": (cleaned, operand_guarded, redrawn),
    "NUM102": (in_full_precision,),
    "NUM103": (in_full_precision,),
    "PAR101": (gradient_let_through, redrawn),
    "TRN101": (smaller_steps,),
    "TRN102": (larger_steps,),
}
UNIT_BY_UNIT = frozenset({"FWD103", "FWD104"})  # which blame what one activation reads, not the way through layers
DEFAULT_CHANGES: tuple[Changes, ...] = (redrawn,)  # where the remedy is of the kind `init`
# What lies nearer to the ground comes first where each of two changes removes the other finding.
GROUNDS = ("DAT", "NUM102", "NUM103", "INI", "LOS102", "LOS103", "LOS104", "FWD106", "NUM", "FWD", "BWD", "LOS", "PAR")
NOT_BY_WEIGHTS = Remedy(
    "model",
    Phrase("New weights do not cure this network of it: give it residual paths or a norm, or take layers out."),
)
NOT_BY_WEIGHTS_BEFORE = Remedy(
    "model",
    Phrase("New weights do not cure this network of it: scale what the activation reads, or put a norm before it."),
)


def proved(findings: Iterable[Finding], evidence: Evidence, rules: Iterable[Rule], *, proofs: int) -> list[Finding]:
    """Put leading causes to an experiment, and fold under each what goes away with it.

    Args:
        findings: What was found, with what explains it.
        evidence: The recorded step it was found in; nothing in it is changed.
        rules: The rules that found it.
        proofs: Most causes to try, counts.

    Returns:
        The findings: leading ones with their proof and, where there is one, their change as a line of code.
    """
    found = list(findings)
    leading = [each for each in rank(found) if each.because is None and each.severity != "note"]
    if evidence.is_meta or not leading:
        return found
    bench = Bench(evidence, rules, (finding for finding in found if finding.severity != "note"))
    outcomes: dict[int, Outcome] = {}
    suggestions: dict[int, str] = {}
    for number, finding in enumerate(leading):
        changes = _changes(finding, evidence)
        suggestions[id(finding)] = next((change.suggestion for change in changes if change.suggestion), "")
        outcome = bench.try_changes(finding, changes) if number < proofs else None
        if outcome is not None:
            outcomes[id(finding)] = outcome
            if outcome.confirmed and outcome.change.suggestion:
                suggestions[id(finding)] = outcome.change.suggestion
    folded = _folded(leading, outcomes)
    tested = [_tested(each, outcomes.get(id(each)), suggestions.get(id(each), "")) for each in found]
    return [replace(each, because=_end(each, folded)) for each in tested]


def _changes(finding: Finding, evidence: Evidence) -> list[Change]:
    try:
        makers = CHANGES.get(finding.code, DEFAULT_CHANGES)
        return [change for make in makers for change in make(finding, evidence)]
    except NotMeasuredError:
        return []


def _tested(finding: Finding, outcome: Outcome | None, suggestion: str) -> Finding:
    """Return a finding with its proof, and a remedy that fits what the experiment showed."""
    remedy = finding.remedy
    if outcome is not None and _is_incurable(finding, outcome):
        remedy = NOT_BY_WEIGHTS_BEFORE if finding.code in UNIT_BY_UNIT else NOT_BY_WEIGHTS
    elif suggestion and not remedy.suggestion:
        remedy = replace(remedy, suggestion=suggestion)
    return replace(finding, proof=None if outcome is None else outcome.proof(finding), remedy=remedy)


def _is_incurable(finding: Finding, outcome: Outcome) -> bool:
    """Say whether new weights leave signal or gradient as they were, or something else than them was needed."""
    is_left = finding.code not in outcome.gone or not outcome.change.redrawn
    is_init = finding.remedy.kind == "init" and not finding.remedy.suggestion
    return is_left and is_init and finding.code.startswith(SIGNAL_FAMILIES)


def _folded(leading: Sequence[Finding], outcomes: Mapping[int, Outcome]) -> dict[str, str]:
    """From the code of each leading finding that another's change removes to the code of that other."""
    folded: dict[str, str] = {}
    for cause in sorted(leading, key=_ground):
        outcome = outcomes.get(id(cause))
        if outcome is None or not outcome.confirmed or cause.code in folded:
            continue
        for symptom in leading:
            is_free = symptom.code not in {cause.code, *folded, *folded.values()}
            if is_free and symptom.code in outcome.gone and not _is_overwritten(symptom, outcome):
                folded[symptom.code] = cause.code
    return folded


def _is_overwritten(finding: Finding, outcome: Outcome) -> bool:
    """Say whether a change drew anew what a finding on weights blames, which says nothing about its cause."""
    return bool(outcome.change.redrawn) and finding.code.startswith("INI")


def _ground(finding: Finding) -> int:
    return next((place for place, code in enumerate(GROUNDS) if finding.code.startswith(code)), len(GROUNDS))


def _end(finding: Finding, folded: Mapping[str, str]) -> str | None:
    if finding.severity == "note":
        return finding.because
    if finding.because is None:
        return folded.get(finding.code)
    return folded.get(finding.because, finding.because)
