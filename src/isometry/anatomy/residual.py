"""Finds residual sums: where a branch of layers is added to a path that holds fewer, usually none."""

import math
from dataclasses import dataclass

from isometry.anatomy.flow import Flow
from isometry.anatomy.operations import ACTIVATIONS, SUMS, TRANSPARENT
from isometry.anatomy.tape import Tape

PAIR = 2
# What they make is a share or a gate of something else, so what comes before them does not end a branch.
SHARES = frozenset({"softmax", "sigmoid"})


@dataclass(frozen=True, slots=True)
class Branch:
    """A residual branch.

    Attributes:
        fork: The operation at whose output branch and skip part; None where that is the network's input.
        sum: The operation that adds them.
        ends: The last operations with weights on every way along the branch.
        has_layers_on_skip: Whether the skip path holds weights too, such as a projection.
    """

    fork: int | None
    sum: int
    ends: tuple[int, ...]
    has_layers_on_skip: bool


def find_branches(tape: Tape, flow: Flow) -> tuple[Branch, ...]:
    """Return the residual branches of a tape in the order of their sums."""
    finder = _Finder(tape, flow)
    # The last of a chain of sums comes first, because it takes the others in.
    found = (finder.branch_at(node) for node in reversed(flow.nodes) if tape.operations[node].name in SUMS)
    return tuple(reversed([branch for branch in found if branch is not None]))


def unchanged_source(tape: Tape, flow: Flow, node: int) -> int:
    """Return the operation whose result an operation passes on: the node itself unless it reshapes or drops out."""
    while tape.operations[node].name in TRANSPARENT and len(flow.before[node]) == 1:
        source = flow.before[node][0]
        if _size(tape, node) != _size(tape, source):
            break
        node = source
    return node


class _Finder:
    """What the search at one sum shares with that at others; the work grows with the depth, not with its square."""

    def __init__(self, tape: Tape, flow: Flow) -> None:
        self._tape = tape
        self._flow = flow
        last_layer = max((node for node in flow.nodes if tape.operations[node].weights), default=-1)
        # Behind the last layer only x + f(x) is a branch: a sum of two terms of the loss is none.
        self._all_forks = flow.forks()
        self._forks = {node: fork if node < last_layer else None for node, fork in self._all_forks.items()}
        self._outside = _outside_values(tape)
        self._of_size = _outside_by_size(tape)
        self._weights_from: dict[int, dict[int, int]] = {}
        self._taken_in: set[int] = set()

    def branch_at(self, node: int) -> Branch | None:
        """Return the branch that a sum adds to a skip path, if it is one; a chain of sums is one sum, the last."""
        sides = self._flow.before[node]
        if node in self._taken_in or any(self._scales_units(side) for side in sides):
            return None
        if len(sides) == 1 and len(set(self._tape.operations[node].inputs)) == PAIR:
            return self._branch_beside_input(node)
        return (self._parallel_at(node) or self._branch_of_two(node)) if len(sides) >= PAIR else None

    def _branch_of_two(self, node: int) -> Branch | None:
        """Return the branch of x + f(x) or of p(x) + f(x), where the skip path p holds fewer layers."""
        sides = self._flow.before[node]
        skip = self._identity_skip(sides)
        start = self._forks[node] if skip is None else skip
        if start is None:
            return None
        weights = self._weights_on_ways(start, node)
        short, long = sorted(sides[:PAIR], key=lambda side: weights.get(side, 0))
        has_layers_on_skip = weights.get(short, 0) > 0
        if weights.get(short, 0) == weights.get(long, 0) or not (has_layers_on_skip or self._is_like(start, node)):
            return None
        return Branch(start, node, self._last_weights(long, start), has_layers_on_skip)

    def _parallel_at(self, node: int) -> Branch | None:
        """Return the branch of x + f(x) + g(x), in whatever order it is written; None where no third is added."""
        base = min(unchanged_source(self._tape, self._flow, each) for each in self._summands(node, None))
        weights = self._weights_on_ways(base, node)
        summands = self._summands(node, base)
        has_one_fork = all(each in weights for each in summands) and not any(map(self._scales_units, summands))
        is_skip = [unchanged_source(self._tape, self._flow, each) == base for each in summands]
        ends = {end for each in summands if weights.get(each) for end in self._last_weights(each, base)}
        if len(summands) <= PAIR or not (has_one_fork and any(is_skip) and ends and self._is_like(base, node)):
            return None
        self._taken_in.update(self._inner_sums(node, base))
        return Branch(base, node, tuple(sorted(ends)), has_layers_on_skip=False)

    def _summands(self, node: int, base: int | None) -> list[int]:
        """Return what a chain of sums adds up; sums that fork behind the first layer after a base count as wholes."""
        sums = {node, *self._inner_sums(node, base)}
        return [side for each in sums for side in self._flow.before[each] if side not in sums]

    def _inner_sums(self, node: int, base: int | None) -> list[int]:
        """Return the sums of two that nothing reads but the next of a chain."""
        found: list[int] = []
        waiting = list(self._flow.before[node])
        while waiting:
            side = waiting.pop()
            is_inner = self._tape.operations[side].name in SUMS and len(self._flow.after[side]) == 1
            if is_inner and len(self._flow.before[side]) == PAIR and self._forks_at(side, base):
                found.append(side)
                waiting.extend(self._flow.before[side])
        return found

    def _forks_at(self, node: int, base: int | None) -> bool:
        """Say whether there is no layer between a base and the last operation that every way to a sum passes."""
        fork = self._all_forks[node]
        return base is None or fork is None or self._weights_on_ways(base, node).get(fork, 0) == 0

    def _scales_units(self, node: int) -> bool:
        """Say whether an operation scales an activation unit by unit; a state space's D does, and it is no skip."""
        operation = self._tape.operations[node]
        if operation.name != "mul" or len(self._flow.before[node]) != 1:
            return False
        is_vector = any(use.role == "scale" and math.prod(use.shape) > 1 for use in operation.parameters)
        source = self._flow.before[node][0]
        while self._tape.operations[source].name in TRANSPARENT and len(self._flow.before[source]) == 1:
            source = self._flow.before[source][0]
        return is_vector and self._tape.operations[source].name in ACTIVATIONS

    def _is_like(self, start: int, node: int) -> bool:
        """Say whether what enters a skip path can leave it: one step of a sequence is not the whole of it."""
        shapes = [self._tape.values[self._tape.operations[each].outputs[0]].shape for each in (start, node)]
        return len(shapes[0]) == len(shapes[1]) or math.prod(shapes[0]) == math.prod(shapes[1])

    def _identity_skip(self, sides: tuple[int, ...]) -> int | None:
        """Return the operation whose output is one summand, unchanged, and from which the other is computed."""
        for side, other in (sides[:PAIR], sides[:PAIR][::-1]):
            base = unchanged_source(self._tape, self._flow, side)
            if self._flow.leads_to(base, other):
                return base
        return None

    def _branch_beside_input(self, node: int) -> Branch | None:
        """Return the branch of x + f(x) where x is an input, on which no gradient flows."""
        operations, values = self._tape.operations, self._tape.values
        side = self._flow.before[node][0]
        inputs = operations[node].inputs
        skip = next(value for value in inputs if values[value].producer != side)
        branch = next(value for value in inputs if values[value].producer == side)
        given = self._outside[skip] & self._of_size.get(math.prod(values[skip].shape), 0)
        shared = any(given & self._outside[value] for value in operations[side].inputs)
        ends = self._last_weights(side, None) if shared and values[skip].shape == values[branch].shape else ()
        return Branch(None, node, ends, has_layers_on_skip=False) if ends else None

    def _weights_on_ways(self, fork: int, goal: int) -> dict[int, int]:
        """For each operation from a fork to a goal, the most weighted operations on a way from the fork."""
        weights = self._weights_from.setdefault(fork, {fork: 0})
        for node in range(next(reversed(weights)) + 1, goal):
            ways = [weights[maker] for maker in self._flow.before.get(node, ()) if maker in weights]
            if ways:
                weights[node] = max(ways) + bool(self._tape.operations[node].weights)
        return weights

    def _last_weights(self, start: int, fork: int | None) -> tuple[int, ...]:
        """Return the last operations with weights whose numbers reach the sum, not only as shares of others."""
        return self._weights_behind(start, fork, SHARES) or self._weights_behind(start, fork, frozenset())

    def _weights_behind(self, start: int, fork: int | None, barriers: frozenset[str]) -> tuple[int, ...]:
        operations = self._tape.operations

        def is_end(node: int) -> bool:
            return node == fork or bool(operations[node].weights) or operations[node].name in barriers

        ways = self._flow.back_from((start,), until=is_end) - {fork}
        return tuple(sorted(node for node in ways if operations[node].weights))


def _size(tape: Tape, node: int) -> int:
    return math.prod(tape.values[tape.operations[node].outputs[0]].shape)


def _outside_by_size(tape: Tape) -> dict[int, int]:
    """From a number of elements to the values from outside that have it, as the bits of a number."""
    found: dict[int, int] = {}
    for value in tape.values:
        if value.producer is None:
            size = math.prod(value.shape)
            found[size] = found.get(size, 0) | 1 << value.index
    return found


def _outside_values(tape: Tape) -> list[int]:
    """For each value the values from outside that it is computed from, as the bits of a number."""
    found = [0] * len(tape.values)
    for value in tape.values:
        if value.producer is None:
            found[value.index] = 1 << value.index
        else:
            for source in tape.operations[value.producer].inputs:
                found[value.index] |= found[source]
    return found
