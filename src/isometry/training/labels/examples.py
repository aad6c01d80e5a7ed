"""A data set in memory whose targets can be exchanged for others."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor

from isometry._errors import BuilderError
from isometry.anatomy.task import Batch, Task, map_tensors, tensors_in

SHUFFLE = 2_718_281  # added to seeds of shuffles, so that none is what a builder draws with the same seed
LABELS = "labels"  # where the models of transformers take theirs, among their inputs


@dataclass(frozen=True, slots=True)
class LabelledExamples:
    """Inputs with a target each.

    Attributes:
        inputs: What the model takes, with an example a row in every tensor.
        targets: One row for each example.
        rows: Which examples of the task's data set they are.
        is_among_inputs: Whether the model takes its targets as the input `labels`.
    """

    inputs: Any
    targets: Tensor
    rows: tuple[int, ...]
    is_among_inputs: bool = False

    @property
    def count(self) -> int:
        """Number of examples."""
        return len(self.targets)

    def take(self, rows: Tensor) -> Batch:
        """Return the batch of some examples, by their places here."""
        inputs = map_tensors(self.inputs, lambda tensor: tensor[rows.to(tensor.device)])
        targets = self.targets[rows.to(self.targets.device)]
        return Batch({**inputs, LABELS: targets}) if self.is_among_inputs else Batch(inputs, targets)

    def targets_in(self, batch: Batch) -> Tensor:
        """Return the targets of a batch that `take` returned."""
        return cast("Any", batch.inputs)[LABELS] if self.is_among_inputs else cast("Tensor", batch.targets)

    def with_targets(self, batch: Batch, targets: Tensor) -> Batch:
        """Return a batch with other targets."""
        if self.is_among_inputs:
            return Batch({**cast("Any", batch.inputs), LABELS: targets})
        return Batch(batch.inputs, targets)

    def relabelled(self, targets: Tensor) -> "LabelledExamples":
        """Return the same inputs with other targets."""
        return replace(self, targets=targets)


def labelled_examples(task: Task, *, most: int | None, seed: int) -> LabelledExamples:
    """Return the examples of a task with their targets.

    Args:
        task: The task.
        most: Largest number of examples, drawn without replacement; None for all of them in their order.
        seed: Seed of that choice.

    Raises:
        BuilderError: If the task has no examples with a target each.
    """
    if task.examples is None:
        labelled = _of_batch(task, task.batch, ())
        rows = _rows(labelled.count, most, seed=seed)
        batch = labelled.take(rows)
    else:
        rows = _rows(task.examples.count, most, seed=seed)
        batch = task.examples.take(rows.tolist())
    return _of_batch(task, batch, tuple(rows.tolist()))


def shuffled(count: int, *, seed: int) -> Tensor:
    """Return so many places in a random order that is not that of `randperm` with the same seed.

    A builder that draws wrong labels as the first of `randperm` would else have just those held out, or left in.

    Args:
        count: Of the places.
        seed: Of the order.

    Returns:
        Each of [0, count) once.
    """
    return torch.randperm(count, generator=torch.Generator().manual_seed(SHUFFLE + seed))


def _rows(count: int, most: int | None, *, seed: int) -> Tensor:
    if most is None or count <= most:
        return torch.arange(count)
    return shuffled(count, seed=seed)[:most]


def _of_batch(task: Task, batch: object, rows: tuple[int, ...]) -> LabelledExamples:
    inputs, targets = _parts(batch)
    tensors = list(tensors_in(inputs))
    is_paired = targets is not None and all(tensor.ndim and len(tensor) == len(targets) for tensor in tensors)
    if targets is None or not tensors or not is_paired:
        raise BuilderError(
            f"the task of {type(task.model).__name__} has no tensor of targets with one row for each row of its "
            f"inputs (found: {_told(batch)}), and targets are to be exchanged. Give both as tensors: (model, inputs, "
            "targets, loss=...), or a DataLoader of pairs."
        )
    return LabelledExamples(inputs, targets, rows, isinstance(batch, Batch) and batch.targets is None)


def _parts(batch: object) -> tuple[Any, Tensor | None]:
    """Return inputs and targets of a batch, also where the targets are among the inputs."""
    if not isinstance(batch, Batch):
        return None, None
    inputs, targets = batch.inputs, batch.targets
    if targets is None and isinstance(inputs, Mapping):
        parts: dict[str, Any] = dict(inputs)
        targets = parts.pop(LABELS, None)
        inputs = parts
    return inputs, targets if isinstance(targets, Tensor) and targets.ndim else None


def _told(batch: object) -> str:
    if not isinstance(batch, Batch):
        return type(batch).__name__
    return f"inputs {type(batch.inputs).__name__}, targets {type(batch.targets).__name__}"
