"""Which parameters the gradient reaches, and the operation that cuts it off from the others."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from torch import Tensor

from isometry.anatomy.flow import data_flow
from isometry.anatomy.preserve import has_numbers
from isometry.anatomy.tape import Operation, Tape
from isometry.probes.evidence import Evidence, measure, probe, structural
from isometry.probes.openings import Openings, has_nonzero, is_zero

Reach = Literal["reached", "zero", "cut", "unused"]
STOPS = frozenset({"detach", "data"})  # what is written to stop a gradient; a target network is behind one
FLAT = frozenset({"sign", "sgn", "round", "floor", "ceil", "trunc", "fix", "heaviside", "floor_divide"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterReach:
    """How the gradient of one trainable parameter came about.

    Attributes:
        name: Canonical name.
        reach: `reached` by a gradient that is not zero; `zero` if it is exactly zero; `cut` if a way of data leads
            to the loss, but no gradient comes back; `unused` if no way of data leads to the loss.
        blocked_by: The operation behind which no gradient passes, and its layer: for `cut`, and for `zero` where all
            ways pass an operation that is flat everywhere, such as a rounding.
        is_on_trunk: Whether it stands where data have to pass. For `cut`: no layer learns, or one that does reads
            nothing but what comes through such cuts. For `zero`, of a weight: no layer that learns offers data
            another way to the loss.
        is_meant: For `cut`, whether a `detach` or `no_grad` is among what cuts it off, as of a target network.
        opens_later: For `zero`, whether a weight of zeros on its way gets a gradient itself, so that the way opens
            with the first step, as at the end of a residual branch.
        is_weight: Whether it mixes the units of a layer's input, alone.
        is_zero: For `zero`, whether all of its entries are zero too.
        is_discarded: For `unused`, whether it worked on the batch, and the model neither returned nor kept what came
            of it.
    """

    name: str
    reach: Reach
    blocked_by: str = ""
    is_on_trunk: bool = False
    is_meant: bool = False
    opens_later: bool = False
    is_weight: bool = False
    is_zero: bool = False
    is_discarded: bool = False


@structural
@dataclass(frozen=True, slots=True)
class GradientReach:
    """The reach of every trainable parameter.

    Attributes:
        parameters: In the order of the model.
        is_input_lost: Whether layers read the batch, but none of those that lead to the loss reads anything of it.
        is_fresh: Whether the weights are newly initialised; what reads a pretrained network may leave it as it is.
    """

    parameters: tuple[ParameterReach, ...]
    is_input_lost: bool = False
    is_fresh: bool = True

    def of(self, reach: Reach) -> tuple[ParameterReach, ...]:
        """Return the parameters with this reach."""
        return tuple(parameter for parameter in self.parameters if parameter.reach == reach)


@probe(GradientReach)
def measure_reach(evidence: Evidence) -> GradientReach:
    """Tell apart parameters that learn, that wait for others, that are cut off and that are not used."""
    ways = _Ways(evidence)
    reaches = tuple(ways.reach_of(name) for name in evidence.step.gradients)
    return GradientReach(reaches, ways.is_input_lost(), evidence.task.is_fresh)


class _Ways:
    """The ways of data from the parameters to the loss, and what bars them to gradients."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._tape = evidence.step.tape
        self._users = _users(self._tape)
        self._leads_to_loss = set(data_flow(self._tape).nodes)
        self._weights = {layer.weight[0] for layer in evidence.anatomy.layers if len(layer.weight) == 1}
        flow = evidence.anatomy.flow
        self._reached = {name for name, gradients in evidence.step.gradients.items() if _is_any_nonzero(gradients)}
        self._slopes = _nodes_with_slope(self._tape, flow.nodes, flow.after)
        self._cuts = {name: self._cuts_of(name) for name in evidence.step.gradients if self._is_without_gradient(name)}
        self._hungry = self._hungry_layers()
        self._behind: dict[tuple[int, ...], set[int]] = {}  # what is made of the outputs of cuts

    def reach_of(self, name: str) -> ParameterReach:
        """Say how the gradient of a parameter came about."""
        if name in self._reached:
            return ParameterReach(name=name, reach="reached")
        if not self._is_without_gradient(name):
            return self._zero(name)
        if self._users_before_loss(name):
            return self._cut(name)
        return ParameterReach(name=name, reach="unused", is_discarded=self._is_discarded(name))

    def _is_discarded(self, name: str) -> bool:
        """Say whether all that came of a parameter was gone when the model's call ended."""
        users = [self._tape.operations[index] for index in self._users.get(name, ())]
        if not users or all(self._of_batch.isdisjoint(each.inputs) for each in users):
            return False
        behind = _values_from(self._tape, (out for each in users for out in each.outputs))
        return bool(self._tape.alive) and behind.isdisjoint(self._tape.alive | {self._tape.loss})

    @cached_property
    def _of_batch(self) -> set[int]:
        return _values_from(self._tape, self._tape.batch)

    def is_input_lost(self) -> bool:
        """Say whether layers read the batch, but none of those before the loss does."""
        of_batch = _values_from(self._tape, self._tape.batch)
        reads: dict[bool, list[bool]] = {True: [], False: []}
        for operation in self._tape.operations:
            if operation.weights:
                is_before_loss = operation.index in self._leads_to_loss
                reads[is_before_loss].append(not of_batch.isdisjoint(operation.inputs))
        return bool(reads[True]) and not any(reads[True]) and any(reads[False])

    def _is_without_gradient(self, name: str) -> bool:
        return all(gradient is None for gradient in self._evidence.step.gradients[name])

    def _users_before_loss(self, name: str) -> list[int]:
        return [index for index in self._users.get(name, ()) if index in self._leads_to_loss]

    def _zero(self, name: str) -> ParameterReach:
        own = self._users_before_loss(name)
        openings = measure(self._evidence, Openings).before
        flat = None if not self._slopes.isdisjoint(own) else _first_flat(self._tape, own)
        return ParameterReach(
            name=name,
            reach="zero",
            blocked_by=_describe(flat) if flat else "",
            is_on_trunk=name in self._weights and self._is_on_trunk(own),
            opens_later=not openings.isdisjoint(own),
            is_weight=name in self._weights,
            is_zero=is_zero(self._evidence, name),
        )

    def _is_on_trunk(self, own: list[int]) -> bool:
        """Say whether no layer that learns offers a way from data to the loss that avoids some operations."""
        operations = self._tape.operations
        if any(self._learns(operations[index]) for index in own):
            return False  # of several weights of one operation, such as a recurrent one, others learn
        fed, flow = _values_from(self._tape, self._data, barred=own), self._evidence.anatomy.flow
        ahead: set[int] = set()
        for node in reversed(flow.nodes):
            if node not in own and (not flow.after[node] or not ahead.isdisjoint(flow.after[node])):
                ahead.add(node)
        layers = (operations[node] for node in ahead)
        return not any(self._learns(layer) and not fed.isdisjoint(layer.inputs) for layer in layers)

    @cached_property
    def _data(self) -> set[int]:
        """The values of the batch; all that come from outside if no layer reads these."""
        of_batch = _values_from(self._tape, self._tape.batch)
        if any(operation.weights and not of_batch.isdisjoint(operation.inputs) for operation in self._tape.operations):
            return set(self._tape.batch)
        return {value.index for value in self._tape.values if value.producer is None}

    def _learns(self, layer: Operation) -> bool:
        return any(name in self._reached for use in layer.weights for name in use.names)

    def _cut(self, name: str) -> ParameterReach:
        cuts = self._cuts[name]
        key = tuple(out for cut in cuts for out in cut.outputs)
        behind = self._behind.setdefault(key, set()) or _values_from(self._tape, key)
        self._behind[key] = behind
        learns = any(self._tape.operations[node].weights for node in self._evidence.anatomy.flow.nodes)
        return ParameterReach(
            name=name,
            reach="cut",
            blocked_by=self._evidence.step.refused_by or _describe(cuts[0] if cuts else None),
            is_on_trunk=not learns
            or bool(self._evidence.step.refused_by)
            or any(not behind.isdisjoint(layer.inputs) for layer in self._hungry),
            is_meant=any(cut.name in STOPS or cut.is_blind or self._reads_stopped(cut, name) for cut in cuts),
        )

    def _reads_stopped(self, operation: Operation, name: str) -> bool:
        """Say whether an operation that has a derivative reads a parameter that was detached before."""
        reads = any(name in use.names for use in operation.parameters)
        return reads and all(self._tape.values[out].dtype.is_floating_point for out in operation.outputs)

    def _cuts_of(self, name: str) -> list[Operation]:
        """Return the first operation on each way from a parameter to the loss whose output carries no gradient."""
        found = {cut for index in self._users_before_loss(name) for cut in self._frontier[index]}
        return [self._tape.operations[index] for index in sorted(found)]

    @cached_property
    def _frontier(self) -> dict[int, frozenset[int]]:
        """For each operation the first ones, itself or behind it, whose outputs carry no gradient to the loss."""
        readers = self._evidence.anatomy.readers
        found: dict[int, frozenset[int]] = {}
        for operation in reversed(self._tape.operations):
            if operation.index not in self._leads_to_loss:
                found[operation.index] = frozenset()
            elif any(self._tape.values[out].has_gradient for out in operation.outputs):
                behind = (found[reader] for out in operation.outputs for reader in readers.get(out, ()))
                found[operation.index] = frozenset[int]().union(*behind)
            else:
                found[operation.index] = frozenset({operation.index})
        return found

    def _hungry_layers(self) -> list[Operation]:
        """Return the layers that learn, of weights that read nothing anywhere but what comes through cuts.

        A critic reads what a detached generator made in one call, and real examples in another: it is fed.
        """
        cuts = {cut.index for each in self._cuts.values() for cut in each}
        behind = _values_from(self._tape, (out for cut in cuts for out in self._tape.operations[cut].outputs))
        outside = (value.index for value in self._tape.values if value.producer is None)
        fed = _values_from(self._tape, outside, barred=cuts)
        layers = [self._tape.operations[node] for node in self._evidence.anatomy.flow.nodes]
        layers = [layer for layer in layers if layer.weights]
        hungry = [layer for layer in layers if not behind.isdisjoint(layer.inputs) and fed.isdisjoint(layer.inputs)]
        feeding = {use.names for layer in layers if layer not in hungry for use in layer.weights}
        return [layer for layer in hungry if any(use.names not in feeding for use in layer.weights)]


def _is_any_nonzero(gradients: Iterable[Tensor | None]) -> bool:
    found = (each for each in gradients if each is not None)
    return any(not has_numbers(each) or has_nonzero(each) for each in found)


def _users(tape: Tape) -> dict[str, list[int]]:
    users: dict[str, list[int]] = {}
    for operation in tape.operations:
        for use in operation.parameters:
            for name in use.names:
                users.setdefault(name, []).append(operation.index)
    return users


def _values_from(tape: Tape, values: Iterable[int], *, barred: Collection[int] = ()) -> set[int]:
    """Return the values given and all that operations make of them, those barred left out."""
    found = set(values)
    for operation in tape.operations:
        if operation.index not in barred and not found.isdisjoint(operation.inputs):
            found.update(operation.outputs)
    return found


def _nodes_with_slope(tape: Tape, nodes: tuple[int, ...], after: dict[int, tuple[int, ...]]) -> set[int]:
    """Return the operations from which a way leads to the loss without one that is flat everywhere."""
    found: set[int] = set()
    for node in reversed(nodes):
        is_end = not after[node]
        if tape.operations[node].name not in FLAT and (is_end or not found.isdisjoint(after[node])):
            found.add(node)
    return found


def _first_flat(tape: Tape, own: list[int]) -> Operation | None:
    """Return the first operation that is flat everywhere behind a parameter's own."""
    behind = _values_from(tape, (out for index in own for out in tape.operations[index].outputs))
    for operation in tape.operations[min(own, default=len(tape.operations)) :]:
        if operation.name in FLAT and not behind.isdisjoint(operation.inputs):
            return operation
    return None


def _describe(cut: Operation | None) -> str:
    if cut is None:
        return "an operation that was not seen"
    where = f" in {cut.module!r}" if cut.module else ""
    return f"{cut.name}{where}{' (under no_grad)' if cut.is_blind else ''}"
