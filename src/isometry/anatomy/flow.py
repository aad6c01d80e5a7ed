"""The graph of a tape: which operations the gradient passes on its way from the loss, and where all ways meet."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from isometry.anatomy.tape import Tape


@dataclass(frozen=True, slots=True)
class Flow:
    """The operations that carry a gradient to the loss, as a graph from inputs to the loss.

    Attributes:
        nodes: Their indices in the order of execution, which is a topological order.
        before: For each of them, the operations whose outputs it reads.
        after: For each of them, the operations that read its outputs.
        loss: The operation that made the loss.
    """

    nodes: tuple[int, ...]
    before: dict[int, tuple[int, ...]]
    after: dict[int, tuple[int, ...]]
    loss: int

    @property
    def sources(self) -> tuple[int, ...]:
        """Operations where gradients end: nothing before them carries one."""
        return tuple(node for node in self.nodes if not self.before[node])

    def back_from(self, nodes: Iterable[int], *, until: Callable[[int], bool] | None = None) -> set[int]:
        """Return operations and all whose results lead to them.

        Args:
            nodes: Where the way back starts; those that do not reach the loss lead nowhere.
            until: Says of an operation that the way back ends there; it is among the result itself.
        """
        found: set[int] = set()
        waiting = list(nodes)
        while waiting:
            node = waiting.pop()
            if node not in found:
                found.add(node)
                if until is None or not until(node):
                    waiting.extend(self.before.get(node, ()))
        return found

    def between(self, here: int, there: int) -> set[int]:
        """Return the operations after one up to and with another that lead to it."""
        return {node for node in self.back_from((there,), until=lambda node: node <= here) if node > here}

    def leads_to(self, ancestor: int, node: int) -> bool:
        """Say whether an operation is another, or lies on a way to it."""
        return ancestor in self.back_from((node,), until=lambda each: each <= ancestor)

    def joints(self) -> dict[int, int]:
        """For each operation the next one that every way from it to the loss passes; the loss is its own."""
        return meeting_points(tuple(reversed(self.nodes)), self.after, self.loss)

    def trunk(self) -> set[int]:
        """Return the operations that every way from some source to the loss passes."""
        joints, found = self.joints(), set[int]()
        for source in self.sources:
            node = source
            while node not in found:
                found.add(node)
                node = joints[node]
        return found

    def forks(self) -> dict[int, int | None]:
        """For each operation the last one before it that every way to it passes; None if there is none."""
        root = -1
        before = {node: self.before[node] or (root,) for node in self.nodes}
        meets = meeting_points(self.nodes, before, root)
        return {node: None if meets[node] == root else meets[node] for node in self.nodes}


def gradient_flow(tape: Tape) -> Flow:
    """Return the graph of the operations that reach the loss through values that carry a gradient."""
    return _flow(tape, {value.index for value in tape.values if value.has_gradient})


def data_flow(tape: Tape) -> Flow:
    """Return the graph of all operations that the loss depends on, also where no gradient passes."""
    return _flow(tape, {value.index for value in tape.values})


def _flow(tape: Tape, carrying: set[int]) -> Flow:
    producer = {value.index: value.producer for value in tape.values}
    loss = producer[tape.loss]
    before: dict[int, tuple[int, ...]] = {}
    needed = set() if loss is None else {loss}
    for operation in reversed(tape.operations):
        if operation.index not in needed:
            continue
        makers = (producer[value] for value in operation.inputs if value in carrying)
        before[operation.index] = tuple(dict.fromkeys(maker for maker in makers if maker is not None))
        needed.update(before[operation.index])
    nodes = tuple(sorted(before))
    after: dict[int, list[int]] = {node: [] for node in nodes}
    for node in nodes:
        for maker in before[node]:
            after[maker].append(node)
    return Flow(nodes, before, {node: tuple(readers) for node, readers in after.items()}, -1 if loss is None else loss)


def meeting_points(nodes: Sequence[int], toward: dict[int, tuple[int, ...]], goal: int) -> dict[int, int]:
    """Return for each node the first one that all its ways toward the goal meet at.

    These are immediate dominators. `nodes` come in an order in which the nodes that lie toward the goal come first;
    in a graph without cycles one pass is enough.

    Source:
        Cooper, Harvey, Kennedy 2001, A Simple, Fast Dominance Algorithm, figure 3.
    """
    meets: dict[int, int] = {goal: goal}
    depth: dict[int, int] = {goal: 0}
    for node in nodes:
        if node == goal:
            continue
        ways = [step for step in toward[node] if step in depth]
        if not ways:
            continue
        point = ways[0]
        for other in ways[1:]:
            point = _meet((point, other), meets, depth)
        meets[node] = point
        depth[node] = depth[point] + 1
    return meets


def _meet(pair: tuple[int, int], meets: dict[int, int], depth: dict[int, int]) -> int:
    first, second = pair
    while first != second:
        if depth[first] < depth[second]:
            first, second = second, first
        first = meets[first]
    return first
