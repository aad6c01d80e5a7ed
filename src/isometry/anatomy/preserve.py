"""Leaves a model, its batch and the global random state as they were, whatever happens in between."""

import random
import sys
import warnings
import weakref
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterable
from contextlib import ExitStack, contextmanager
from typing import Any, cast
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import checkpoint

from isometry._memory import has_memory

CONTAINERS = frozenset({dict, list, set, OrderedDict})


class Guard:
    """Keeps what a forward pass may overwrite, and puts it back.

    The attributes of modules and the buffers are kept from the start. Parameters and batches are too large for that:
    they are copied at the moment when an operation is about to write into their memory.

    A backward pass that the step runs itself is not run: the tensors it was asked for are collected in `losses`, so
    that no hook of the user's sees a gradient and no optimiser moves a weight.
    """

    def __init__(self, model: nn.Module) -> None:
        self.losses: list[Tensor] = []
        self._modules = [_Attributes(module) for module in model.modules()]
        self._buffers = [(buffer, buffer.detach().clone()) for buffer in model.buffers()]
        self._parameters = [(each, each.grad, each.requires_grad) for each in model.parameters()]
        self._watched: dict[int, list[weakref.ref[Tensor]]] = {}  # by address; tensors may share one
        self._copies: list[tuple[Tensor, Tensor, Tensor]] = []
        for parameter in model.parameters():
            self.watch(parameter)

    def watch(self, tensor: Tensor) -> None:
        """Copy this tensor before it is overwritten."""
        if has_memory(tensor):
            self._watched.setdefault(_address(tensor), []).append(weakref.ref(tensor))

    def before_write(self, target: object) -> None:
        """Copy the watched tensors that share memory with `target`."""
        if not isinstance(target, Tensor) or not has_memory(target):
            return
        for reference in self._watched.pop(_address(target), ()):
            watched = reference()
            if watched is not None:
                self._copies.append((watched, watched.data, watched.detach().clone()))

    def collect(self, tensors: Any, grad_tensors: Any = None, *_: object, **__: object) -> None:
        """Stand in for `torch.autograd.backward`."""
        losses = [tensors] if isinstance(tensors, Tensor) else list(tensors)
        given = [grad_tensors] if grad_tensors is None or isinstance(grad_tensors, Tensor) else list(grad_tensors)
        weights = given * len(losses) if len(given) == 1 else given
        for loss, weight in zip(losses, weights, strict=True):
            self.losses.append(loss if weight is None else (loss * weight).sum())

    def detach_gradients(self) -> None:
        """Take the gradients off the parameters, so that the step does not add to them."""
        for parameter, _, _ in self._parameters:
            parameter.grad = None

    def restore(self) -> None:
        """Put everything back."""
        with torch.no_grad():
            for attributes in self._modules:
                attributes.restore()
            for buffer, copy in self._buffers:
                if not has_memory(buffer) or not torch.equal(buffer, copy):
                    buffer.copy_(copy)
            for tensor, memory, copy in self._copies:
                tensor.data = memory
                tensor.copy_(copy)
        for parameter, gradient, requires_grad in self._parameters:
            parameter.requires_grad_(requires_grad)
            parameter.grad = gradient


class _Attributes:
    """What a module holds in its own dictionary, and in the plain containers there."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._mode = module.training
        self._values = dict(vars(module))
        containers = (value for value in self._values.values() if type(value) in CONTAINERS)
        self._contents = [(value, value.copy() if value else ()) for value in containers]

    def restore(self) -> None:
        own = vars(self._module)
        own.clear()
        own.update(self._values)
        for container, content in self._contents:
            if container or content:
                container.clear()
                (container.extend if isinstance(container, list) else container.update)(content)
        if self._module.training != self._mode:  # scripted modules keep it elsewhere
            self._module.training = self._mode


@contextmanager
def preserved(model: nn.Module, *, seed: int) -> Generator[Guard]:
    """Run a block that may call the model, under seeded random numbers, and put everything back after it.

    Parameters, buffers, gradients, modes and the global random states of torch, CUDA, NumPy and `random` are as
    before, also after an error. For the time being reentrant checkpointing, under which `torch.autograd.grad` returns
    no gradients, is replaced by the other kind, compiled functions run as they were written, and torch does not warn
    of targets that are broadcast.

    Args:
        model: The model to preserve.
        seed: Seed of the random numbers.

    Yields:
        The guard, which has to be told of writes into parameters.
    """
    guard = Guard(model)
    with ExitStack() as stack:
        stack.callback(guard.restore)
        stack.enter_context(seeded(model, seed))
        stack.enter_context(mock.patch.object(checkpoint, "CheckpointFunction", _NonReentrant))
        stack.enter_context(mock.patch.object(torch.autograd, "backward", guard.collect))
        stack.enter_context(warnings.catch_warnings())
        warnings.filterwarnings("ignore", "Using a target size")  # a rule says it once, and where
        if "torch._dynamo" in sys.modules:  # slow to import, and nothing is compiled without it
            stack.enter_context(torch.compiler.set_stance("force_eager"))
            warnings.filterwarnings("ignore", "Using `torch.compile.module.` when there are global hooks")
        guard.detach_gradients()
        yield guard


@contextmanager
def seeded(model: nn.Module, seed: int) -> Generator[None]:
    """Run a block under seeded random numbers, and put the global random states back after it."""
    numpy_state, python_state = np.random.get_state(), random.getstate()  # noqa: NPY002 - the global state is what we keep
    with torch_seeded(seed, {parameter.device for parameter in model.parameters()}):
        try:
            np.random.seed(seed % 2**32)  # noqa: NPY002 - a user's step may draw from it
            random.seed(seed)
            yield
        finally:
            np.random.set_state(numpy_state)  # noqa: NPY002 - see above
            random.setstate(python_state)


@contextmanager
def torch_seeded(seed: int, devices: Iterable[torch.device]) -> Generator[None]:
    """Run a block under seeded generators of torch: the processor's and those of these devices, and no others.

    `torch.manual_seed` would seed every GPU of the process, and leave those that were not kept with another state.

    Args:
        seed: Seed of the random numbers.
        devices: Where the block may draw; those that are not CUDA's share the processor's generator.

    Yields:
        Nothing; the states are as before afterwards, also after an error.
    """
    cards = {device for device in devices if device.type == "cuda"}
    with torch.random.fork_rng(devices=list(cards)):
        torch.default_generator.manual_seed(seed)
        for card in cards:
            with torch.cuda.device(card):
                torch.cuda.manual_seed(seed)
        yield


def are_zero(tensors: Iterable[Tensor]) -> bool:
    """Say whether all numbers of some tensors are zero; of a tensor without numbers that is not known, so it is not."""
    return all(has_numbers(tensor) and not bool(tensor.detach().ne(0).any()) for tensor in tensors)


def has_numbers(tensor: Tensor) -> bool:
    """Say whether a tensor holds numbers, and not a shape alone as on the meta device or under fake tensors."""
    return tensor.layout != torch.strided or has_memory(tensor)


class _NonReentrant:
    """Stands in for torch's reentrant checkpoint function."""

    @staticmethod
    def apply(function: Callable[..., Any], preserve_rng_state: object, *args: object) -> object:
        """Checkpoint `function` in the way that `torch.autograd.grad` can see through."""
        return cast(
            "object",
            checkpoint.checkpoint(function, *args, use_reentrant=False, preserve_rng_state=bool(preserve_rng_state)),
        )


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
