"""Forward passes of a block of examples: one that keeps what its linear layers read and gave, and one an example."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from isometry._errors import ModelError
from isometry.anatomy.preserve import preserved
from isometry.anatomy.record import recorded
from isometry.anatomy.recorder import Call
from isometry.anatomy.tape import Operation
from isometry.anatomy.task import Task, call_model, tensors_in
from isometry.probes.tangent.parts import Part, Rows, part_of_linear

LINEAR = "linear"
ROUNDING_ROOTS = 3  # roots of the rounding unit by which two sums may differ: 1e-3 in float32, 0.3 in bfloat16

Parameters = Mapping[str, tuple[Tensor, ...]]


class MixedRowsError(Exception):
    """The rows that linear layers met are not the examples in their order, so their gradients are taken one by one.

    Attributes:
        names: Of the layers' parameters.
    """

    def __init__(self, names: frozenset[str]) -> None:
        super().__init__(f"{sorted(names)} meet rows that are not the examples in their order")
        self.names = names


@dataclass(slots=True)
class Seen:
    """What an observer kept of a forward pass.

    Attributes:
        uses: Canonical name of each parameter to the operations that used it.
        linear: Index of each linear operation to its input and output.
        outputs: The model's outputs, (examples, outputs).
    """

    uses: dict[str, list[Operation]] = field(default_factory=dict[str, list[Operation]])
    linear: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict[int, tuple[Tensor, Tensor]])
    outputs: Tensor = field(default_factory=lambda: torch.empty(0))

    def __call__(self, operation: Operation, call: Call) -> Tensor | None:
        """Keep the tensors of a linear layer, and hand on a copy of its output that may be written into."""
        for use in operation.parameters:
            for name in use.names:
                self.uses.setdefault(name, []).append(operation)
        if operation.name != LINEAR or not call.outputs[0].requires_grad:
            return None
        self.linear[operation.index] = (call.inputs[0].detach(), call.outputs[0])
        return call.outputs[0].clone()

    def plain_layers(self, count: int) -> list[Operation]:
        """Return the linear operations whose parameters are whole, used nowhere else and meet rows an example.

        Args:
            count: Examples of the pass.
        """
        found: dict[int, Operation] = {}
        for operation in (uses[0] for uses in self.uses.values()):
            if operation.index not in self.linear or len(self.linear[operation.index][0]) != count:
                continue
            is_plain = all(
                use.part is None and not use.shift and use.shape == use.whole and len(use.names) == 1
                for use in operation.parameters
            )
            names = names_in(operation)
            if is_plain and len(set(names)) == len(names) and all(len(self.uses[name]) == 1 for name in names):
                found[operation.index] = operation
        return [found[index] for index in sorted(found)]

    def meets_rows(self, name: str, count: int) -> bool:
        """Say whether a parameter is used once in this pass, by a linear operation that meets rows an example."""
        uses = self.uses.get(name, [])
        return len(uses) == 1 and uses[0].index in self.linear and len(self.linear[uses[0].index][0]) == count


def names_in(operation: Operation) -> tuple[str, ...]:
    """Return the canonical names of the parameters that an operation uses."""
    return tuple(name for use in operation.parameters for name in use.names)


def outputs_of(result: Any, count: int) -> Tensor:
    """Return a model's first floating tensor with a row an example, (examples, outputs); a mapping's in its order.

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


def task_of(model: nn.Module, inputs: Any, seen: Seen) -> Task:
    """Return a task whose step keeps the model's outputs for a block of examples.

    Args:
        model: The module.
        inputs: The block, in any form that the module is called with.
        seen: Where the outputs are kept.
    """
    count = next(len(tensor) for tensor in tensors_in(inputs) if tensor.ndim)

    def step(module: nn.Module, batch: Any) -> Tensor:
        seen.outputs = outputs_of(call_model(module, batch), count)
        return seen.outputs.sum()

    return Task(model=model, batch=inputs, step=step)


def linear_parts(model: nn.Module, inputs: Any, names: frozenset[str], *, outputs: slice) -> list[Part]:
    """Return what the gradients of plain linear layers are made of, by one pass of a whole block.

    Args:
        model: The module.
        inputs: The block, in any form that the module is called with.
        names: Canonical names of the layers' parameters, each layer's all.
        outputs: Which of the outputs.

    Returns:
        A part a layer, in an order that is the same for every block.

    Raises:
        MixedRowsError: If the rows of some of the layers are not the examples of this block in their order.
    """
    seen = Seen()
    with recorded(task_of(model, inputs, seen), [seen]):
        count = len(seen.outputs)
        mixed = frozenset(name for name in names if not seen.meets_rows(name, count))
        if mixed:
            raise MixedRowsError(mixed)
        layers = sorted({uses[0].index: uses[0] for name, uses in seen.uses.items() if name in names}.items())
        given = [seen.linear[index][1] for index, _ in layers]
        chosen = seen.outputs[:, outputs]
        slopes = slopes_at(chosen, given)
        own = own_rows(chosen, given, slopes)
        mixed = frozenset(
            name for (_, layer), is_own in zip(layers, own, strict=True) if not is_own for name in names_in(layer)
        )
        if mixed:
            raise MixedRowsError(mixed)
        return [
            part_of_linear(seen.linear[index][0].to(slope.dtype), slope, has_bias=len(operation.parameters) > 1)
            for (index, operation), slope in zip(layers, slopes, strict=True)
        ]


def kernel_dtype(outputs: Tensor) -> torch.dtype:
    """Return the outputs' own dtype, at least float32: products of half precision would be noise."""
    return torch.promote_types(outputs.dtype, torch.float32)


def slopes_at(outputs: Tensor, tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return the gradients of each output at some tensors, (examples, outputs, …) each, in the kernel's dtype.

    Args:
        outputs: (examples, outputs), each example's computed from its own rows alone.
        tensors: With a row an example.

    Returns:
        A tensor for each.
    """
    dtype = kernel_dtype(outputs)
    found = [
        torch.empty((len(tensor), outputs.shape[1], *tensor.shape[1:]), dtype=dtype, device=tensor.device)
        for tensor in tensors
    ]
    for number, column in enumerate(outputs.sum(0)):
        slopes = torch.autograd.grad(column, tensors, retain_graph=True, materialize_grads=True)
        for kept, slope in zip(found, slopes, strict=True):
            kept[:, number] = slope
    return found


def own_rows(outputs: Tensor, tensors: Sequence[Tensor], slopes: Sequence[Tensor]) -> list[bool]:
    """Say of each tensor whether example i's outputs depend on its row i, and no other example's do.

    Where they do, weights w_i of the examples come out at row i alone: the gradient of Σ_i w_i Σ_c v_c f_c(x_i) is
    w_i Σ_c v_c g_ic there. One backward pass proves it for this very block, but for a chance of rounding.

    Args:
        outputs: (examples, outputs).
        tensors: With a row an example.
        slopes: Of each output at each tensor, summed over the examples, (examples, outputs, …).

    Returns:
        An answer for each tensor.
    """
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(len(outputs), generator=generator).to(outputs)
    shares = torch.randn(outputs.shape[1], generator=generator).to(outputs)
    found = torch.autograd.grad(weights @ outputs @ shares, tensors, retain_graph=True, materialize_grads=True)
    answers: list[bool] = []
    for tensor, mixed, slope in zip(tensors, found, slopes, strict=True):
        expected = torch.einsum("i,c,icr->ir", weights.to(slope), shares.to(slope), slope.flatten(2))
        unit = max(torch.finfo(each.dtype).eps for each in (tensor, outputs))
        allowed = ROUNDING_ROOTS * unit**0.5 * slope.abs().amax()
        answers.append(bool((mixed.flatten(1) - expected).abs().le(allowed).all()))
    return answers


def gradient_rows(model: nn.Module, examples: Sequence[Any], parameters: Sequence[Tensor], *, outputs: slice) -> Rows:
    """Return the gradients of some outputs over some parameters, by one pass an example.

    Args:
        model: The module.
        examples: Each alone, in any form that the module is called with.
        parameters: Those whose gradients count.
        outputs: Which of the outputs.

    Returns:
        The gradients, the parameters side by side.
    """
    kept = torch.empty(0)
    with preserved(model, seed=0), torch.enable_grad():
        for row, example in enumerate(examples):
            found = outputs_of(call_model(model, example), 1)[0, outputs]
            if not row:
                size = sum(each.numel() for each in parameters)
                kept = found.new_empty(len(examples), len(found), size, dtype=kernel_dtype(found))
            for number, output in enumerate(found):
                _write_gradient(output, parameters, kept[row, number])
    return Rows(kept)


def _write_gradient(output: Tensor, parameters: Sequence[Tensor], kept: Tensor) -> None:
    gradients = torch.autograd.grad(output, parameters, retain_graph=True, materialize_grads=True)
    for gradient, place in zip(gradients, kept.split([each.numel() for each in parameters]), strict=True):
        dense = gradient.to_dense() if gradient.layout != torch.strided else gradient  # sparse embeddings
        place.copy_(dense.flatten())
