"""The seam to a real model: `record` runs one forward pass of a task, `record_step` one backward pass as well."""

import re
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules import module as module_hooks

from isometry._errors import IsometryError, ModelError, describe
from isometry.anatomy.names import ParameterNames, names_of
from isometry.anatomy.preserve import Guard, preserved
from isometry.anatomy.recorder import Observer, Recorder
from isometry.anatomy.refusals import (
    failure_of,
    refuse_constant_loss,
    refuse_frozen,
    refuse_what_cannot_be_measured,
)
from isometry.anatomy.tape import Tape
from isometry.anatomy.task import Task, tensors_in

NO_DERIVATIVE = re.compile(r"derivative for aten::(\w+) is not implemented")


@dataclass(frozen=True, slots=True)
class Step:
    """A recorded forward and backward pass.

    Attributes:
        tape: The operations of the forward pass.
        names: The names in the model.
        loss: The loss, a scalar.
        gradients: Canonical name of each trainable parameter to the gradients of its tensors; None where autograd
            found no way from the loss.
        seconds: Time of forward and backward pass together.
        peak_bytes: Most memory that the accelerator held during both; None on the CPU.
        strays: Leaves that require a gradient and work inside the model, but are none of its parameters.
        refused_by: Name of the operation without derivative at which the backward pass stopped; no parameter has a
            gradient then.
    """

    tape: Tape
    names: ParameterNames
    loss: Tensor
    gradients: Mapping[str, tuple[Tensor | None, ...]]
    seconds: float
    peak_bytes: int | None
    strays: tuple[Tensor, ...] = ()
    refused_by: str = ""


def record(task: Task, observers: Sequence[Observer] = (), *, seed: int = 0) -> Tape:
    """Run one forward pass of a task and return its tape; model and random state are as before.

    Args:
        task: The task; nothing in it is changed.
        observers: Called with each operation as it returns; what one returns takes the output's place.
        seed: Seed of dropout and of other random numbers in the forward pass.

    Returns:
        The operations of the forward pass, in order.

    Raises:
        ModelError: If the model fails on its batch.
    """
    with recorded(task, observers, seed=seed) as tape:
        return tape


@contextmanager
def recorded(task: Task, observers: Sequence[Observer] = (), *, seed: int = 0) -> Generator[Tape]:
    """Run one forward pass of a task, and keep what autograd needs while the block runs; then all is as before.

    Args:
        task: As for `record`.
        observers: As for `record`; one may keep an output, whose gradients can be asked for inside of the block.
        seed: As for `record`.

    Yields:
        The operations of the forward pass, in order.

    Raises:
        ModelError: If the model fails on its batch.
    """
    refuse_what_cannot_be_measured(task)
    with preserved(task.model, seed=seed) as guard, torch.enable_grad():
        recorder = Recorder(names_of(task.model), guard=guard, observers=tuple(observers))
        yield recorder.finish(_forward(task, recorder, guard))


def record_step(task: Task, observers: Sequence[Observer] = (), *, seed: int = 0) -> Step:
    """Run one forward and one backward pass of a task; no gradient reaches the parameters' `.grad`.

    Args:
        task: The task; nothing in it is changed. If its step calls backward() itself, then the sum of what it calls
            it on is the loss.
        observers: As for `record`; a tensor hook that one sets on an output sees the gradient of the loss there.
        seed: Seed of dropout and of other random numbers in the forward pass.

    Returns:
        The tape, the loss and the gradients.

    Raises:
        ModelError: If the model fails on its batch, or the loss is computed from no parameter.
    """
    refuse_what_cannot_be_measured(task)
    names = names_of(task.model)
    trainable = {
        name: tensors for name, tensors in names.parameters.items() if any(tensor.requires_grad for tensor in tensors)
    }
    refuse_frozen(trainable, task.model)
    with preserved(task.model, seed=seed) as guard, torch.enable_grad():
        recorder = Recorder(names, guard=guard, observers=tuple(observers))
        device = next(iter(task.model.parameters())).device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        start = time.perf_counter()
        loss = _forward(task, recorder, guard)
        gradients, refused_by = _backward(task, loss, trainable)
        seconds = time.perf_counter() - start
        peak_bytes = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
        tape = recorder.finish(loss)
        refuse_constant_loss(loss, tape, trainable)
        strays = tuple(recorder.strays)
        return Step(tape, names, loss.detach(), gradients, seconds, peak_bytes, strays=strays, refused_by=refused_by)


def _forward(task: Task, recorder: Recorder, guard: Guard) -> Tensor:
    try:
        recorder.expect(tensors_in(task.batch))
        with module_calls(recorder), recorder:
            loss = task.compute_loss()
            return sum(guard.losses[1:], start=guard.losses[0]) if guard.losses else loss
    except IsometryError:
        raise
    except (Exception, SystemExit) as error:
        raise failure_of(error, recorder, task) from error


def _backward(
    task: Task, loss: Tensor, trainable: Mapping[str, tuple[nn.Parameter, ...]]
) -> tuple[dict[str, tuple[Tensor | None, ...]], str]:
    """Return the gradients, and the name of the operation without derivative that refused them, if one did."""
    nothing: dict[str, tuple[Tensor | None, ...]] = {
        name: (None,) * len(tensors) for name, tensors in trainable.items()
    }
    if not loss.requires_grad:
        return nothing, ""
    flat = [tensor for tensors in trainable.values() for tensor in tensors if tensor.requires_grad]
    try:
        found = iter(torch.autograd.grad(loss, flat, allow_unused=True))
    except RuntimeError as error:
        refusal = NO_DERIVATIVE.search(str(error))
        if refusal:
            return nothing, refusal[1]
        raise ModelError(
            f"the backward pass of {type(task.model).__name__} failed: {describe(error)}. "
            "Make the same step run with loss.backward() first."
        ) from error
    gradients = {
        name: tuple(_dense(next(found)) if tensor.requires_grad else None for tensor in tensors)
        for name, tensors in trainable.items()
    }
    return gradients, ""


def _dense(gradient: Tensor | None) -> Tensor | None:
    """Return a gradient as a block of numbers; those of sparse embeddings come as lists of rows."""
    return gradient.to_dense() if gradient is not None and gradient.layout != torch.strided else gradient


@contextmanager
def module_calls(recorder: Recorder) -> Generator[None]:
    """Tell a recorder of every module call while a block runs, by hooks that belong to no model."""

    def left(module: nn.Module, _: object, output: object) -> None:
        recorder.leave_module(module, output)

    before = module_hooks.register_module_forward_pre_hook(recorder.enter_module)
    after = module_hooks.register_module_forward_hook(left)
    try:
        yield
    finally:
        before.remove()
        after.remove()
