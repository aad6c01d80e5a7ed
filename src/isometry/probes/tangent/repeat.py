"""One operation repeated with a copy of its weights for each example, whose gradients are the examples' own."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import torch
from torch import Tensor
from torch.func import vmap
from torch.nn import functional

from isometry.anatomy.task import map_tensors
from isometry.probes.tangent.crossings import Crossing, leaves_of


class Order(Enum):
    """How an operation's rows are those of examples.

    Attributes:
        EXAMPLES_FIRST: A row or several of the first example, then those of the next.
        EXAMPLES_LAST: A row of each example, then the next of each, as of words by their positions.
        SECOND_AXIS: The same, and the examples have an axis of their own.
    """

    EXAMPLES_FIRST = auto()
    EXAMPLES_LAST = auto()
    SECOND_AXIS = auto()

    def split(self, tensor: Tensor, count: int) -> Tensor:
        """Return a view with an example a row, each as it would be alone.

        Args:
            tensor: With rows in this order; one whose shape does not allow that raises what torch raises.
            count: Examples.
        """
        match self:
            case Order.EXAMPLES_FIRST:
                return tensor.unflatten(0, (count, -1))
            case Order.EXAMPLES_LAST:
                return tensor.unflatten(0, (-1, count)).movedim(1, 0)
            case Order.SECOND_AXIS:
                return tensor.movedim(1, 0).unflatten(0, (count, 1)).movedim(1, 2)


@dataclass(frozen=True, slots=True, eq=False)
class Repeated:
    """An operation with a copy of its weights for each example.

    Attributes:
        shared: What all examples share: weights, or what is computed from weights alone.
        copies: Those, (examples, …).
        output: What the operation gives with them, (examples, …).
    """

    shared: tuple[Tensor, ...]
    copies: tuple[Tensor, ...]
    output: Tensor

    def add_gradients(self, slopes: Tensor, places: Mapping[int, Tensor]) -> None:
        """Add each example's gradients over the weights.

        Args:
            slopes: Gradients at the output, (examples, …).
            places: The identity of each weight to where its gradients are added, (examples, numbers).
        """
        slopes = slopes.to(self.output.dtype)
        gradients = torch.autograd.grad(self.output, self.copies, slopes, retain_graph=True, materialize_grads=True)
        for shared, gradient in zip(self.shared, gradients, strict=True):
            for leaf, own in _pulled(shared, gradient):
                if id(leaf) in places:
                    places[id(leaf)].add_(own.flatten(1))


def repeated(crossing: Crossing, order: Order, count: int, *, dtype: torch.dtype) -> Repeated:
    """Repeat a crossing with a copy of what it shares for each example.

    Args:
        crossing: The operation.
        order: Of its rows.
        count: Examples.
        dtype: In which it is repeated.

    Returns:
        The operation with its copies.
    """
    copies = tuple(_cast(each, dtype).expand(count, *each.shape).requires_grad_() for each in crossing.shared)
    rows = tuple(order.split(_cast(each, dtype), count) for each in crossing.rows)
    function = REPEATED_AS.get(crossing.function, crossing.function)

    def single(*own: Tensor) -> Tensor:
        return _called(function, crossing, own, dtype=dtype)

    return Repeated(crossing.shared, copies, vmap(single)(*copies, *rows))


def is_repetition(own: Repeated, crossing: Crossing, order: Order, *, rounding: float) -> bool:
    """Say whether a repeated operation gives what it gave for the block, and like gradients of random slopes there.

    Args:
        own: The operation with its copies.
        crossing: The operation.
        order: Of its rows.
        rounding: By how much numbers may differ, as a share of the largest.

    Returns:
        Whether it is the same.
    """
    count, dtype = len(own.output), own.output.dtype
    leaves = [_cast(each, dtype).requires_grad_() for each in own.shared]
    rows = [_cast(each, dtype) for each in crossing.rows]
    whole = _called(crossing.function, crossing, (*leaves, *rows), dtype=dtype)
    given = order.split(_cast(crossing.output, dtype), count)
    if own.output.shape != given.shape or not are_close(own.output.detach(), given, rounding=rounding):
        return False
    slopes = torch.randn(whole.shape, generator=torch.Generator().manual_seed(0)).to(whole)
    expected = torch.autograd.grad(whole, leaves, slopes)
    found = torch.autograd.grad(own.output, own.copies, order.split(slopes, count), retain_graph=True)
    return all(
        are_close(each.sum(0), _dense(all_of_it), rounding=rounding)
        for each, all_of_it in zip(found, expected, strict=True)
    )


def are_close(first: Tensor, second: Tensor, *, rounding: float) -> bool:
    """Say whether numbers are the same but for a share of the largest.

    Args:
        first: Some numbers.
        second: Others.
        rounding: The share.

    Returns:
        Whether they are.
    """
    return bool((first - second).abs().le(rounding * second.abs().max()).all())


def _called(function: Callable[..., Any], crossing: Crossing, own: Sequence[Tensor], *, dtype: torch.dtype) -> Tensor:
    """Call a function with a crossing's arguments, others in place of what is shared and of the rows."""
    known = dict(zip(map(id, (*crossing.shared, *crossing.rows)), own, strict=True))
    args, kwargs = map_tensors(
        (crossing.args, dict(crossing.kwargs)),
        lambda tensor: known[id(tensor)] if id(tensor) in known else _cast(tensor, dtype),
    )
    return function(*args, **kwargs)


def _pulled(shared: Tensor, gradient: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Return gradients at what was computed from weights as those over the weights."""
    leaves = leaves_of(shared)
    if shared.grad_fn is None:
        return [(shared, gradient)]
    found = torch.autograd.grad(
        shared, leaves, gradient.to(shared.dtype), retain_graph=True, is_grads_batched=True, materialize_grads=True
    )
    return list(zip(leaves, found, strict=True))


def _cast(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    tensor = tensor.detach()
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def _dense(gradient: Tensor) -> Tensor:
    return gradient.to_dense() if gradient.layout != torch.strided else gradient  # of sparse embeddings


def _embedding(input: Tensor, weight: Tensor, padding_idx: int | None = None, *_: Any, **__: Any) -> Tensor:  # noqa: A002 - torch's name
    """Look words up in a way that keeps which of them is trained not at all when there is a table an example."""
    found = weight[input]
    if padding_idx is None:
        return found
    return torch.where((input == padding_idx % len(weight))[..., None], found.detach(), found)


REPEATED_AS: dict[Callable[..., Any], Callable[..., Tensor]] = {functional.embedding: _embedding}
