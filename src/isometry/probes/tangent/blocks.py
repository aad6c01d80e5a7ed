"""The gradients of a block of examples by one pass of it forward, and one back for each output.

The backward pass of an output gives its slopes at all operations that use weights, and each of these then gives the
examples' own gradients by itself. Whether the slopes are their own is proved for every block by weights w of the
examples and v of the outputs: the gradient of Σ_ic w_i v_c f_c(x_i) is w_i Σ_c v_c g_ic at example i, with slopes g.
"""

import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from isometry.probes.tangent.crossings import Crossing, leaves_of
from isometry.probes.tangent.parts import Factors, Part, Rows
from isometry.probes.tangent.repeat import Order, Repeated, are_close, is_repetition, repeated
from isometry.probes.tangent.sight import ROUNDING_ROOTS, Seen, kernel_dtype, passed

# What torch raises where rows cannot be split into examples, or an operation not be repeated for each.
UNREPEATABLE = (RuntimeError, ValueError, IndexError, TypeError)


class MixedRowsError(Exception):
    """Some weights meet rows that are not those of the examples, so their gradients are taken one by one.

    Attributes:
        weights: The identities of the weights.
    """

    def __init__(self, weights: Iterable[int]) -> None:
        self.weights = frozenset(weights)
        super().__init__(f"{len(self.weights)} weights meet rows that are not those of the examples")


def block_parts(
    model: nn.Module, inputs: Any, *, linear: Sequence[tuple[Tensor, ...]], others: Sequence[Tensor], outputs: slice
) -> list[Part]:
    """Return what the gradients of some weights are made of, by one pass of a whole block.

    Args:
        model: The module.
        inputs: The block, in any form that the module is called with.
        linear: The weights of each layer to be taken by factors.
        others: The weights whose gradients are taken as they are.
        outputs: Which of the outputs.

    Returns:
        A part a layer, in their order, and one of the others.

    Raises:
        MixedRowsError: If the gradients of some of the weights cannot be taken in this way.
    """
    with passed(model, inputs) as seen:
        warnings.filterwarnings("ignore", "There is a performance drop")  # of vmap; until the pass is over
        chosen = seen.outputs[:, outputs]
        layers = [_Layer.of(crossing, chosen) for crossing in _layers(seen, linear)]
        gradients, places = _places(others, chosen)
        _refuse(unseen(seen) & places.keys())
        others_met = [crossing for crossing in seen.crossings.found if _leaves(crossing) & places.keys()]
        orders = _orders(chosen, [*(layer.crossing for layer in layers), *others_met])
        mixed = [
            layer.crossing for layer, order in zip(layers, orders, strict=False) if order is not Order.EXAMPLES_FIRST
        ]
        _refuse(leaf for crossing in mixed for leaf in _leaves(crossing))
        operations = _operations(others_met, orders[len(layers) :], places)
        met = [*(layer.crossing.output for layer in layers), *(each.output for each in others_met)]
        for number, column in enumerate(chosen.sum(0) if met else ()):  # weights that nothing meets have no gradients
            slopes = torch.autograd.grad(column, met, retain_graph=True, materialize_grads=True)
            for taker, found in zip((*layers, *operations), slopes, strict=True):
                taker.take(number, found)
        return [*(layer.factors for layer in layers), *([Rows(gradients)] if others else [])]


def plain_layers(seen: Seen) -> list[Crossing]:
    """Return the linear layers that meet one row an example, whose weights are whole and used nowhere else.

    Args:
        seen: What a pass left.
    """
    uses = Counter(leaf for crossing in seen.crossings.found for leaf in _leaves(crossing))
    uses.update(id(leaf) for stray in seen.crossings.strays for leaf in leaves_of(stray))
    return [
        crossing
        for crossing in seen.crossings.found
        if crossing.is_linear
        and len(crossing.output) == len(seen.outputs)
        and all(shared.grad_fn is None and uses[id(shared)] == 1 for shared in crossing.shared)
    ]


def unseen(seen: Seen) -> set[int]:
    """Return the identities of weights that reach the outputs in other ways than by the operations that were found.

    Args:
        seen: What a pass left.
    """
    strays = {id(leaf) for stray in seen.crossings.strays for leaf in leaves_of(stray)}
    found = {leaf for crossing in seen.crossings.found for leaf in _leaves(crossing)}
    return strays | ({id(leaf) for leaf in leaves_of(seen.outputs)} - found)


@dataclass(frozen=True, slots=True, eq=False)
class _Layer:
    """A linear layer that meets one row an example; its slopes are kept as they are."""

    crossing: Crossing
    slopes: Tensor

    @classmethod
    def of(cls, crossing: Crossing, chosen: Tensor) -> "_Layer":
        width = crossing.output.shape[-1]
        return cls(crossing, torch.empty(*chosen.shape, width, dtype=kernel_dtype(chosen), device=chosen.device))

    def take(self, number: int, slopes: Tensor) -> None:
        self.slopes[:, number] = slopes.reshape(len(slopes), -1)

    @property
    def factors(self) -> Factors:
        inputs = self.crossing.rows[0].detach().to(self.slopes.dtype).reshape(len(self.slopes), -1)
        if len(self.crossing.shared) > 1:  # its bias
            inputs = torch.cat((inputs, inputs.new_ones(len(inputs), 1)), 1)
        return Factors(inputs, self.slopes)


@dataclass(frozen=True, slots=True, eq=False)
class _Operation:
    """Any other operation; its gradients are added to those of its weights, (examples, outputs, numbers) each."""

    crossing: Crossing
    order: Order
    repeated: Repeated
    places: Mapping[int, Tensor]

    def take(self, number: int, slopes: Tensor) -> None:
        places = {key: place[:, number] for key, place in self.places.items()}
        try:
            self.repeated.add_gradients(self.order.split(slopes, len(self.repeated.output)), places)
        except UNREPEATABLE as error:
            raise MixedRowsError(_leaves(self.crossing)) from error


def _layers(seen: Seen, wanted: Sequence[tuple[Tensor, ...]]) -> list[Crossing]:
    """Return the linear layers of some weights.

    Raises:
        MixedRowsError: If this block meets some of them in another way.
    """
    plain = {frozenset(map(id, layer.shared)): layer for layer in plain_layers(seen)}
    keys = [frozenset(map(id, weights)) for weights in wanted]
    _refuse(weight for key in keys if key not in plain for weight in key)
    return [plain[key] for key in keys]


def _places(weights: Sequence[Tensor], chosen: Tensor) -> tuple[Tensor, dict[int, Tensor]]:
    """Return room for gradients, (examples, outputs, numbers), and the identity of each weight to its part of it."""
    sizes = [weight.numel() for weight in weights]
    gradients = torch.zeros(*chosen.shape, sum(sizes), dtype=kernel_dtype(chosen), device=chosen.device)
    return gradients, dict(zip(map(id, weights), gradients.split(sizes, dim=2) if sizes else (), strict=True))


def _leaves(crossing: Crossing) -> set[int]:
    return {id(leaf) for shared in crossing.shared for leaf in leaves_of(shared)}


def _refuse(weights: Iterable[int]) -> None:
    mixed = frozenset(weights)
    if mixed:
        raise MixedRowsError(mixed)


def _orders(chosen: Tensor, crossings: Sequence[Crossing]) -> list[Order]:
    """Return in which order the rows of some operations are those of the examples, which two backward passes prove."""
    if not crossings:
        return []
    generator = torch.Generator().manual_seed(0)
    weights, shares = (torch.randn(length, generator=generator).to(chosen) for length in chosen.shape)
    met = [crossing.output for crossing in crossings]
    like, own = (
        torch.autograd.grad(each @ chosen @ shares, met, retain_graph=True, materialize_grads=True)
        for each in (torch.ones_like(weights), weights)
    )
    rounding = _rounding([chosen, *met])
    found = [_order(*each, weights=weights, rounding=rounding) for each in zip(like, own, strict=True)]
    _refuse(
        leaf for crossing, order in zip(crossings, found, strict=True) if order is None for leaf in _leaves(crossing)
    )
    return [order for order in found if order is not None]


def _order(like: Tensor, own: Tensor, *, weights: Tensor, rounding: float) -> Order | None:
    """Return the order in which slopes were multiplied with the weights of the examples."""
    for order in Order:
        try:
            first, second = (order.split(each, len(weights)).flatten(1) for each in (like, own))
        except UNREPEATABLE:
            continue
        if are_close(first * weights[:, None], second, rounding=rounding):
            return order
    return None


def _operations(
    crossings: Sequence[Crossing], orders: Sequence[Order], places: Mapping[int, Tensor]
) -> list[_Operation]:
    """Repeat operations for each example; those that cannot be are refused."""
    found = [_operation(crossing, order, places) for crossing, order in zip(crossings, orders, strict=True)]
    _refuse(leaf for crossing, each in zip(crossings, found, strict=True) if each is None for leaf in _leaves(crossing))
    return [each for each in found if each is not None]


def _operation(crossing: Crossing, order: Order, places: Mapping[int, Tensor]) -> _Operation | None:
    wanted = {id(each): each for each in crossing.shared if any(id(leaf) in places for leaf in leaves_of(each))}
    crossing = replace(crossing, shared=tuple(wanted.values()))
    room = next(iter(places.values()))
    try:
        own = repeated(crossing, order, len(room), dtype=room.dtype)
        is_same = is_repetition(own, crossing, order, rounding=_rounding([crossing.output]))
    except UNREPEATABLE:
        return None
    return _Operation(crossing, order, own, places) if is_same else None


def _rounding(tensors: Iterable[Tensor]) -> float:
    """Return by how much numbers may differ that are computed in two ways, as a share of the largest."""
    return ROUNDING_ROOTS * max(torch.finfo(each.dtype).eps for each in tensors) ** 0.5
