"""A copy of a model that learns a data set epoch by epoch, and is asked for its answers in between."""

import torch
from torch import Tensor

from isometry.anatomy.preserve import Guard, seeded
from isometry.anatomy.task import Task, call_model
from isometry.probes.training import Training
from isometry.training.labels.answers import answers_in
from isometry.training.labels.examples import LabelledExamples

MIN_BATCH = 2  # of a single example batch norm cannot take a deviation


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

    def learn(self) -> None:
        """Go through the examples once, in a new order."""
        order = torch.Generator().manual_seed(1_000_003 * self._seed + self._epoch)
        rows = self._rows[torch.randperm(len(self._rows), generator=order)]
        with seeded(self._task.model, 1_000_003 * self._seed + self._epoch):
            for part in rows.split(self._batch_size):
                if len(part) >= min(MIN_BATCH, len(rows)):
                    self.training.step(self._examples.take(part))
        self._epoch += 1

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
