"""Opens a model for one step: its forward pass is seen by hooks on modules, which are gone when the step is over."""

import sys
from typing import Any

import torch
from torch import nn
from torch.nn.utils.parametrize import is_parametrized
from torch.utils.hooks import RemovableHandle

from isometry.anatomy.names import ParameterNames
from isometry.probes.running.rows import RowSampler
from isometry.probes.running.sight import Sight
from isometry.probes.running.sighting import Sighting


class Opening:
    """Sees the first forward pass with gradients between `open` and `close`.

    A pass in evaluation mode counts only if none in training mode follows. Compiled modules run as they were written
    meanwhile, and keep what was compiled. Hooks are on the model itself, and on modules whose weights are computed, for
    their names; only a model that is found to be called by its parts gets them on all modules. They are hooks of single
    modules, since those for all modules at once disturb compiled ones.

    Args:
        model: What is seen.
        names: Of the model.
        rows: Rows of an output that are looked at, at most.
    """

    def __init__(self, model: nn.Module, names: ParameterNames, rows: int) -> None:
        self._names = names
        self._sight = Sight(names, RowSampler(rows))
        self._modules = [each for each in model.modules() if not hasattr(each, "_orig_mod")]
        self._hooked = [each for each in self._modules if self._is_root(each) or is_parametrized(each)]
        self._handles: list[RemovableHandle] = []
        self._stance: Any = None
        self._called: set[int] = set()
        self._is_entered = False
        self._is_provisional = False

    def open(self) -> None:
        """From now on forward passes are seen."""
        for module in self._hooked:
            self._handles += [
                module.register_forward_pre_hook(self._before),
                module.register_forward_hook(self._after, always_call=True),
            ]
        if "torch._dynamo" in sys.modules:
            self._stance = torch.compiler.set_stance("force_eager")

    def close(self) -> Sighting:
        """Stop seeing, also in the middle of a forward pass that was broken off; return what was seen."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        if self._stance is not None:
            self._stance.__exit__(None, None, None)
            self._stance = None
        self._exit()
        if not any(self._is_root(each) for each in self._modules if id(each) in self._called):
            self._hooked = self._modules
        self._called.clear()
        self._is_provisional = False
        seen = self._sight.take()
        self._sight.trouble.tell()  # an error of the looking, which the forward pass was spared
        return seen

    def _is_root(self, module: nn.Module) -> bool:
        return not self._names.of_module[id(module)]

    def _before(self, module: nn.Module, _: Any) -> None:
        if not self._sight.trouble.is_there:
            with self._sight.trouble:
                self._enter(module)

    def _after(self, module: nn.Module, _: Any, output: Any) -> None:
        if self._is_entered:
            with self._sight.trouble:
                self._leave(module, output)

    def _enter(self, module: nn.Module) -> None:
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

    def _leave(self, module: nn.Module, output: Any) -> None:
        modules = self._sight.modules
        if not any(each is module for each in modules):
            return
        while modules.pop() is not module:  # the end of those inside was lost to an error
            pass
        if not modules:
            if output is None:  # an error, perhaps, which the loop may catch and go on; no layer is taken in twice
                self._called.clear()
            self._sight.leave(output)
            self._exit()

    def _exit(self) -> None:
        if self._is_entered:
            self._is_entered = False
            self._sight.modules.clear()
            self._sight.__exit__(None, None, None)
