"""One forward pass of a block of examples that keeps what its linear layers read and gave."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from isometry._errors import ModelError
from isometry.anatomy.record import recorded
from isometry.anatomy.recorder import Call
from isometry.anatomy.tape import Operation
from isometry.anatomy.task import Task, call_model, tensors_in
from isometry.probes.tangent.parts import Part, Rows, part_of_linear

LINEAR = "linear"


@dataclass(slots=True)
class Seen:
    """What an observer kept of a forward pass.

    Attributes:
        uses: Canonical name of each parameter to the operations that used it.
        linear: Index of each linear operation to its input and output.
    """

    uses: dict[str, list[Operation]] = field(default_factory=dict[str, list[Operation]])
    linear: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict[int, tuple[Tensor, Tensor]])

    def __call__(self, operation: Operation, call: Call) -> Tensor | None:
        """Keep the tensors of a linear layer, and hand on a copy of its output that may be written into."""
        for use in operation.parameters:
            for name in use.names:
                self.uses.setdefault(name, []).append(operation)
        if operation.name != LINEAR or not call.outputs[0].requires_grad:
            return None
        self.linear[operation.index] = (call.inputs[0].detach(), call.outputs[0])
        return call.outputs[0].clone()


def outputs_of(result: Any, count: int) -> Tensor:
    """Return a model's first floating tensor with a row an example, (examples, outputs).

    Raises:
        ModelError: If there is none.
    """
    for tensor in tensors_in(result):
        if tensor.is_floating_point() and tensor.ndim and len(tensor) == count:
            return tensor.reshape(count, -1)
    raise ModelError(
        f"the model returned {type(result).__name__} without a floating tensor of {count} rows, one an example, and a "
        "kernel is one between examples. Wrap the model so that it returns one."
    )


def slopes_at(outputs: Tensor, tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return the gradients of each output at some tensors, (examples, outputs, …) each.

    Args:
        outputs: (examples, outputs), each example's computed from its own rows alone.
        tensors: With a row an example.

    Returns:
        A tensor for each.
    """
    found = [
        torch.autograd.grad(column, tensors, retain_graph=True, materialize_grads=True) for column in outputs.sum(0)
    ]
    return [torch.stack(each, 1) for each in zip(*found, strict=True)]


def parts_of(model: nn.Module, inputs: Any, count: int, *, trainable: Mapping[str, nn.Parameter]) -> list[Part]:
    """Return all that the gradients of a block of examples are made of.

    Args:
        model: The module, in eval mode or without anything that ties examples to one another.
        inputs: The block, in any form that the module is called with.
        count: Examples in it.
        trainable: Canonical name to parameter, those whose gradients count.

    Returns:
        The parts, in an order that is the same for every block.

    Raises:
        ModelError: If the model fails, or returns no row an example.
    """
    seen, kept = Seen(), []

    def step(module: nn.Module, batch: Any) -> Tensor:
        kept.append(outputs_of(call_model(module, batch), count))
        return kept[0].sum()

    with recorded(Task(model=model, batch=inputs, step=step), [seen]):
        outputs = kept[0]
        layers = _plain_layers(seen, count, trainable)
        parts: list[Part] = []
        if layers:
            slopes = slopes_at(outputs, [seen.linear[operation.index][1] for operation in layers])
            parts = [
                part_of_linear(seen.linear[operation.index][0], slope, has_bias=len(operation.parameters) > 1)
                for operation, slope in zip(layers, slopes, strict=True)
            ]
        done = {name for operation in layers for use in operation.parameters for name in use.names}
        rest = [parameter for name, parameter in trainable.items() if name not in done]
        return [*parts, Rows(_each(outputs, rest))] if rest else parts


def _plain_layers(seen: Seen, count: int, trainable: Mapping[str, nn.Parameter]) -> list[Operation]:
    """Return the linear operations whose parameters are whole, trained, used nowhere else and meet a row an example."""
    found: list[Operation] = []
    for name_uses in seen.uses.values():
        operation = name_uses[0]
        if operation in found or operation.index not in seen.linear or len(seen.linear[operation.index][0]) != count:
            continue
        names = [name for use in operation.parameters for name in use.names]
        is_plain = all(
            use.part is None and not use.shift and use.shape == use.whole and len(use.names) == 1
            for use in operation.parameters
        )
        if is_plain and all(name in trainable and len(seen.uses[name]) == 1 for name in names):
            found.append(operation)
    return sorted(found, key=lambda operation: operation.index)


def _each(outputs: Tensor, parameters: Sequence[Tensor]) -> Tensor:
    """Return the gradients of each output of each example, (examples, outputs, parameters), one by one."""
    rows = [
        torch.cat(
            [
                part.flatten()
                for part in torch.autograd.grad(each, parameters, retain_graph=True, materialize_grads=True)
            ]
        )
        for each in outputs.flatten()
    ]
    return torch.stack(rows).view(*outputs.shape, -1)
