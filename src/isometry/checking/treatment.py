"""The plan that draws anew what findings blame on the initialisation, and the experiment that tries it on a copy."""

from collections.abc import Iterable, Iterator

from isometry._phrases import Phrase
from isometry.anatomy.task import Task, with_model
from isometry.checking.change import Change
from isometry.planning.automatic import automatic_entries
from isometry.planning.door import guarded
from isometry.planning.health import layers_named, unhealthy_layers
from isometry.planning.plan import Plan
from isometry.probes.evidence import Evidence
from isometry.probes.recurrence import Recurrences
from isometry.probes.training import copied
from isometry.report.finding import Finding

SIGNAL_FAMILIES = ("BWD", "FWD")  # their cause lies in the layers that change signal or gradient most
ALONG_THE_TRUNK = frozenset(
    {"BWD101", "BWD102", "FWD101", "FWD102", "FWD105"}
)  # they name every layer, also sound ones
MAX_NAMES = 3  # layers that a sentence names; more are counted


def treatment(evidence: Evidence, findings: Iterable[Finding]) -> Plan:
    """Return the plan that draws anew the layers that findings blame, and no others.

    Args:
        evidence: The recorded step that the findings come from.
        findings: Those to treat; their remedies should be of the kind `init`.

    Returns:
        A decision for every parameter; what is frozen, protected or pretrained is withheld.
    """
    treated = list(findings)
    troubled = layers_blamed(evidence, treated)
    in_time = [finding for finding in treated if _is_in_time(evidence, finding)]
    troubled |= layers_named(evidence, _names(in_time))
    in_depth = [each for each in treated if each.code in ALONG_THE_TRUNK and each not in in_time]
    if in_depth:
        troubled |= unhealthy_layers(evidence) or layers_named(evidence, _names(in_depth))
    return _plan(evidence, troubled)


def _is_in_time(evidence: Evidence, finding: Finding) -> bool:
    """Say whether a finding is on the steps of a recurrence, which it then names alone."""
    found = evidence.measured.get(Recurrences)
    names = {(trace.name,) for trace in found.traces} if isinstance(found, Recurrences) else set[tuple[str, ...]]()
    return finding.code in ALONG_THE_TRUNK and finding.where in names


def wide_treatment(evidence: Evidence, findings: Iterable[Finding]) -> Plan:
    """Return the same plan with all layers that change signal or gradient by their size, if findings are on these."""
    treated = list(findings)
    troubled = layers_blamed(evidence, treated)
    if any(finding.code.startswith(SIGNAL_FAMILIES) for finding in treated):
        troubled |= unhealthy_layers(evidence) or layers_named(evidence, _names(treated))
    return _plan(evidence, troubled)


def _plan(evidence: Evidence, troubled: frozenset[int]) -> Plan:
    return guarded(automatic_entries(evidence, troubled), evidence.task, evidence.step.names, seed=evidence.seed)


def layers_blamed(evidence: Evidence, findings: Iterable[Finding]) -> frozenset[int]:
    """Return the operations of the layers that findings name, but for those that name all layers of a trunk."""
    local = (finding for finding in findings if finding.code not in ALONG_THE_TRUNK)
    return layers_named(evidence, _names(local))


def _names(findings: Iterable[Finding]) -> frozenset[str]:
    return frozenset(name for finding in findings for name in finding.where)


def redrawn(finding: Finding, evidence: Evidence) -> Iterator[Change]:
    """Yield the change that draws anew what a finding blames; none where its remedy or a ban is another."""
    if finding.remedy.kind != "init":
        return
    least, most = treatment(evidence, [finding]), wide_treatment(evidence, [finding])
    for plan in (least,) if least.changes == most.changes else (least, most):
        if plan.changes:
            names = frozenset(entry.parameter for entry in plan.changes)
            yield Change(words=_words(names), make=lambda plan=plan: _applied(plan, evidence.task), redrawn=names)


def _applied(plan: Plan, task: Task) -> Task:
    model = copied(task.model)
    plan.apply(model)
    return with_model(task, model)


def _words(names: frozenset[str]) -> Phrase:
    owners = sorted({name.rpartition(".")[0] or name for name in names})
    if len(owners) > MAX_NAMES:
        return Phrase("{count} layers drawn anew", count=len(owners))
    return Phrase("{names} drawn anew", names=", ".join(map(repr, owners)))
