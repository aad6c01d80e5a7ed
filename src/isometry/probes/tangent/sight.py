"""Forward passes: one of a block of examples that keeps where weights meet them, and one an example."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from isometry._errors import ModelError
from isometry.anatomy.preserve import preserved
from isometry.anatomy.record import recorded
from isometry.anatomy.tape import Operation
from isometry.anatomy.task import Task, call_model, tensors_in
from isometry.probes.tangent.crossings import Crossings
from isometry.probes.tangent.parts import Rows

ROUNDING_ROOTS = 3  # roots of the rounding unit by which two sums may differ: 1e-3 in float32, 0.3 in bfloat16


@dataclass(slots=True)
class Seen:
    """What a forward pass of a block of examples left.

    Attributes:
        crossings: Where weights met examples.
        outputs: The model's outputs, (examples, outputs).
    """

    crossings: Crossings
    outputs: Tensor = field(default_factory=lambda: torch.empty(0))


@contextmanager
def passed(model: nn.Module, inputs: Any) -> Generator[Seen]:
    """Run one forward pass of a block of examples, and keep what autograd needs while a block of code runs.

    Args:
        model: The module.
        inputs: The examples, in any form that the module is called with.

    Yields:
        What it left.
    """
    count = next(len(tensor) for tensor in tensors_in(inputs) if tensor.ndim)
    seen = Seen(Crossings(inputs, count))

    def step(module: nn.Module, batch: Any) -> Tensor:
        with seen.crossings:
            seen.outputs = outputs_of(call_model(module, batch), count)
        return seen.outputs.sum()

    with recorded(Task(model=model, batch=inputs, step=step)):
        yield seen


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


def plain_outputs(model: nn.Module, batches: Sequence[Any]) -> Tensor:
    """Return the outputs of batches of examples, each passed by itself, one batch after the other.

    Args:
        model: The module.
        batches: In any form that the module is called with.
    """
    found: list[Tensor] = []
    with preserved(model, seed=0), torch.enable_grad():  # a module may take gradients inside
        for batch in batches:
            count = next(len(tensor) for tensor in tensors_in(batch) if tensor.ndim)
            found.append(outputs_of(call_model(model, batch), count).detach())
    return torch.cat(found)


def kernel_dtype(outputs: Tensor) -> torch.dtype:
    """Return the outputs' own dtype, at least float32: products of half precision would be noise."""
    return torch.promote_types(outputs.dtype, torch.float32)


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
                size = sum(size_of(each) for each in parameters)
                kept = found.new_empty(len(examples), len(found), size, dtype=kernel_dtype(found))
            for number, output in enumerate(found):
                _write_gradient(output, parameters, kept[row, number])
    return Rows(kept)


def size_of(parameter: Tensor) -> int:
    """Return how many real numbers a parameter has; a complex number is two."""
    return parameter.numel() * (1 + parameter.is_complex())


def _write_gradient(output: Tensor, parameters: Sequence[Tensor], kept: Tensor) -> None:
    gradients = torch.autograd.grad(output, parameters, retain_graph=True, materialize_grads=True)
    for gradient, place in zip(gradients, kept.split([size_of(each) for each in parameters]), strict=True):
        dense = gradient.to_dense() if gradient.layout != torch.strided else gradient  # sparse embeddings
        real = torch.view_as_real(dense.resolve_conj()) if dense.is_complex() else dense
        place.copy_(real.flatten())
