"""Finds residual sums: where a branch of layers is added to a path that holds fewer, usually none."""

from dataclasses import dataclass

from isometry.anatomy.flow import Flow
from isometry.anatomy.operations import SUMS, TRANSPARENT
from isometry.anatomy.tape import Tape

PAIR = 2


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
    last_layer = max((node for node in flow.nodes if tape.operations[node].weights), default=-1)
    # Behind the last layer only x + f(x) is a branch: a sum of two terms of the loss is none.
    forks = {node: fork if node < last_layer else None for node, fork in flow.forks().items()}
    found = (_branch_at(tape, flow, node, fork=forks[node]) for node in flow.nodes if tape.operations[node].name in SUMS)
    return tuple(branch for branch in found if branch is not None)


def _branch_at(tape: Tape, flow: Flow, node: int, *, fork: int | None) -> Branch | None:
    sides = flow.before[node]
    if len(sides) == 1 and len(set(tape.operations[node].inputs)) == PAIR:
        return _branch_beside_input(tape, flow, node)
    if len(sides) < PAIR:
        return None
    skip = _identity_skip(tape, flow, sides)
    start = fork if skip is None else skip
    if start is None:
        return None
    lengths = _weights_on_ways(tape, flow, fork=start, goal=node)
    short, long = sorted(sides[:PAIR], key=lambda side: lengths.get(side, 0))
    if lengths.get(short, 0) == lengths.get(long, 0):
        return None
    return Branch(start, node, _last_weights(tape, flow, start=long, fork=start), lengths.get(short, 0) > 0)


def _identity_skip(tape: Tape, flow: Flow, sides: tuple[int, ...]) -> int | None:
    """Return the operation whose output is one summand, unchanged, and from which the other is computed."""
    for side, other in (sides[:PAIR], sides[:PAIR][::-1]):
        base = unchanged_source(tape, flow, side)
        if _is_ancestor(flow, base, other):
            return base
    return None


def unchanged_source(tape: Tape, flow: Flow, node: int) -> int:
    """Return the operation whose result an operation passes on: the node itself unless it reshapes or drops out."""
    while tape.operations[node].name in TRANSPARENT and len(flow.before[node]) == 1:
        node = flow.before[node][0]
    return node


def _is_ancestor(flow: Flow, ancestor: int, node: int) -> bool:
    waiting, seen = [node], {node}
    while waiting:
        here = waiting.pop()
        if here == ancestor:
            return True
        earlier = [maker for maker in flow.before[here] if maker >= ancestor and maker not in seen]
        seen.update(earlier)
        waiting.extend(earlier)
    return False


def _branch_beside_input(tape: Tape, flow: Flow, node: int) -> Branch | None:
    """Return the branch of x + f(x) where x is an input, on which no gradient flows."""
    side = flow.before[node][0]
    skip = next(value for value in tape.operations[node].inputs if tape.values[value].producer != side)
    ends = _last_weights(tape, flow, start=side, fork=None)
    if not ends or not _outside_values(tape, (skip,)) & _outside_values(tape, tape.operations[side].inputs):
        return None
    return Branch(None, node, ends, has_layers_on_skip=False)


def _outside_values(tape: Tape, values: tuple[int, ...]) -> set[int]:
    """Return the values from outside that values are computed from."""
    found: set[int] = set()
    seen: set[int] = set()
    waiting = list(values)
    while waiting:
        value = waiting.pop()
        if value in seen:
            continue
        seen.add(value)
        producer = tape.values[value].producer
        if producer is None:
            found.add(value)
        else:
            waiting.extend(tape.operations[producer].inputs)
    return found


def _weights_on_ways(tape: Tape, flow: Flow, *, fork: int, goal: int) -> dict[int, int]:
    """For each operation between fork and goal, the largest number of weighted operations on a way from the fork."""
    lengths = {fork: 0}
    for node in range(fork + 1, goal):
        ways = [lengths[maker] for maker in flow.before.get(node, ()) if maker in lengths]
        if ways:
            lengths[node] = max(ways) + bool(tape.operations[node].weights)
    return lengths


def _last_weights(tape: Tape, flow: Flow, *, start: int, fork: int | None) -> tuple[int, ...]:
    ends: list[int] = []
    waiting, seen = [start], set() if fork is None else {fork}
    while waiting:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        if tape.operations[node].weights:
            ends.append(node)
        else:
            waiting.extend(flow.before[node])
    return tuple(sorted(ends))
