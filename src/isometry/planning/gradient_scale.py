"""Factors that keep the size of the gradient from layer to layer, measured in one backward pass.

A link is a pair of layers of which the second alone reads the first: then the second one's weight scales the gradient
at the first one's output, and nothing else does. Where values fork, as on a residual stream, the gradient is the sum
over several ways, which no single weight scales.

Source:
    The backward condition of Glorot, Bengio 2010, PMLR 9:249-256, eq. 11, on data; the pass goes from the loss
    backwards as that of Mishkin, Matas 2016, arXiv:1511.06422, goes forwards.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from isometry.anatomy.listening import listen
from isometry.anatomy.names import ParameterNames
from isometry.anatomy.reading import Anatomy
from isometry.anatomy.record import record_step
from isometry.anatomy.recorder import Call
from isometry.anatomy.tape import Operation
from isometry.anatomy.task import Task
from isometry.planning.trial import trial
from isometry.probes.statistics import rms, to_floats


@dataclass(frozen=True, slots=True)
class Link:
    """Two layers, of which the second is the only reader of the first.

    Attributes:
        first: Index of the operation of the layer whose output gets the gradient.
        second: Index of the operation of the layer through which it comes.
        weight: Canonical name of the second one's weight.
    """

    first: int
    second: int
    weight: str


def links(anatomy: Anatomy, weights: Collection[str]) -> tuple[Link, ...]:
    """Return the links whose second layer has one of these weights, uses it alone, and is no head.

    A head is left out: its outputs are few, and a head that kept the size of the gradient would make them large.
    """
    uses = Counter(name for layer in anatomy.layers for name in layer.weight)
    found: list[Link] = []
    for layer in anatomy.layers:
        (name, *others) = layer.weight
        if name in weights and not others and uses[name] == 1 and not layer.is_head:
            first = _only_source(anatomy, layer.operation)
            if first is not None:
                found.append(Link(first, layer.operation, name))
    return tuple(found)


def gradient_factors(
    task: Task, anatomy: Anatomy, weights: Mapping[str, Tensor], *, names: ParameterNames, seed: int = 0
) -> dict[str, float]:
    """Run one step, in which each gradient is scaled on its way back, and return by what.

    factor of W_{l+1} = rms(gradient at layer t) / rms(gradient at layer l), with t the last layer of l's chain of links

    Each gradient is measured as it is after the factors of all later layers, so that the products hold: with these
    factors on the weights, and activations with the slopes of this pass, all gradients of a chain have one size.

    Args:
        task: The task.
        anatomy: Its anatomy, from a recording with the same batch.
        weights: Trial values of the weights, and of biases, by canonical name; they are not changed.
        names: The names in the task's model.
        seed: Seed of dropout.

    Returns:
        Canonical name of the weight of each link to its factor, dimensionless; a link without gradient is left out.

    Raises:
        ModelError: If the model fails on its batch.
    """
    scaler = _GradientScaler(links(anatomy, weights.keys()))
    with trial(task.model, names, weights):
        record_step(task, [scaler], seed=seed)
    measured = list(scaler.factors)
    values = to_floats([scaler.factors[name] for name in measured])
    return {name: value for name, value in zip(measured, values, strict=True) if value > 0}


class _GradientScaler:
    """Observes the layers of links; hooks on their outputs scale the gradients as they come by."""

    def __init__(self, found: tuple[Link, ...]) -> None:
        self.factors: dict[str, Tensor] = {}
        self._link_from = {link.first: link for link in found}
        self._seconds = {link.second for link in found}
        self._last = {link.first: self._end_of_chain(link.first) for link in found}
        self._sizes: dict[int, Tensor] = {}

    def __call__(self, operation: Operation, call: Call) -> None:
        output, index = call.outputs[0], operation.index
        if not operation.weights or not output.requires_grad:
            return
        link = self._link_from.get(index)

        def see(gradient: Tensor) -> Tensor | None:
            if link is not None:
                return self._scale(gradient, link)
            self._sizes[index] = rms(gradient)
            return None

        if link is not None or index in self._seconds:
            listen(output, see)

    def _end_of_chain(self, index: int) -> int:
        while index in self._link_from:
            index = self._link_from[index].second
        return index

    def _scale(self, gradient: Tensor, link: Link) -> Tensor:
        wanted = self._sizes.get(self._last[link.first])
        if wanted is None:
            return gradient
        factor = wanted / rms(gradient)
        is_sound = factor.isfinite() & (factor > 0)
        self.factors[link.weight] = torch.where(is_sound, factor, 0.0)
        return gradient * torch.where(is_sound, factor, 1.0).to(gradient.dtype)


def _only_source(anatomy: Anatomy, second: int) -> int | None:
    """Return the layer from which all that another one reads comes, if nothing else reads any of it."""
    flow, tape = anatomy.flow, anatomy.tape
    between, sources = {second}, set[int]()
    waiting = list(flow.before.get(second, ()))
    while waiting:
        node = waiting.pop()
        if tape.operations[node].weights:
            sources.add(node)
        elif node not in between:
            between.add(node)
            waiting.extend(flow.before[node])
    is_own = all(set(flow.after[node]) <= between for node in (between | sources) - {second})
    return sources.pop() if len(sources) == 1 and is_own else None
