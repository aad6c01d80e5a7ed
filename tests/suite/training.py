"""Training of the suite's programs as their users would, and the numbers that their users look at."""

import math
from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

from isometry.anatomy.task import Batch, Task, call_model

Metric = Callable[[Task], float]

MINIBATCH = 64  # examples
DRAWS = 4  # evaluations that are averaged, for losses that draw random numbers


def train(task: Task, steps: int) -> str:
    """Train a task with its own optimiser, or Adam at 1e-3; return what stopped it, or nothing."""
    trained = [parameter for parameter in task.model.parameters() if parameter.requires_grad]
    factory = task.optimizer_factory
    optimizer = factory(task.model.parameters()) if factory else torch.optim.Adam(trained, lr=1e-3)
    for step in range(steps):
        batch = task.examples.random_batch(MINIBATCH, seed=step) if task.examples else task.batch
        optimizer.zero_grad()
        try:
            replace(task, batch=batch).compute_loss().backward()
        except (RuntimeError, ValueError) as error:
            return type(error).__name__
        optimizer.step()
    return ""


def evaluated(task: Task, metric: Metric) -> float:
    """Return a metric of the task's batch in evaluation mode, with random numbers that are the same at each call."""
    was_training = task.model.training
    task.model.eval()
    with torch.random.fork_rng():
        torch.manual_seed(7)
        value = metric(task)
    task.model.train(was_training)
    return value


def loss_of_batch(task: Task) -> float:
    """The task's own loss."""
    return sum(float(task.compute_loss().detach()) for _ in range(DRAWS)) / DRAWS


def loss_while_training(task: Task) -> float:
    """The task's own loss in training mode, where the two modes differ by design."""
    task.model.train()
    return loss_of_batch(task)


def outputs_of(task: Task) -> Tensor:
    with torch.no_grad():
        return call_model(task.model, task.batch.inputs)


def targets_of(task: Task) -> Tensor:
    assert isinstance(task.batch, Batch)
    assert isinstance(task.batch.targets, Tensor)
    return task.batch.targets


def errors(task: Task) -> float:
    """Share of examples whose largest output is not their label; 1 for outputs that are not numbers."""
    outputs, targets = outputs_of(task), targets_of(task)
    if not outputs.isfinite().all():
        return 1.0
    return float((outputs.argmax(1) != targets).float().mean())


def errors_one_by_one(task: Task) -> float:
    """Share of wrong labels where each example is shown alone, as it is when the model serves."""
    assert isinstance(task.batch, Batch)
    with torch.no_grad():
        outputs = torch.cat([task.model(row[None]) for row in task.batch.inputs])
    return float((outputs.argmax(1) != targets_of(task)).float().mean())


def errors_above(threshold: float) -> Metric:
    """Share of examples on the wrong side of a threshold; targets above one half are positive."""

    def metric(task: Task) -> float:
        outputs, targets = outputs_of(task).flatten(), targets_of(task).flatten()
        if not outputs.isfinite().all():
            return 1.0
        return float(((outputs > threshold) != (targets > 0.5)).float().mean())

    return metric


def squares(task: Task) -> float:
    """Mean squared error, one output to one target whatever their shapes."""
    return float(F.mse_loss(outputs_of(task).flatten(), targets_of(task).flatten().float()))


def unexplained(task: Task) -> float:
    """Share of the targets' variance that the outputs leave, which has no unit."""
    return squares(task) / float(targets_of(task).float().var())


def log_loss(task: Task) -> float:
    """Cross-entropy of the outputs, read as logits or as their logarithms."""
    return float(F.cross_entropy(outputs_of(task), targets_of(task)))


def absolutes(task: Task) -> float:
    """Mean absolute error, one output to one target whatever their shapes."""
    return float(F.l1_loss(outputs_of(task).flatten(), targets_of(task).flatten().float()))


def is_learnt(start: float, end: float) -> bool:
    """Say whether a metric has visibly fallen."""
    return math.isfinite(end) and (not math.isfinite(start) or start - end > 0.1 * abs(start))
