"""What the tape means: weight layers with their true fans, activations, norms, residual branches, heads and depth."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from isometry.anatomy.activations import MAX_OPERATIONS, Activation, activation_from
from isometry.anatomy.axes import Layout, layout_of
from isometry.anatomy.flow import Flow, gradient_flow
from isometry.anatomy.operations import NORMS, RESHAPES, SUMS, TRANSPARENT
from isometry.anatomy.residual import Branch, find_branches, unchanged_source
from isometry.anatomy.tape import Operation, ParameterUse, Tape, Value

SPLITS = frozenset({"chunk", "split", "tensor_split", "unbind", "getitem", "select", "narrow"})


@dataclass(frozen=True, slots=True)
class Layer:
    """One use of a weight that mixes units.

    Attributes:
        operation: Index of the operation that uses it.
        name: The layer's name for people.
        weight: Canonical names of the parameters the weight is made of; one for an ordinary weight.
        biases: Canonical names of the biases the same operation adds.
        kind: The operation's name, such as `linear` or `conv2d`.
        layout: Axes and true fans.
        activation_after: The activation that follows, through norms and reshapes; None where there is none.
        activation_before: The activation that made its input.
        is_normalised: Whether a norm follows before the next layer or activation.
        reads_norm: Whether its input comes from a norm.
        ends_branch: Whether it is the last layer of a residual branch.
        is_head: Whether no other layer comes between it and the loss.
        depth: Layers on the longest way from an input up to and with this one, counts.
    """

    operation: int
    name: str
    weight: tuple[str, ...]
    biases: tuple[str, ...]
    kind: str
    layout: Layout
    activation_after: Activation | None
    activation_before: Activation | None
    is_normalised: bool
    reads_norm: bool
    ends_branch: bool
    is_head: bool
    depth: int


@dataclass(frozen=True, slots=True)
class Anatomy:
    """The structure of a network as one forward pass showed it.

    Attributes:
        tape: The record it was read from.
        flow: The operations that carry a gradient to the loss.
        layers: In the order of execution.
        activations: All activations that follow a layer, in the order of execution, each once.
        branches: The residual branches.
        trunks: For each input, the operations that every way from it to the loss passes, of those that are layers or
            residual sums; the others only move numbers.
        depths: For each operation that a gradient reaches, the layers on the longest way to it, counts.
        readers: For each value, the operations that read it.
        norm_modules: Paths of modules that normalise with operations of their own, like Llama's norm.
    """

    tape: Tape
    flow: Flow
    layers: tuple[Layer, ...]
    activations: tuple[Activation, ...]
    branches: tuple[Branch, ...]
    trunks: tuple[tuple[int, ...], ...]
    depths: Mapping[int, int]
    readers: Mapping[int, tuple[int, ...]]
    norm_modules: frozenset[str]

    @property
    def depth(self) -> int:
        """Layers on the longest way from an input to the loss, counts."""
        return max((layer.depth for layer in self.layers), default=0)

    @property
    def heads(self) -> tuple[Layer, ...]:
        """The layers between which and the loss there is no other."""
        return tuple(layer for layer in self.layers if layer.is_head)

    def depth_between(self, here: int, there: int) -> int:
        """Return by how many layers the longest way to one operation exceeds that to another, counts."""
        return self.depths.get(there, 0) - self.depths.get(here, 0)


def read(tape: Tape) -> Anatomy:
    """Return the anatomy of a recorded forward pass; nothing is run."""
    flow = gradient_flow(tape)
    reader = _Reader(tape, flow)
    uses = ((operation, use) for operation in tape.operations for use in operation.weights)
    layers = tuple(reader.layer(operation, use) for operation, use in uses if math.prod(use.shape))
    activations = {layer.activation_after.exit: layer.activation_after for layer in layers if layer.activation_after}
    return Anatomy(
        tape=tape,
        flow=flow,
        layers=layers,
        activations=tuple(activations.values()),
        branches=reader.branches,
        trunks=reader.trunks(),
        depths=reader.depths,
        readers=reader.readers,
        norm_modules=reader.norm_modules,
    )


class _Reader:
    """What the reading of one layer shares with that of the others."""

    def __init__(self, tape: Tape, flow: Flow) -> None:
        self.tape = tape
        self.flow = flow
        self.branches = find_branches(tape, flow)
        self._forks = flow.forks()
        self._residual = {branch.sum: branch.fork for branch in self.branches}
        self.readers = _readers_of(tape)
        self.norm_modules = _modules_that_normalise(tape)
        self._branch_ends = {end for branch in self.branches for end in branch.ends}
        self._activation_of: dict[int, Activation | None] = {}
        self.depths, self._is_last = self._depths_and_heads()

    def layer(self, operation: Operation, use: ParameterUse) -> Layer:
        """Read one use of a weight."""
        value, is_normalised, added = self._follow(operation.outputs[0])
        before, reads_norm = self._preceding(operation)
        uses = (*operation.parameters, *added)
        biases = tuple(name for other in uses if other.role == "bias" for name in other.names)
        return Layer(
            operation=operation.index,
            name=self.tape.label(operation),
            weight=use.names,
            biases=biases,
            kind=operation.name,
            layout=layout_of(operation, use, parts=self._parts(operation)),
            activation_after=activation_from(self.tape, value, self.readers),
            activation_before=before,
            is_normalised=is_normalised,
            reads_norm=reads_norm,
            ends_branch=operation.index in self._branch_ends,
            is_head=self._is_last.get(operation.index, False) and operation.index not in self._branch_ends,
            depth=self.depths.get(operation.index, 0),
        )

    def trunks(self) -> tuple[tuple[int, ...], ...]:
        """Return the layers and residual sums on each trunk, those that continue another one left out."""
        beside_input = {branch.ends for branch in self.branches if branch.fork is None}
        hidden = {node for ends in beside_input for node in self.flow.back_from(ends)}
        weighted = {operation.index for operation in self.tape.operations if operation.weights}
        marks = (weighted - hidden) | self._residual.keys()
        found: set[tuple[int, ...]] = set()
        joints, seen = self.flow.joints(), set[int]()
        for source in self.flow.sources:
            reads_data = bool(self.tape.operations[source].inputs)
            stretches = self._stretches(source, joints) if reads_data else self._stretch_of_tokens(source, joints, seen)
            found.update(tuple(node for node in stretch if node in marks) for stretch in stretches)
        inner = {node for stretch in found for node in stretch[1:]}
        return tuple(sorted(stretch for stretch in found if stretch and stretch[0] not in inner))

    def _stretches(self, source: int, joints: Mapping[int, int]) -> list[list[int]]:
        """Cut a trunk where it becomes one of several parts of another stream, as an encoder's does in a decoder.

        Gradients before and after such a place do not compare: the part that is read in many places gets what the
        other stream leaves to it.

        Returns:
            The parts, which together are the trunk.
        """
        stretches = [[source]]
        for here, there in _steps(source, joints):
            if self._is_beside(here, there):
                stretches.append([])
            stretches[-1].append(there)
        return stretches

    def _stretch_of_tokens(self, source: int, joints: Mapping[int, int], seen: set[int]) -> list[list[int]]:
        """Return the end of a trunk that starts at learnt numbers, from where they have met data.

        Before that, learnt queries and positions are no stream, only a part of an attention's scores.

        Returns:
            The end as the only item; nothing if it begins on a trunk that was seen.
        """
        stretch, has_met_data = [source], False
        for here, there in _steps(source, joints):
            meets_data = not has_met_data and self._forks.get(there) is None
            if meets_data or self._is_beside(here, there):
                has_met_data = True
                if there in seen:
                    return []
                stretch = []
            stretch.append(there)
        seen.update(stretch)
        return [stretch]

    def _is_beside(self, here: int, there: int) -> bool:
        """Say whether what comes from one operation joins another stream at the next point of its trunk."""
        fork = self._residual.get(there, self._forks.get(there))
        start = unchanged_source(self.tape, self.flow, here)
        may_join = self._residual.get(there) is not None or len(self.flow.after[here]) > 1
        return may_join and not self._passes(fork, start)

    def _passes(self, node: int | None, point: int) -> bool:
        """Say whether every way to an operation passes a point."""
        while node is not None and node > point:
            node = self._forks[node]
        return node == point

    def is_norm(self, operation: Operation) -> bool:
        """Say whether an operation normalises, alone or as a part of a module that does."""
        return operation.name in NORMS or operation.module in self.norm_modules

    def _follow(self, value: int) -> tuple[int, bool, tuple[ParameterUse, ...]]:
        """Walk on through reshapes, dropout, norms and added biases.

        Returns:
            The value reached, whether a norm was passed, and the biases that were added.
        """
        passed_norm = False
        added: tuple[ParameterUse, ...] = ()
        while True:
            readers = [self.tape.operations[index] for index in self.readers.get(value, ())]
            if readers and all(self.is_norm(reader) for reader in readers):
                passed_norm = True
                value = self._end_of_norm(readers[0])
            elif len(readers) == 1 and (readers[0].name in TRANSPARENT or _adds_bias(readers[0])):
                added += readers[0].parameters
                value = readers[0].outputs[0]
            else:
                return value, passed_norm, added

    def _end_of_norm(self, first: Operation) -> int:
        last = first
        while first.name not in NORMS and last.index + 1 < len(self.tape.operations):
            step = self.tape.operations[last.index + 1]
            if step.module != first.module:
                break
            last = step
        return last.outputs[0]

    def _preceding(self, operation: Operation) -> tuple[Activation | None, bool]:
        """Walk back from a layer through reshapes and dropout to an activation or a norm."""
        value = operation.inputs[0] if operation.inputs else None
        while value is not None:
            producer = self.tape.values[value].producer
            if producer is None:
                return None, False
            maker = self.tape.operations[producer]
            if self.is_norm(maker):
                return None, True
            if maker.name not in TRANSPARENT or not maker.inputs:
                return self._activation_made(value), False
            value = maker.inputs[0]
        return None, False

    def _activation_made(self, value: int) -> Activation | None:
        """Return the activation whose result a value is, by walking back over its elementwise operations."""
        if value not in self._activation_of:
            self._activation_of[value] = self._search_activation(value)
        return self._activation_of[value]

    def _search_activation(self, value: int) -> Activation | None:
        entry, longest = value, None
        for _ in range(MAX_OPERATIONS):
            producer = self.tape.values[entry].producer
            if producer is None or producer not in self.tape.elementwise:
                break
            entry = min(self.tape.operations[producer].inputs)
            found = activation_from(self.tape, entry, self.readers)
            if found is not None and found.exit == value:
                longest = found
        return longest

    def _parts(self, operation: Operation) -> int:
        """Into how many equal parts the layer's output is split along its units before anything mixes them."""
        whole = value = self.tape.values[operation.outputs[0]]
        while True:
            readers = [self.tape.operations[index] for index in self.readers.get(value.index, ())]
            if len(readers) == 1 and readers[0].name == "glu":
                return 2
            pieces = [reader for reader in readers if reader.name in SPLITS and reader.inputs]
            if pieces and len(pieces) == len(readers):
                return _equal_parts(self.tape, pieces, whole)
            if len(readers) != 1 or readers[0].name not in RESHAPES or not readers[0].outputs:
                return 1
            value = self.tape.values[readers[0].outputs[0]]

    def _depths_and_heads(self) -> tuple[dict[int, int], dict[int, bool]]:
        depths: dict[int, int] = {}
        for node in self.flow.nodes:
            before = max((depths[maker] for maker in self.flow.before[node]), default=0)
            depths[node] = before + bool(self.tape.operations[node].weights)
        leads_to_layer: dict[int, bool] = {}
        for node in reversed(self.flow.nodes):
            leads_to_layer[node] = any(
                leads_to_layer[reader] or bool(self.tape.operations[reader].weights) for reader in self.flow.after[node]
            )
        return depths, {node: not leads for node, leads in leads_to_layer.items()}


def _steps(source: int, joints: Mapping[int, int]) -> Iterator[tuple[int, int]]:
    """Yield each point of a trunk with the next, up to the loss."""
    here, there = source, joints[source]
    while here != there:
        yield here, there
        here, there = there, joints[there]


def _adds_bias(operation: Operation) -> bool:
    return (
        operation.name in SUMS
        and len(operation.inputs) == 1
        and any(use.role == "bias" for use in operation.parameters)
    )


def _readers_of(tape: Tape) -> Mapping[int, tuple[int, ...]]:
    readers: dict[int, list[int]] = {}
    for operation in tape.operations:
        for value in dict.fromkeys(operation.inputs):
            readers.setdefault(value, []).append(operation.index)
    return {value: tuple(operations) for value, operations in readers.items()}


def _modules_that_normalise(tape: Tape) -> frozenset[str]:
    """Modules that divide by a root mean square or a deviation with operations of their own, like Llama's norm."""
    names: dict[str, set[str]] = {}
    mixing: set[str] = set()
    for operation in tape.operations:
        names.setdefault(operation.module, set()).add(operation.name)
        if operation.weights:
            mixing.add(operation.module)
    divides = {module for module, own in names.items() if own & {"rsqrt", "sqrt"} and own & {"mean", "var", "std"}}
    return frozenset(divides - mixing - {""})


def _equal_parts(tape: Tape, pieces: list[Operation], whole: Value) -> int:
    """Return into how many equal parts the pieces split the units of a value, 1 if they do not."""
    parts = [tape.values[out] for piece in pieces for out in piece.outputs]
    count = len(parts)
    units = {part.first_unit % whole.num_units for part in parts}
    sizes = {math.prod(part.shape) for part in parts}
    covers_all = len({part.shape for part in parts}) == 1 and sizes == {math.prod(whole.shape) / count}
    # Pieces that start at the same unit are of other axes: halves of a batch, or tokens.
    return count if count > 1 and covers_all and len(units) == count else 1
