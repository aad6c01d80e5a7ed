"""Norms that see too few numbers: what is normalised over one number alone is lost."""

import math
from dataclasses import dataclass

from isometry.anatomy.tape import Operation
from isometry.probes.evidence import Evidence, NotMeasuredError, probe, structural

_TRAINING, _GROUPS = ("training", "5"), ("num_groups", "1")


@dataclass(frozen=True, slots=True)
class NormGroup:
    """One norm, and over how much it normalises.

    Attributes:
        where: The module it runs in, or the operation.
        name: The function.
        num_numbers: Numbers that share a mean and a deviation, counts.
        num_samples: Samples in the batch, counts.
        is_over_batch: Whether the samples of the batch are among them.
    """

    where: str
    name: str
    num_numbers: int
    num_samples: int
    is_over_batch: bool


@structural
@dataclass(frozen=True, slots=True)
class NormTable:
    """All norms on the way to the loss whose groups are known."""

    norms: tuple[NormGroup, ...]


@probe(NormTable)
def find_norms(evidence: Evidence) -> NormTable:
    """Count what each norm normalises over."""
    operations = (evidence.step.tape.operations[node] for node in evidence.anatomy.flow.nodes)
    found = (_group(evidence, operation) for operation in operations)
    norms = tuple(each for each in found if each is not None)
    if not norms:
        raise NotMeasuredError("there is no norm whose groups are known")
    return NormTable(norms)


def _group(evidence: Evidence, operation: Operation) -> NormGroup | None:
    tape = evidence.step.tape
    if operation.name not in {"batch_norm", "group_norm", "layer_norm", "sub"} or not operation.outputs:
        return None
    shape = tape.values[operation.outputs[0]].shape
    if operation.name == "sub":
        count = 1 if len(shape) > 1 and _is_less_own_mean(evidence, operation) else None
    else:
        count = _count(operation, shape)
    if count is None:
        return None
    where = operation.module or tape.label(operation)
    name = "a difference from the mean" if operation.name == "sub" else operation.name
    return NormGroup(where, name, count, next(iter(shape), 1), is_over_batch=operation.name == "batch_norm")


def _is_less_own_mean(evidence: Evidence, operation: Operation) -> bool:
    """Say whether a subtraction takes from numbers the mean over an axis of length 1, which is themselves."""
    tape = evidence.step.tape
    match operation.inputs:
        case (whole, mean):
            producer = tape.values[mean].producer
        case _:
            return False
    is_mean = producer is not None and tape.operations[producer].name == "mean"
    is_own = producer is not None and tape.operations[producer].inputs == (whole,)
    return is_mean and is_own and math.prod(tape.values[mean].shape) == math.prod(tape.values[whole].shape) > 1


def _count(operation: Operation, shape: tuple[int, ...]) -> int | None:
    settings = operation.settings
    if len(shape) <= 1:
        return None
    if operation.name == "batch_norm":
        is_training = any(settings.get(key) is True for key in _TRAINING)
        return math.prod(shape) // max(shape[1], 1) if is_training else None
    if operation.name == "group_norm":
        groups = next((settings[key] for key in _GROUPS if key in settings), None)
        return math.prod(shape[1:]) // groups if isinstance(groups, int) and groups else None
    weights = [use.shape for use in operation.parameters if use.role == "norm"]
    return math.prod(weights[0]) if weights else None
