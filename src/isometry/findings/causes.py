"""The graph of causes: which finding explains which, by what can cause what and by where both lie."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from isometry.anatomy.flow import Flow, data_flow
from isometry.anatomy.tape import Tape
from isometry.findings.rule import Rule
from isometry.report.finding import Finding

FORWARD = ("FWD", "LOS")  # families of symptoms that come from what lies before them; others may come from behind


@dataclass(frozen=True, slots=True)
class Places:
    """Where the things that findings name lie in a recorded step.

    Attributes:
        flow: The operations that the loss depends on.
        operations: From a layer's, a parameter's or a module's name to the operations that are meant.
    """

    flow: Flow
    operations: Mapping[str, frozenset[int]]

    def can_cause(self, cause: Finding, symptom: Finding) -> bool:
        """Say whether what one finding names can reach what another names; true where either has no known place."""
        here, there = self._of(cause), self._of(symptom)
        if not here or not there or not here.isdisjoint(self.flow.back_from(there)):
            return True
        return not symptom.code.startswith(FORWARD) and not there.isdisjoint(self.flow.back_from(here))

    def _of(self, finding: Finding) -> frozenset[int]:
        return frozenset[int]().union(*(self.operations.get(name, frozenset()) for name in finding.where))


def places_on(tape: Tape) -> Places:
    """Return where everything lies that a finding may name."""
    found: dict[str, set[int]] = {}
    for operation in tape.operations:
        names = {name for use in operation.parameters for name in use.names}
        for name in {tape.label(operation), operation.module, *names} - {""}:
            found.setdefault(name, set()).add(operation.index)
    return Places(data_flow(tape), {name: frozenset(indices) for name, indices in found.items()})


def explained(findings: Iterable[Finding], rules: Iterable[Rule], places: Places | None = None) -> list[Finding]:
    """Return findings, each with the code of the one at the root of what explains it.

    Of the rules that may explain a finding the first counts that found something serious in a place from where it can
    reach. Notes neither explain nor are explained.

    Args:
        findings: What the rules found; what they say of their causes is replaced.
        rules: The rules, which know what may explain them.
        places: Where things lie; None if only the rules decide.
    """
    found = list(findings)
    table = {rule.code: rule for rule in rules}
    serious = [finding for finding in found if finding.severity != "note"]
    nearest = {id(finding): _nearest(finding, serious, table[finding.code], places=places) for finding in serious}
    return [replace(finding, because=_root(finding, nearest)) for finding in found]


def _nearest(finding: Finding, serious: Sequence[Finding], rule: Rule, *, places: Places | None) -> Finding | None:
    for code in rule.explained_by:
        for cause in serious:
            if cause.code == code and (places is None or places.can_cause(cause, finding)):
                return cause
    return None


def _root(finding: Finding, nearest: Mapping[int, Finding | None]) -> str | None:
    cause = nearest.get(id(finding))
    while cause is not None and (further := nearest[id(cause)]) is not None:
        cause = further
    return None if cause is None else cause.code
