"""Losses that sum over the batch: how much larger they make a step of gradient descent, and whether it hurts."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from isometry.anatomy.operations import TRANSPARENT
from isometry.anatomy.tape import Operation
from isometry.probes.comparisons import ComparedTensors, Comparison, ComparisonTable
from isometry.probes.evidence import Evidence, NotMeasuredError, measure, probe
from isometry.probes.statistics import to_floats
from isometry.probes.trial import course_of, trial_of

THROUGH = TRANSPARENT | {"square", "pow", "abs", "mul", "div", "neg", "log", "add", "where", "clamp"}


@dataclass(frozen=True, slots=True)
class SummedReading:
    """A loss that sums what it compares.

    Attributes:
        loss: The loss function.
        times: How many times the mean's gradient it gives, dimensionless.
        optimizer: The optimiser's class if its step grows with the gradient; "" if there is none or it does not.
        has_optimizer: Whether the user gave one.
        step_ratio: Fall of the loss that the first step promises over the loss itself, dimensionless; None without
            such an optimiser.
        end: Loss after a few of the optimiser's steps over that before; infinite if it ceased to be a number, None if
            no step was made.
        mean_end: The like for steps as small as the mean's would be, or between those and the optimiser's, whichever
            is less.
        rises: Sum of all rises on the way with the optimiser's steps, over the loss before; infinite likewise.
    """

    loss: str
    times: float
    optimizer: str
    has_optimizer: bool
    step_ratio: float | None
    end: float | None = None
    mean_end: float | None = None
    rises: float = 0.0


@probe(SummedReading, ComparedTensors)
def measure_sum(evidence: Evidence) -> SummedReading:
    """Return the known loss that sums over most numbers."""
    found = [
        (times, each.name)
        for each in measure(evidence, ComparisonTable).comparisons
        if (times := _times(evidence, each)) is not None
    ]
    if not found:
        raise NotMeasuredError("no known loss sums over the batch")
    times, name = max(found)
    made = None if evidence.task.optimizer_factory is None else _optimizer(evidence)
    is_plain = isinstance(made, torch.optim.SGD) and not made.param_groups[0].get("maximize")
    trial = trial_of(evidence) if is_plain and times > 1 else None
    return SummedReading(
        loss=name,
        times=times,
        optimizer=type(made).__name__ if is_plain else "",
        has_optimizer=made is not None,
        step_ratio=_step_ratio(evidence, made) if is_plain and made is not None else None,
        end=None if trial is None else _end(trial.losses),
        mean_end=None if trial is None else _mean_end(evidence, times),
        rises=0.0 if trial is None else _rises(trial.losses),
    )


def _mean_end(evidence: Evidence, times: float) -> float:
    """Return where the loss goes with steps of a mean, which in few steps may be too short to get anywhere."""
    factors = (1 / times, 1 / math.sqrt(times))
    steps, seed = evidence.steps, evidence.seed
    return min(_end(course_of(evidence.task, steps=steps, seed=seed, rate_factor=each).losses) for each in factors)


def _rises(losses: Sequence[float]) -> float:
    if not all(math.isfinite(loss) for loss in losses) or not losses[0] > 0:
        return math.inf
    return sum(max(after - before, 0.0) for before, after in itertools.pairwise(losses)) / losses[0]


def _end(losses: Sequence[float]) -> float:
    is_finite = all(math.isfinite(loss) for loss in losses)
    return losses[-1] / losses[0] if is_finite and losses[0] > 0 else math.inf


def _times(evidence: Evidence, comparison: Comparison) -> float | None:
    """Return how many times the gradient of a mean a loss gives; None if it is no sum over all it compares."""
    operations, readers = evidence.step.tape.operations, evidence.anatomy.readers
    operation = operations[comparison.operation]
    if operation.settings.get("reduction") == "sum":
        return _weighed(evidence, operation, _num_terms(comparison))
    waiting, seen = list(operation.outputs), set[int]()
    while waiting:
        for node in readers.get(waiting.pop(), ()):
            reader = operations[node]
            before, after = (_size(evidence, values[0]) for values in (reader.inputs, reader.outputs))
            if reader.name == "sum" and after == 1 and before > 1:
                return _weighed(evidence, reader, before)
            if reader.name in THROUGH and node not in seen:
                seen.add(node)
                waiting.extend(reader.outputs)
    return None


def _num_terms(comparison: Comparison) -> int:
    is_classes = comparison.family in {"classes", "log-classes"}
    return math.prod(comparison.shape) // (comparison.shape[comparison.class_axis] if is_classes else 1)


def _size(evidence: Evidence, value: int) -> int:
    return math.prod(evidence.step.tape.values[value].shape)


def _weighed(evidence: Evidence, operation: Operation, count: int) -> float | None:
    """Return a number of terms times the weight that their sum has in the loss."""
    numbers = evidence.numbers.get(operation.index)
    weight = None if numbers is None else numbers.gradient_rms
    return None if weight is None else count * weight


def _optimizer(evidence: Evidence) -> torch.optim.Optimizer | None:
    """Return the user's optimiser on stand-ins that share the weights' memory; no step is made."""
    factory = evidence.task.optimizer_factory
    trainable = [each for each in evidence.task.model.parameters() if each.requires_grad]
    return None if factory is None else factory([nn.Parameter(each.detach()) for each in trainable])


def _step_ratio(evidence: Evidence, optimizer: torch.optim.Optimizer) -> float:
    """Return lr ‖g‖² / loss: what a step takes off a loss that falls in a straight line, over what is there."""
    group = optimizer.param_groups[0]
    gradients = [each for parts in evidence.step.gradients.values() for each in parts if each is not None]
    norms: list[Tensor] = [torch.linalg.vector_norm(each, dtype=torch.float64) for each in gradients]
    square = sum(value**2 for value in to_floats(norms))
    loss = abs(float(evidence.step.loss))
    return float(group["lr"]) * square / loss if loss > 0 else 0.0
