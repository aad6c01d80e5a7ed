"""A copy of a network in training with the task's own optimiser: what race and trial step on."""

import copy
import inspect
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from isometry._errors import ModelError, describe
from isometry.anatomy.preserve import Guard
from isometry.anatomy.task import Task, with_model

LEARNING_RATE = 1e-3  # of Adam, where the task has no optimiser of its own


def copied(model: nn.Module) -> nn.Module:
    """Return a copy of a network that shares nothing with it.

    Raises:
        ModelError: If the network cannot be copied.
    """
    # Weights that a hook computes before each call, as old weight norm does, are no leaves, which deepcopy refuses.
    computed = {id(value): value.detach().clone() for value in _attributes(model) if value.grad_fn is not None}
    try:
        return copy.deepcopy(model, computed)
    except Exception as error:
        raise ModelError(
            f"the model {type(model).__name__} cannot be copied, and training it would change it: {describe(error)}. "
            "Make it work with copy.deepcopy, or leave out what trains."
        ) from error


class Training:
    """A copy of a task's network in training; neither the network nor the user's optimiser moves.

    Attributes:
        task: The task with the copy in the model's place.
        optimizer: The task's own optimiser on the copy's parameters, or Adam.
        losses: The loss before each step, NaN from the step after the first that was not finite.
        strangers: How many tensors the task's optimiser holds that are no parameters of the model; counts.
    """

    def __init__(self, task: Task, model: nn.Module, guard: Guard) -> None:
        """Copy a network and make its optimiser.

        Args:
            task: Data, step and optimiser.
            model: The network to copy; it need not be the task's own.
            guard: What keeps the task's own model meanwhile, and collects the losses of steps that call backward().

        Raises:
            ModelError: If the network cannot be copied.
        """
        self.task = with_model(task, copied(model))
        self.losses: list[float] = []
        self._guard = guard
        self._parameters = [each for each in self.task.model.parameters() if each.requires_grad]
        made = (task.optimizer_factory or adam)(self._parameters)
        pairs = zip(task.model.parameters(), self.task.model.parameters(), strict=False)  # of a race they may differ
        counterparts = {id(own): twin for own, twin in pairs}
        self.optimizer, self.strangers = _moved(made, counterparts, self.task.model)

    def step(self, batch: Any) -> None:
        """Make one optimiser step; a copy whose loss is not finite stands still.

        Raises:
            ModelError: If the loss carries no gradient.
        """
        if self.losses and not math.isfinite(self.losses[-1]):
            self.losses.append(math.nan)
            return
        loss = self.differentiate(batch)
        self.losses.append(loss)
        if math.isfinite(loss):
            again = _needed_closure(self.optimizer, lambda: self.differentiate(batch))
            self.optimizer.step(*again)

    def differentiate(self, batch: Any) -> float:
        """Write the gradients of a batch's loss into the copy.

        Args:
            batch: Whatever the task's step takes.

        Returns:
            The loss.

        Raises:
            ModelError: If the loss carries no gradient.
        """
        with torch.enable_grad():
            loss = self.loss(batch)
            if not loss.requires_grad:
                raise ModelError(
                    f"the loss of {type(self.task.model).__name__} carries no gradient, and training needs one. "
                    "Find what cuts it off: isometry check."
                )
            gradients = torch.autograd.grad(loss, self._parameters, allow_unused=True)
        for parameter, gradient in zip(self._parameters, gradients, strict=True):
            parameter.grad = gradient
        return float(loss.detach())

    def loss(self, batch: Any) -> Tensor:
        """Return the loss of a batch: what the step returns, or the sum of what it calls backward() on."""
        self._guard.losses.clear()
        with self.task.context():
            loss = self.task.step(self.task.model, batch)
        if self._guard.losses:
            loss = sum(self._guard.losses[1:], start=self._guard.losses[0])
            self._guard.losses.clear()
        return loss


def adam(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """Return the optimiser of a task that has none."""
    return torch.optim.Adam(parameters, lr=LEARNING_RATE)


def describe_optimizer(optimizer: torch.optim.Optimizer) -> str:
    """Return an optimiser with its main settings in words."""
    settings = optimizer.param_groups[0]
    told = [f"{key}={float(settings[key]):g}" for key in ("lr", "momentum", "weight_decay") if settings.get(key)]
    return f"{type(optimizer).__name__}({', '.join(told)})"


def _attributes(model: nn.Module) -> Iterator[Tensor]:
    return (value for module in model.modules() for value in vars(module).values() if isinstance(value, Tensor))


def _moved(
    made: torch.optim.Optimizer, counterparts: dict[int, nn.Parameter], model: nn.Module
) -> tuple[torch.optim.Optimizer, int]:
    """Return an optimiser on a copy's parameters, whatever it was made from, and the number of strangers in it."""
    own = {id(parameter) for parameter in model.parameters()}
    held = [tensor for group in made.param_groups for tensor in group["params"]]
    others = [tensor for tensor in held if id(tensor) not in own]
    if not others:
        return made, 0
    # A factory may close over the model itself, or return an optimiser that is already in use.
    twin = object.__new__(type(made))
    vars(twin).update(copy.deepcopy({**vars(made), "step": None}, dict(counterparts)))
    del twin.step
    return twin, sum(id(tensor) not in counterparts for tensor in others)


def _needed_closure(
    optimizer: torch.optim.Optimizer, closure: Callable[[], float]
) -> tuple[()] | tuple[Callable[[], float]]:
    """Return the closure for optimisers that cannot step without one, such as LBFGS."""
    wanted = inspect.signature(type(optimizer).step).parameters.get("closure")
    needs = wanted is not None and wanted.default is inspect.Parameter.empty
    return (closure,) if needs else ()
