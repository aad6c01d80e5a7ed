"""A copy of a model that learns a data set epoch by epoch, and is asked for its answers in between."""

import math
import statistics
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from isometry._errors import BuilderError, DomainError
from isometry.anatomy.preserve import Guard, seeded
from isometry.anatomy.task import Batch, Task, call_model, tensors_in
from isometry.probes.training import Training
from isometry.training.labels.answers import answers_in
from isometry.training.labels.examples import LabelledExamples

MIN_BATCH = 2  # of a single example batch norm cannot take a deviation


def require_counts(**counts: int) -> None:
    """Refuse numbers of epochs, examples and the like that are below 1, by their names.

    Raises:
        DomainError: If one is.
    """
    for name, count in counts.items():
        if count < 1:
            raise DomainError(f"{name}={count!r} was given, and at least 1 is needed. Leave it out for the usual one.")


class _Uses(TorchFunctionMode):
    """Sees whether an operation takes a tensor."""

    def __init__(self, tensor: Tensor) -> None:
        super().__init__()
        self.found = False
        self._tensor = tensor

    def __torch_function__(self, func: Callable[..., Any], types: Any, *rest: Any) -> Any:
        args, kwargs = rest[0], (rest[1] or {}) if len(rest) > 1 else {}
        self.found = self.found or any(each is self._tensor for each in tensors_in((args, kwargs)))
        return func(*args, **kwargs)


class Learner:
    """One copy in training with the task's own optimiser, or Adam.

    Attributes:
        training: The copy and its optimiser.
    """

    def __init__(
        self,
        task: Task,
        guard: Guard,
        examples: LabelledExamples,
        *,
        batch_size: int,
        seed: int,
        rows: Tensor | None = None,
    ) -> None:
        """Copy the model.

        Args:
            task: Step and optimiser.
            guard: What keeps the task's own model meanwhile.
            examples: The data set.
            batch_size: Examples of a step, counts.
            seed: Seed of their order and of dropout.
            rows: The places of the examples it learns; None for all.

        Raises:
            ModelError: If the model cannot be copied.
        """
        self.training = Training(task, task.model, guard)
        self._task = self.training.task
        self._examples = examples
        self._rows = torch.arange(examples.count) if rows is None else rows
        self._batch_size = max(batch_size, MIN_BATCH)
        self._seed = seed
        self._epoch = 0

    def learn(self) -> float:
        """Go through the examples once, in a new order.

        Returns:
            The mean loss.

        Raises:
            BuilderError: If the step does not use the targets.
        """
        begun = len(self.training.losses)
        order = torch.Generator().manual_seed(1_000_003 * self._seed + self._epoch)
        rows = self._rows[torch.randperm(len(self._rows), generator=order)]
        with seeded(self._task.model, 1_000_003 * self._seed + self._epoch):
            for part in rows.split(self._batch_size):
                if len(part) >= min(MIN_BATCH, len(rows)):
                    self._step(self._examples.take(part))
        self._epoch += 1
        return statistics.fmean(self.training.losses[begun:])

    def require_use_of_targets(self) -> None:
        """Differentiate the loss of the first examples, without a step of the optimiser.

        Raises:
            BuilderError: As `learn` does.
            ModelError: If the loss carries no gradient.
        """
        with seeded(self._task.model, self._seed):
            self._watched(self._examples.take(self._rows[: self._batch_size]), self.training.differentiate)

    def _step(self, batch: Batch) -> None:
        if self.training.losses:
            self.training.step(batch)
        else:
            self._watched(batch, self._first)

    def _first(self, batch: Batch) -> float:
        self.training.step(batch)
        return self.training.losses[0]

    def _watched(self, batch: Batch, go: Callable[[Batch], float]) -> None:
        """Do what gives the loss of a batch, and refuse a loss that does not use the targets."""
        with _Uses(self._examples.targets_in(batch)) as uses:
            loss = go(batch)
        if not uses.found and math.isfinite(loss) and self._is_blind(batch):
            raise BuilderError(
                f"the loss of {type(self._task.model).__name__} ({self._task.loss_in_use}) does not use the targets, "
                "so that nothing can be learnt of them. Give a loss, such as "
                "F.cross_entropy: as loss=, or behind the targets in a file's builder."
            )

    def _is_blind(self, batch: Batch) -> bool:
        """Say whether other targets leave the loss as it is; compiled code hides what it takes."""
        flipped = self._examples.targets_in(batch).flip(0)
        found: list[float] = []
        for each in (batch, self._examples.with_targets(batch, flipped)):
            with torch.no_grad(), seeded(self._task.model, self._seed):
                found.append(float(self.training.loss(each)))
        return found[0] == found[1]

    def answers(self, rows: Tensor | None = None) -> Tensor:
        """Return the copy's answers for some examples, in eval mode; without others for those it learns."""
        model, modes = self._task.model, {module: module.training for module in self._task.model.modules()}
        model.eval()
        with torch.no_grad(), seeded(model, self._seed), self._task.context():
            parts = [
                answers_in(call_model(model, self._examples.take(part).inputs)).float().cpu()
                for part in (self._rows if rows is None else rows).split(self._batch_size)
            ]
        for module, mode in modes.items():
            module.training = mode
        return torch.cat(parts)
