"""Which parameters the gradient reaches, and the operation that cuts it off from the others."""

from dataclasses import dataclass
from typing import Literal

from isometry.anatomy.flow import data_flow
from isometry.anatomy.preserve import has_numbers
from isometry.anatomy.tape import Operation, Tape
from isometry.probes.evidence import Evidence, measure, probe, structural
from isometry.probes.openings import Openings, is_zero

Reach = Literal["reached", "zero", "cut", "unused"]


@dataclass(frozen=True, slots=True)
class ParameterReach:
    """How the gradient of one trainable parameter came about.

    Attributes:
        name: Canonical name.
        reach: `reached` by a gradient that is not zero; `zero` if it is exactly zero; `cut` if a way of data leads
            to the loss, but no gradient comes back; `unused` if no way of data leads to the loss.
        blocked_by: For `cut`, the name of the operation behind which no gradient passes, and its layer.
        opens_later: For `zero`, whether a weight of zeros on its way gets a gradient itself, so that the way opens
            with the first step, as at the end of a residual branch.
        is_weight: Whether it mixes the units of a layer's input, alone.
        is_zero: For `zero`, whether all of its entries are zero too.
    """

    name: str
    reach: Reach
    blocked_by: str = ""
    opens_later: bool = False
    is_weight: bool = False
    is_zero: bool = False


@structural
@dataclass(frozen=True, slots=True)
class GradientReach:
    """The reach of every trainable parameter.

    Attributes:
        parameters: In the order of the model.
        is_trunk_cut: Whether a cut leaves no layer a gradient, or a layer that learns reads nothing but what comes
            through cuts. A target network and a detached generator lie beside the trunk.
        on_trunk: Names of the parameters used where every way from an input to the loss passes.
        is_input_lost: Whether layers read the batch, but none of those that lead to the loss reads anything of it.
    """

    parameters: tuple[ParameterReach, ...]
    is_trunk_cut: bool
    on_trunk: frozenset[str]
    is_input_lost: bool = False

    def of(self, reach: Reach) -> tuple[ParameterReach, ...]:
        """Return the parameters with this reach."""
        return tuple(parameter for parameter in self.parameters if parameter.reach == reach)


@probe(GradientReach)
def measure_reach(evidence: Evidence) -> GradientReach:
    """Tell apart parameters that learn, that wait for others, that are cut off and that are not used."""
    tape = evidence.step.tape
    users = _users(tape)
    leads_to_loss = set(data_flow(tape).nodes)
    weights = {layer.weight[0] for layer in evidence.anatomy.layers if len(layer.weight) == 1}
    openings = measure(evidence, Openings).before
    reaches: list[ParameterReach] = []
    cuts: set[int] = set()
    for name, gradients in evidence.step.gradients.items():
        own = [index for index in users.get(name, ()) if index in leads_to_loss]
        found = [gradient for gradient in gradients if gradient is not None]
        if found and any(not has_numbers(gradient) or bool(gradient.ne(0).any()) for gradient in found):
            reaches.append(ParameterReach(name, "reached"))
        elif found:
            reaches.append(
                ParameterReach(
                    name,
                    "zero",
                    opens_later=not openings.isdisjoint(own),
                    is_weight=name in weights,
                    is_zero=is_zero(evidence, name),
                )
            )
        elif own:
            cut = _cut_behind(tape, own, leads_to_loss)
            cuts.update([cut.index] if cut else [])
            reaches.append(ParameterReach(name, "cut", blocked_by=_describe(cut)))
        else:
            reaches.append(ParameterReach(name, "unused"))
    learning = {node for node in evidence.anatomy.flow.nodes if tape.operations[node].weights}
    starved = _starved(tape, cuts)
    fed = {name for node in learning - starved for use in tape.operations[node].weights for name in use.names}
    # A critic reads what a detached generator made in one call, and real examples in another.
    hungry = (use.names[0] for node in learning & starved for use in tape.operations[node].weights)
    is_trunk_cut = bool(cuts) and (not learning or not fed.issuperset(hungry))
    trunk = evidence.anatomy.flow.trunk()
    on_trunk = frozenset(use.names[0] for index in trunk for use in tape.operations[index].parameters)
    return GradientReach(tuple(reaches), is_trunk_cut, on_trunk, _is_input_lost(tape, leads_to_loss))


def _is_input_lost(tape: Tape, leads_to_loss: set[int]) -> bool:
    fed = set(tape.batch)
    reads: dict[bool, list[bool]] = {True: [], False: []}
    for operation in tape.operations:
        reads_batch = not fed.isdisjoint(operation.inputs)
        if reads_batch:
            fed.update(operation.outputs)
        if operation.weights:
            reads[operation.index in leads_to_loss].append(reads_batch)
    return bool(reads[True]) and not any(reads[True]) and any(reads[False])


def _users(tape: Tape) -> dict[str, list[int]]:
    users: dict[str, list[int]] = {}
    for operation in tape.operations:
        for use in operation.parameters:
            for name in use.names:
                users.setdefault(name, []).append(operation.index)
    return users


def _cut_behind(tape: Tape, start: list[int], allowed: set[int]) -> Operation | None:
    """Return the first operation on the way to the loss whose output carries no gradient."""
    behind: set[int] = set()
    for operation in tape.operations[min(start) :]:
        if operation.index not in start and behind.isdisjoint(operation.inputs):
            continue
        behind.update(operation.outputs)
        if operation.index in allowed and not any(tape.values[out].has_gradient for out in operation.outputs):
            return operation
    return None


def _describe(cut: Operation | None) -> str:
    if cut is None:
        return "an operation that was not seen"
    where = f" in {cut.module!r}" if cut.module else ""
    return f"{cut.name}{where}{' (under no_grad)' if cut.is_blind else ''}"


def _starved(tape: Tape, cuts: set[int]) -> set[int]:
    """Return the operations that read what comes through cuts, and no data that bypass them."""
    behind: set[int] = set()
    fed = {value.index for value in tape.values if value.producer is None}
    starved: set[int] = set()
    for operation in tape.operations:
        inputs = set(operation.inputs)
        if operation.index in cuts or inputs & behind:
            behind.update(operation.outputs)
        if operation.index not in cuts and inputs & fed:
            fed.update(operation.outputs)
        if inputs & behind and not inputs & fed:
            starved.add(operation.index)
    return starved
