"""Opens a model for one step: its forward pass is seen by hooks on modules, which are gone when the step is over."""

import sys
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from isometry.anatomy.names import ParameterNames
from isometry.probes.running.rows import RowSampler
from isometry.probes.running.sight import Sight
from isometry.probes.running.sighting import Sighting


class Opening:
    """Sees the first forward pass with gradients of every outermost module of a model, between `open` and `close`.

    A pass in evaluation mode counts only if none in training mode follows. Compiled modules run as they were written
    meanwhile, and keep what was compiled.

    Args:
        names: Of the model.
        rows: Rows of an output that are looked at, at most.
    """

    def __init__(self, names: ParameterNames, rows: int) -> None:
        self._names = names
        self._sight = Sight(names, RowSampler(rows))
        self._hooks: list[Any] = []
        self._stance: Any = None
        self._called: set[int] = set()
        self._is_entered = False
        self._is_provisional = False

    def open(self) -> None:
        """From now on forward passes are seen."""
        self._hooks = [
            register_module_forward_pre_hook(self._enter),
            register_module_forward_hook(self._leave, always_call=True),
        ]
        if "torch._dynamo" in sys.modules:
            self._stance = torch.compiler.set_stance("force_eager")

    def close(self) -> Sighting:
        """Stop seeing, also in the middle of a forward pass that was broken off; return what was seen."""
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        if self._stance is not None:
            self._stance.__exit__(None, None, None)
            self._stance = None
        self._exit()
        self._called.clear()
        self._is_provisional = False
        return self._sight.take()

    def _enter(self, module: nn.Module, _: Any) -> None:
        if id(module) not in self._names.of_module:
            return
        if not self._is_entered:
            if not torch.is_grad_enabled():
                return
            if self._is_provisional and module.training:
                self._called.clear()
                self._sight.take()
            if id(module) in self._called:
                return
            self._is_provisional = not module.training
            self._is_entered = True
            self._sight.__enter__()
        self._called.add(id(module))
        self._sight.modules.append(module)

    def _leave(self, module: nn.Module, _: Any, output: Any) -> None:
        modules = self._sight.modules
        if not self._is_entered:
            return
        if modules[-1] is not module:  # one that is no part of the model, or one whose own end was lost to an error
            if not any(each is module for each in modules):
                return
            while modules[-1] is not module:
                modules.pop()
        modules.pop()
        if not modules:
            self._sight.leave(output)
            self._exit()

    def _exit(self) -> None:
        if self._is_entered:
            self._is_entered = False
            self._sight.modules.clear()
            self._sight.__exit__(None, None, None)
