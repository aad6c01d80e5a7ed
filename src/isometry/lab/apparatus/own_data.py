"""The data set of somebody's own task, split into what is trained on and what is held out, and copies trained on it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import stdev

from torch import Tensor

from isometry._errors import BuilderError, IsometryError, LabError, ModelError, NotApplicableError, describe
from isometry._phrases import Phrase
from isometry.anatomy.preserve import preserved
from isometry.anatomy.task import Task
from isometry.training.labels.answers import Kind, error_of, error_of_constant, kind_of
from isometry.training.labels.examples import LabelledExamples, labelled_examples, shuffled
from isometry.training.labels.learner import Learner

MIN_EXAMPLES = 50  # of a data set; of fewer none can be held out that say anything
HELD_OUT = 0.2  # share of the data set
SURE = 3.0  # standard errors of a difference: what lies beyond its bound by less is noise
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
        LabError: If too few examples are asked for.
        NotApplicableError: As `own_examples` does.
        BuilderError: Likewise.
        ModelError: Likewise.
    """
    if most < MIN_EXAMPLES:
        raise LabError(f"max_examples={most} was given, and a data set of at least {MIN_EXAMPLES} is needed.")
    examples, kind = own_examples(task, most=most, seed=seed)
    order = shuffled(examples.count, seed=seed)
    count = round(held_out * examples.count)
    return OwnData(examples=examples, train=order[count:], held_out=order[:count], kind=kind)


def own_examples(task: Task, *, most: int, seed: int) -> tuple[LabelledExamples, Kind]:
    """Return the examples of a task that can be learnt, and what kind of targets they have.

    Args:
        task: Nothing in it is changed.
        most: Largest number of examples, drawn without replacement, counts.
        seed: Of the draw.

    Raises:
        NotApplicableError: If the task has no data set, one of too few examples or without targets, targets that its
            answers are not held against one to one, or that are all alike.
        BuilderError: If it has targets and its loss does not use them, which is a mistake.
        ModelError: If the model fails on its batch, or cannot be trained.
    """
    _require_data(task)
    name = type(task.model).__name__
    try:
        examples = labelled_examples(task, most=most, seed=seed)
    except BuilderError as error:  # it has a data set
        raise NotApplicableError(
            Phrase(
                "the data set of {model} has no tensor of targets with one row for each row of its inputs, and this "
                "experiment trains copies on targets. Let the builder return (model, inputs, targets, loss), or a "
                "DataLoader of pairs in the place of the inputs.",
                model=name,
            )
        ) from error
    with preserved(task.model, seed=seed) as guard:
        learner = Learner(task, guard, examples, batch_size=PART, seed=seed)
        answers, targets = learner.answers(), examples.targets.cpu()
        learner.require_use_of_targets()
    try:
        kind = kind_of(answers, targets)
    except BuilderError as error:  # and its loss is one number
        raise NotApplicableError(
            Phrase(
                "{model} answers with shape {answers} to targets of shape {targets}, and this experiment holds each "
                "answer against a target: it needs integer targets for outputs with an axis of classes, or targets of "
                "the outputs' own shape.",
                model=name,
                answers=str(tuple(answers.shape)),
                targets=str(tuple(targets.shape)),
            )
        ) from error
    if not error_of_constant(answers, targets, kind) > 0:
        raise NotApplicableError(
            Phrase(
                "the targets of all {count} examples of {model} are alike, and this experiment trains copies on them: "
                "it needs examples with different targets.",
                count=examples.count,
                model=name,
            )
        )
    return examples, kind


def _require_data(task: Task) -> None:
    """Refuse a task without a data set.

    Raises:
        NotApplicableError: If it has none, or one of too few examples.
        ModelError: If the model fails on its batch.
    """
    require_batch(task, seed=0)
    count = _count_of(task)
    if count < MIN_EXAMPLES:
        found = Phrase("a data set of {count} examples", count=count) if count else Phrase("no data set")
        raise NotApplicableError(
            Phrase(
                "the task of {model} has {found}, and this experiment trains copies: it needs at least {least} "
                "examples. Let the builder return (model, inputs, targets, loss) with all examples and a target each, "
                "or a DataLoader in the place of the inputs.",
                model=type(task.model).__name__,
                found=found,
                least=MIN_EXAMPLES,
            )
        )


def require_batch(task: Task, *, seed: int, name: str = "") -> None:
    """Refuse a model that fails on its batch or has no finite loss there, in a sentence; nothing is changed.

    Args:
        task: Model, batch and step.
        seed: Of dropout.
        name: Of the model; without it that of its class.

    Raises:
        ModelError: If it fails.
    """
    name = name or type(task.model).__name__
    with preserved(task.model, seed=seed):
        try:
            loss = float(task.compute_loss().detach())
        except IsometryError:
            raise
        except Exception as error:
            raise ModelError(f"{name} failed on its batch: {describe(error)}. isometry check says where.") from error
    if not math.isfinite(loss):
        raise ModelError(f"the loss of {name} on its batch is {loss}. isometry check says where that comes from.")


def _count_of(task: Task) -> int:
    """Return the number of examples; of a model that takes its targets among its inputs, those of its batch."""
    if task.examples is not None:
        return task.examples.count
    try:
        found = labelled_examples(task, most=None, seed=0)
    except BuilderError:
        return 0
    return found.count if found.is_among_inputs else 0


def require_classes(task: Task, data: OwnData) -> None:
    """Refuse targets that are numbers, of which no share can be right.

    Raises:
        NotApplicableError: If they are.
    """
    if data.kind == "numbers":
        raise NotApplicableError(
            Phrase(
                "the targets of {model} are numbers, and this experiment counts right answers: it needs classes, or "
                "labels that are on or off. Of numbers you can run vanishing, xavier, depth-scale, symmetry, memorise, "
                "kernels and early-stopping.",
                model=type(task.model).__name__,
            )
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


def noise_of(first: Sequence[float], second: Sequence[float], counts: Sequence[int]) -> float:
    """Return the standard error of the mean difference of two accuracies, points.

    That of held-out examples as if both had others, and what the seeds themselves show if that is more.

    Args:
        first: An accuracy of each seed, per cent.
        second: Another of each.
        counts: Held-out examples of each seed.
    """
    shares = [(each, count) for row in (first, second) for each, count in zip(row, counts, strict=True)]
    right = [((each / 100 * count + 1) / (count + 2), count) for each, count in shares]  # 1 of 1 is not sure to be all
    by_chance = math.sqrt(sum(share * (1 - share) / count for share, count in right)) / len(counts)
    gaps = [one - other for one, other in zip(first, second, strict=True)]
    seen = stdev(gaps) / math.sqrt(len(gaps)) if len(gaps) > 1 else 0.0
    return max(100 * by_chance, seen)


def accuracy(learner: Learner, data: OwnData, rows: Tensor) -> float:
    """Return the share of right answers of a copy about some examples, per cent."""
    targets = data.examples.targets[rows.to(data.examples.targets.device)]
    return 100 * (1 - error_of(learner.answers(rows), targets.cpu(), data.kind))
