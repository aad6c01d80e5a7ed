"""The data set of somebody's own task, split into what is trained on and what is held out, and copies trained on it."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from isometry._errors import LabError
from isometry.anatomy.preserve import preserved
from isometry.anatomy.task import Task
from isometry.training.labels.answers import Kind, error_of, kind_of
from isometry.training.labels.examples import LabelledExamples, labelled_examples
from isometry.training.labels.learner import Learner

MIN_EXAMPLES = 50  # of a data set; of fewer none can be held out that say anything
HELD_OUT = 0.2  # share of the data set
PART = 256  # examples of a forward pass that only looks


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnData:
    """A data set in memory.

    Attributes:
        examples: Inputs with a target each.
        train: Places of those that are trained on.
        held_out: Places of the others.
        kind: What its targets are.
    """

    examples: LabelledExamples
    train: Tensor
    held_out: Tensor
    kind: Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Schooling:
    """How copies are trained.

    Attributes:
        num_epochs: Passes over the examples, counts.
        batch_size: Examples of a step, counts.
        seed: Of their order and of dropout.
    """

    num_epochs: int
    batch_size: int
    seed: int


def own_data(task: Task, *, most: int, seed: int, held_out: float = HELD_OUT) -> OwnData:
    """Return the data set of a task, a part of it held out.

    Args:
        task: Nothing in it is changed.
        most: Largest number of examples, drawn without replacement, counts.
        seed: Of the draw and of the split.
        held_out: Share that is held out, in (0, 1).

    Raises:
        LabError: If the task has no data set, or one of too few examples.
        BuilderError: If its examples have no target each.
    """
    require_data(task)
    examples = labelled_examples(task, most=most, seed=seed)
    order = torch.randperm(examples.count, generator=torch.Generator().manual_seed(seed))
    count = round(held_out * examples.count)
    with preserved(task.model, seed=seed) as guard:
        learner = Learner(task, guard, examples, batch_size=len(order), seed=seed, rows=order[:count])
        kind = kind_of(learner.answers(), examples.targets[order[:count]].cpu())
    return OwnData(examples=examples, train=order[count:], held_out=order[:count], kind=kind)


def require_data(task: Task) -> None:
    """Refuse a task without a data set.

    Raises:
        LabError: If it has none, or one of too few examples.
    """
    if task.examples is None or task.examples.count < MIN_EXAMPLES:
        found = "no data set" if task.examples is None else f"a data set of {task.examples.count} examples"
        raise LabError(
            f"the task of {type(task.model).__name__} has {found}, and this experiment trains copies: it needs at "
            f"least {MIN_EXAMPLES} examples. Let the builder return (model, inputs, targets, loss) with all examples "
            "and a target each, or a DataLoader in the place of the inputs."
        )


def require_classes(task: Task, data: OwnData) -> None:
    """Refuse targets that are numbers, of which no share can be right.

    Raises:
        LabError: If they are.
    """
    if data.kind == "numbers":
        raise LabError(
            f"the targets of {type(task.model).__name__} are numbers, and this experiment counts right answers: it "
            "needs classes, or labels that are on or off. Of numbers you can run vanishing, xavier, depth-scale, "
            "symmetry, memorise, kernels and early-stopping."
        )


def train(task: Task, data: OwnData, schooling: Schooling, *, look: Callable[[Learner, int], None]) -> None:
    """Train a copy of a task's network with the task's own optimiser, or Adam, and look at it after every epoch.

    Args:
        task: Nothing in it is changed.
        data: What the copy is trained on.
        schooling: How long, and in which batches.
        look: Is given the copy and the number of epochs that are done, the first time before any.

    Raises:
        ModelError: If the network cannot be copied, or its loss carries no gradient.
    """
    with preserved(task.model, seed=schooling.seed) as guard:
        learner = Learner(
            task, guard, data.examples, batch_size=schooling.batch_size, seed=schooling.seed, rows=data.train
        )
        look(learner, 0)
        for epoch in range(1, schooling.num_epochs + 1):
            learner.learn()
            look(learner, epoch)


def loss_on(learner: Learner, data: OwnData, rows: Tensor) -> float:
    """Return the task's own loss of a copy on some examples, in eval mode and in parts, in loss units."""
    model = learner.training.task.model
    modes = {module: module.training for module in model.modules()}
    model.eval()
    total = 0.0
    for part in rows.split(PART):  # with gradients on, as in training: some steps differentiate on their way
        total += len(part) * float(learner.training.loss(data.examples.take(part)).detach())
    for module, mode in modes.items():
        module.training = mode
    return total / len(rows)


def accuracy(learner: Learner, data: OwnData, rows: Tensor) -> float:
    """Return the share of right answers of a copy about some examples, per cent."""
    targets = data.examples.targets[rows.to(data.examples.targets.device)]
    return 100 * (1 - error_of(learner.answers(rows), targets.cpu(), data.kind))
