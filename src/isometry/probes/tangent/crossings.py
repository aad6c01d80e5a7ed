"""Where weights meet examples: the operations of a pass that read a row an example and what all examples share."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from isometry.anatomy.recorder import ENTERED_ATTENTION, is_transformed
from isometry.anatomy.task import tensors_in


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Crossing:
    """An operation that may be repeated for each example.

    Attributes:
        function: What was called.
        args: Its arguments.
        kwargs: Its arguments with names.
        rows: Those that have rows of examples.
        shared: Those that all examples share and that lead to trained weights.
        output: What it gave, with rows of examples.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    rows: tuple[Tensor, ...]
    shared: tuple[Tensor, ...]
    output: Tensor

    @property
    def is_linear(self) -> bool:
        """Whether it is a linear layer with a real matrix that is trained, and meets one row an example."""
        if self.function is not functional.linear or self.rows[0] is not self.args[0]:
            return False
        weight = self.args[1] if len(self.args) > 1 else self.kwargs["weight"]
        if not self.shared or self.shared[0] is not weight:  # its bias alone is trained
            return False
        if weight.ndim == 1 or weight.is_complex():
            return False
        return self.rows[0].numel() == len(self.rows[0]) * self.rows[0].shape[-1]


class Crossings(TorchFunctionMode):
    """Keeps the crossings of a forward pass of a block of examples while it is entered.

    Attributes:
        found: The crossings, in order.
        strays: What leads to weights and meets examples in a way that cannot be repeated for each.
    """

    def __init__(self, batch: Any, count: int) -> None:
        super().__init__()
        self.found: list[Crossing] = []
        self.strays: list[Tensor] = []
        self._count = count
        self._of_examples = WeakTensorKeyDictionary()
        self._of_weights = WeakTensorKeyDictionary()
        _mark(self._of_examples, (each for each in tensors_in(batch) if each.ndim))

    def __torch_function__(  # noqa: PLR0917 - torch's signature
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if is_transformed():
            return func(*args, **kwargs)
        if func is functional.multi_head_attention_forward:
            with self:
                return ENTERED_ATTENTION(*args, **kwargs)
        is_asked = getattr(func, "__name__", "") == "__get__"
        if is_asked and not isinstance(func(*args), Tensor):  # for a shape or a type, which is often
            return func(*args)
        inputs = list(tensors_in((args, kwargs)))
        rows = tuple(each for each in inputs if each in self._of_examples)
        shared = tuple(each for each in inputs if each.requires_grad and each not in self._of_examples)
        result = func(*args, **kwargs)
        outputs = list(tensors_in(result)) if result is not None else inputs[:1]  # what is set in place gives nothing
        if not outputs or not (rows or shared):
            return result
        self.strays += [each for each in shared if each.grad_fn is not None and each not in self._of_weights]
        # What was made with gradients off and has one: inside of a custom autograd function.
        self.strays += [each for each in rows if each.grad_fn is not None and not self._of_examples[each]]
        crossing = Crossing(function=func, args=args, kwargs=kwargs, rows=rows, shared=shared, output=outputs[0])
        crossing = crossing if rows else _spread(crossing, self._count)
        if crossing is None:
            _mark(self._of_weights, outputs)
            return result
        is_new = result is outputs[0] and not any(result is each for each in inputs)
        if shared and any(each.requires_grad for each in outputs):
            if is_new:
                self.found.append(crossing)
                result = outputs[0] = outputs[0].clone()  # which may be written into
            else:
                self.strays += shared
        _mark(self._of_examples, outputs)
        if not is_new:  # what is written into a part is written into the whole
            _mark(self._of_examples, (each._base for each in outputs if each._base is not None))
        return result


def leaves_of(tensor: Tensor) -> list[Tensor]:
    """Return the tensors without history that a gradient of a tensor reaches."""
    if tensor.grad_fn is None:
        return [tensor]
    found: dict[int, Tensor] = {}
    waiting, seen = [tensor.grad_fn], {tensor.grad_fn}
    while waiting:
        node = waiting.pop()
        leaf = getattr(node, "variable", None)
        if isinstance(leaf, Tensor):
            found[id(leaf)] = leaf
        following = [each for each, _ in node.next_functions if each is not None and each not in seen]
        seen.update(following)
        waiting += following
    return list(found.values())


def _mark(marks: WeakTensorKeyDictionary, tensors: Iterable[Tensor]) -> None:
    for tensor in tensors:
        marks[tensor] = tensor.requires_grad


def _spread(crossing: Crossing, count: int) -> Crossing | None:
    """Return what all examples share as it gets a row an example, such as a token put before each; None if not here.

    The rows are constants, such as kinds of tokens, or zeros to which it is added.
    """
    output, shared = crossing.output, crossing.shared
    if count == 1 or not _has_rows(output, count) or any(_has_rows(each, count) for each in shared):
        return None
    rows = [each for each in tensors_in((crossing.args, crossing.kwargs)) if _has_rows(each, count)]
    if rows:
        return replace(crossing, rows=tuple(rows))
    zeros = output.new_zeros(count, *(1 for _ in output.shape[1:]))
    if [output.shape] != [_broadcast(zeros.shape, each.shape) for each in shared]:
        return None
    return replace(crossing, function=torch.add, args=(zeros, *shared), kwargs={}, rows=(zeros,))


def _broadcast(first: torch.Size, second: torch.Size) -> torch.Size | None:
    try:
        return torch.broadcast_shapes(first, second)
    except RuntimeError:
        return None


def _has_rows(tensor: Tensor, count: int) -> bool:
    return tensor.ndim > 0 and len(tensor) == count
