"""The first node of a backward pass that makes a NaN or an infinity of finite gradients."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor
from torch.autograd.function import BackwardCFunction
from torch.utils.weak import WeakTensorKeyDictionary

from isometry.anatomy.recorder import Call
from isometry.anatomy.tape import Operation
from isometry.probes.operands import count_bad

OUT_OF_SIGHT = -1  # stands for the index of an operation that was not recorded
LEAF = "AccumulateGrad"  # of autograd's nodes; where a gradient reaches a parameter


@dataclass(frozen=True, slots=True)
class Breakage:
    """One node of the backward pass that made numbers that are not finite.

    Attributes:
        operation: Index of the operation whose derivative it is; OUT_OF_SIGHT if none was recorded for it.
        node: The function that it is the derivative of, such as `sqrt`, or the class of a user's own.
        count: Numbers that are not finite there, counts.
        is_custom: Whether it is the backward function of a user's own `autograd.Function`.
        leaves: What it was computed from, if no operation was recorded for it.
    """

    operation: int
    node: str
    count: int
    is_custom: bool
    leaves: "Leaves | None" = None


@dataclass(frozen=True, slots=True)
class Leaves:
    """The parameters, and other leaves of the graph, that lie behind a node.

    Attributes:
        all: Every one of them.
        read: Those that the node itself reads, as they are.
    """

    all: tuple[Tensor, ...]
    read: tuple[Tensor, ...]


@dataclass(slots=True)
class _Node:
    handle: Any
    operation: int
    made: int = 0
    bad_ways: set[int] = field(default_factory=set[int])


@dataclass(slots=True)
class BackwardWatch:
    """Observes every node of the backward pass: the graph behind each operation belongs to that operation.

    A hook on a tensor sees the sum of what all of its readers send back; only the nodes themselves tell which of them
    made a NaN, also inside functions of several steps and in a user's own.
    """

    _numbers: dict[Any, int] = field(default_factory=dict[Any, int])
    _nodes: list[_Node] = field(default_factory=list[_Node])
    _makers: list[int] = field(default_factory=list[int])  # nodes that broke, in the order of time
    _broken_before: dict[int, int] = field(default_factory=dict[int, int])  # how many, by the operation that came then
    _operations: WeakTensorKeyDictionary = field(default_factory=WeakTensorKeyDictionary)  # which made a tensor

    def __call__(self, operation: Operation, call: Call) -> None:
        """Claim the new part of the graph behind an operation's outputs."""
        self._broken_before[operation.index] = len(self._makers)
        written = {id(tensor) for tensor in call.outputs}
        for tensor in call.inputs:
            if id(tensor) not in written:
                self._claim(tensor, self._operations.get(tensor))
        for tensor in call.outputs:
            self._claim(tensor, operation.index)
            self._operations[tensor] = operation.index

    def breakages(self) -> list[Breakage]:
        """Return what broke, first what a parameter's gradient came to harm by, each kind in the order of time."""
        found = [(self._reaches_parameter(number), number) for number in self._makers]
        found.sort(key=lambda pair: not pair[0])  # stable
        return [self._breakage(number) for _, number in found]

    def breakage_before(self, operation: int) -> Breakage | None:
        """Return what broke first before an operation ran, in a backward pass that the step itself made."""
        return self._breakage(self._makers[0]) if self._broken_before.get(operation) else None

    def clear(self) -> None:
        """Let the graph go; hooks and what they are set on hold each other."""
        self._numbers.clear()
        self._nodes.clear()

    def _breakage(self, number: int) -> Breakage:
        node = self._nodes[number]
        leaves = leaves_behind(node.handle) if node.operation == OUT_OF_SIGHT else None
        return Breakage(node.operation, name_of(node.handle), node.made, is_custom(node.handle), leaves)

    def _claim(self, tensor: Tensor, operation: int | None) -> None:
        waiting: list[Any] = [tensor.grad_fn]
        while waiting:
            handle = waiting.pop()
            if handle is None or handle in self._numbers:
                continue
            number = self._numbers[handle] = len(self._nodes)
            self._nodes.append(_Node(handle, OUT_OF_SIGHT if operation is None else operation))
            if LEAF not in handle.name():
                handle.register_hook(self._listener(number))
                waiting.extend(following for following, _ in handle.next_functions)

    def _listener(self, number: int) -> Callable[[Any, Any], None]:
        def listen(inward: Any, outward: Any) -> None:
            if number >= len(self._nodes):
                return  # a later backward pass through the same graph
            bad = {way: count for way, gradient in enumerate(inward) if (count := count_bad(gradient))}
            node = self._nodes[number]
            node.bad_ways |= set(bad)
            if bad and not any(count_bad(gradient) for gradient in outward):
                node.made = max(bad.values())
                self._makers.append(number)

        return listen

    def _reaches_parameter(self, number: int) -> bool:
        waiting, seen = [number], {number}
        while waiting:
            node = self._nodes[waiting.pop()]
            if LEAF in node.handle.name():
                return True
            ways = node.handle.next_functions
            following = (ways[way][0] for way in node.bad_ways if way < len(ways) and ways[way][0] is not None)
            new = {self._numbers[handle] for handle in following if handle in self._numbers} - seen
            seen |= new
            waiting.extend(new)
        return False


def name_of(handle: Any) -> str:
    """Return the function that a node is the derivative of: `sqrt` for `SqrtBackward0`, a user's own by its class."""
    name = str(handle.name()).rpartition("Backward")[0]
    return name if is_custom(handle) else re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def is_custom(handle: Any) -> bool:
    """Say whether a node is the backward function of a user's own `autograd.Function`."""
    return isinstance(handle, BackwardCFunction)


def nodes_behind(handle: Any) -> list[Any]:
    """Return a node and all that lie behind it, away from the loss."""
    found: list[Any] = []
    waiting, seen = [handle], set[Any]()
    while waiting:
        each = waiting.pop()
        if each is not None and each not in seen:
            seen.add(each)
            found.append(each)
            waiting.extend(following for following, _ in each.next_functions)
    return found


def leaves_behind(handle: Any) -> Leaves:
    """Return the parameters, and other leaves of the graph, that lie behind a node."""
    following = [each for each, _ in handle.next_functions]
    return Leaves(
        tuple(each.variable for each in nodes_behind(handle) if LEAF in each.name()),
        tuple(each.variable for each in following if each is not None and LEAF in each.name()),
    )
