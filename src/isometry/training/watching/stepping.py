"""Hears of an optimiser's steps: when the gradients are there, and when the update is made."""

from collections.abc import Callable
from typing import Any

import torch

from isometry.training.stopping.best import BestWeights
from isometry.training.watching.snapshot import OptimizerState

ClosureCall = tuple[tuple[Any, ...], dict[str, Any]]


class StepHooks:
    """Hooks on one optimiser, which call back before and after its update.

    With a closure the gradients come inside of the step: it is wrapped for the time of that step. An optimiser that
    calls it again has moved the weights by then; where the gradients are found wanting after that, weights and states
    go back to what they were before the step.

    Args:
        model: Whose weights it writes.
        optimizer: Whose steps to hear.
        before: Called when the gradients are there; says whether they are well. Otherwise it has taken them away.
        after: Called when the step is over.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        before: Callable[[], bool],
        after: Callable[[], None],
    ) -> None:
        self._optimizer = optimizer
        self._before = before
        self._after = after
        self._weights = BestWeights(model)
        self._state: OptimizerState | None = None
        self._calls = 0
        self._is_well = True
        self._calls_again: bool | None = True if isinstance(optimizer, torch.optim.LBFGS) else None
        uncompiled: Any = torch.compiler.disable
        # A compiled step calls them as they are: traced, they would be guarded and compiled anew at every change.
        self._handles = (
            optimizer.register_step_pre_hook(uncompiled(self._begin)),
            optimizer.register_step_post_hook(uncompiled(self._end)),
        )

    def remove(self) -> None:
        """Leave the optimiser as it was."""
        for handle in self._handles:
            handle.remove()

    def _begin(self, _: torch.optim.Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> ClosureCall | None:
        self._calls, self._is_well = 0, True
        _, *given = args
        if given and callable(given[0]):
            return (args[0], self._wrapped(given[0]), *given[1:]), kwargs
        if callable(kwargs.get("closure")):
            return args, {**kwargs, "closure": self._wrapped(kwargs["closure"])}
        self._is_well = self._before()
        return None

    def _wrapped(self, closure: Callable[[], Any]) -> Callable[[], Any]:
        if self._calls_again is not False:
            self._weights.keep()
            self._state = OptimizerState.of(self._optimizer)

        good: list[Any] = []

        def watched() -> Any:
            if not self._is_well and good:  # a line search cannot go on from NaN; it ends where nothing changes
                return good[-1]
            result = closure()
            self._calls += 1
            self._is_well = self._before()
            if self._is_well:
                good[:] = [result]
            return good[-1] if good else result

        return watched

    def _end(self, *_: object) -> None:
        if self._calls > 1 and not self._is_well and self._state is not None:
            self._weights.restore()
            self._state.restore(self._optimizer)
        if self._calls:
            self._calls_again = bool(self._calls_again) or self._calls > 1
        self._state = None
        self._after()
