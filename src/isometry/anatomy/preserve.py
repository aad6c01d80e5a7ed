"""Leaves a model and the global random state as they were, whatever happens in between."""

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, cast
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import checkpoint


class Guard:
    """Keeps what a forward pass may overwrite, and puts it back.

    Buffers are kept from the start. Parameters are too large for that: a parameter is copied at the moment when an
    operation is about to write into its memory.
    """

    def __init__(self, model: nn.Module) -> None:
        self._modules = [
            (module, module.training, dict(module._buffers), dict(module._parameters)) for module in model.modules()
        ]
        self._buffers = [(buffer, buffer._version, buffer.detach().clone()) for buffer in model.buffers()]
        self._gradients = [(parameter, parameter.grad) for parameter in model.parameters()]
        self._storages = {_storage(parameter): parameter for parameter in model.parameters() if not parameter.is_meta}
        self._copies: dict[int, tuple[nn.Parameter, Tensor]] = {}

    def before_write(self, target: object) -> None:
        """Copy the parameter that shares memory with `target`, if there is one, before it is overwritten."""
        if (
            not isinstance(target, Tensor)
            or target.is_meta
            or isinstance(target, nn.parameter.UninitializedTensorMixin)
        ):
            return
        parameter = self._storages.get(_storage(target))
        if parameter is not None and id(parameter) not in self._copies:
            self._copies[id(parameter)] = (parameter, parameter.detach().clone())

    def detach_gradients(self) -> None:
        """Take the gradients off the parameters, so that a backward pass in the step cannot add to them."""
        for parameter, _ in self._gradients:
            parameter.grad = None

    def restore(self) -> None:
        """Put everything back."""
        with torch.no_grad():
            for module, mode, buffers, parameters in self._modules:
                module.training = mode
                module._buffers.update(buffers)
                module._parameters.update(parameters)
            for buffer, version, copy in self._buffers:
                if buffer._version != version:
                    buffer.copy_(copy)
            for parameter, copy in self._copies.values():
                parameter.copy_(copy)
        for parameter, gradient in self._gradients:
            parameter.grad = gradient


@contextmanager
def preserved(model: nn.Module, *, seed: int) -> Iterator[Guard]:
    """Run a block that may call the model, under seeded random numbers, and put everything back after it.

    Parameters, buffers, gradients, modes and the global random states of torch, CUDA, NumPy and `random` are as
    before, also after an error. Reentrant checkpointing, under which `torch.autograd.grad` returns no gradients, is
    replaced by the other kind for the time being.
    """
    guard = Guard(model)
    with ExitStack() as stack:
        stack.callback(guard.restore)
        stack.enter_context(seeded(model, seed))
        stack.enter_context(mock.patch.object(checkpoint, "CheckpointFunction", _NonReentrant))
        guard.detach_gradients()
        yield guard


@contextmanager
def seeded(model: nn.Module, seed: int) -> Iterator[None]:
    """Run a block under seeded random numbers, and put the global random states back after it."""
    devices = {parameter.device for parameter in model.parameters() if parameter.device.type == "cuda"}
    numpy_state, python_state = np.random.get_state(), random.getstate()  # noqa: NPY002 - the global state is what we keep
    with torch.random.fork_rng(devices=list(devices)):
        try:
            torch.manual_seed(seed)
            np.random.seed(seed % 2**32)  # noqa: NPY002 - a user's step may draw from it
            random.seed(seed)
            yield
        finally:
            np.random.set_state(numpy_state)  # noqa: NPY002 - see above
            random.setstate(python_state)


class _NonReentrant:
    """Stands in for torch's reentrant checkpoint function."""

    @staticmethod
    def apply(function: Callable[..., Any], preserve_rng_state: object, *args: object) -> object:
        """Checkpoint `function` in the way that `torch.autograd.grad` can see through."""
        return cast(
            "object",
            checkpoint.checkpoint(function, *args, use_reentrant=False, preserve_rng_state=bool(preserve_rng_state)),
        )


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
