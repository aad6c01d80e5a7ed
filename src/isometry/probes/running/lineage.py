"""Which operation a tensor comes from, read from the backward graph of one forward pass."""

from collections import deque
from collections.abc import Iterable
from typing import Any, Generic, TypeVar

from torch import Tensor

Maker = TypeVar("Maker")
MAX_NODES = 24  # that are asked for what lies behind one tensor: reshapes, norms, sums
MAX_VIEWS = 6  # in a row without a fork


class Lineage(Generic[Maker]):
    """From nodes of the backward graph to who made them; holds the nodes until `clear`."""

    def __init__(self) -> None:
        self._makers: dict[Any, Maker] = {}

    def note(self, tensor: Tensor, maker: Maker) -> None:
        """Remember who made a tensor, if a gradient flows there."""
        if tensor.grad_fn is not None:
            self._makers[tensor.grad_fn] = maker

    def behind(self, tensor: Tensor) -> list[Maker]:
        """Return who is met first on the ways back from a tensor, nearest first; its own maker is none of them."""
        return [] if tensor.grad_fn is None else self._met(_before(tensor.grad_fn))

    def at(self, tensor: Tensor) -> list[Maker]:
        """Return who is met first on the ways back from a tensor, its own maker included."""
        return [] if tensor.grad_fn is None else self._met([tensor.grad_fn])

    def source(self, tensor: Tensor) -> Maker | None:
        """Return who made a tensor or what it is a view of; None if that is not clear."""
        node: Any = tensor.grad_fn
        for _ in range(MAX_VIEWS):
            if node in self._makers:
                return self._makers[node]
            before = () if node is None else _before(node)
            if len(before) != 1:
                return None
            node = before[0]
        return None

    def clear(self) -> None:
        """Let the backward graph go."""
        self._makers.clear()

    def _met(self, nodes: Iterable[Any]) -> list[Maker]:
        waiting, asked, met = deque(nodes), set[Any](), list[Maker]()
        while waiting and len(asked) < MAX_NODES:
            node = waiting.popleft()
            if node in asked:
                continue
            asked.add(node)
            if node in self._makers:
                met.append(self._makers[node])
            else:
                waiting.extend(_before(node))
        return met


def _before(node: Any) -> list[Any]:
    return [each for each, _ in node.next_functions if each is not None]
