"""Whether the targets of a loss are what it is made for, and whether they meet the outputs one to one."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from isometry._phrases import Phrase
from isometry.anatomy.operations import TRANSPARENT
from isometry.probes.comparisons import ComparedTensors, Comparison, ComparisonTable
from isometry.probes.evidence import Evidence, measure, probe
from isometry.probes.outputs import layers_before

ROUNDING = 1e-3  # of targets in half precision that should be 0, 1 or a sum of 1
MAX_TOTAL = 2.0  # of the shares of a sample that weights or a smoothing by hand leave
MOSTLY = 0.5  # share of the samples; a few negative shares come from a filter or a correction
NO_LABEL = -100  # what cross_entropy and nll_loss leave out by default
MADE_FOR_PAIRS = frozenset({"unsqueeze", "getitem"})  # who adds an axis on purpose wants every pair


@dataclass(frozen=True, slots=True)
class TargetReading:
    """The targets of one loss.

    Attributes:
        loss: The loss function.
        wanted: What it takes, in words.
        outside_share: Share of targets that are something else, in [0, 1].
        is_certain: Whether the loss has no meaning for them; else someone may want it so.
        low: Least target.
        high: Largest target.
    """

    loss: str
    wanted: str
    outside_share: float
    is_certain: bool
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class TargetTable:
    """The targets of all losses that are known and take no others."""

    readings: tuple[TargetReading, ...]


@dataclass(frozen=True, slots=True)
class Broadcast:
    """Outputs and targets of different shapes that a loss compared.

    Attributes:
        loss: The loss function; or the difference that is squared.
        where: The layers that make the outputs.
        outputs: Shape of the outputs.
        targets: Shape of the targets.
        num_compared: Pairs that were compared, counts.
        num_targets: Targets, counts.
        is_outer: Whether every output met every target of the batch.
    """

    loss: str
    where: tuple[str, ...]
    outputs: tuple[int, ...]
    targets: tuple[int, ...]
    num_compared: int
    num_targets: int
    is_outer: bool


@dataclass(frozen=True, slots=True)
class BroadcastTable:
    """All comparisons of different shapes."""

    broadcasts: tuple[Broadcast, ...]


@probe(TargetTable, ComparedTensors)
def read_targets(evidence: Evidence) -> TargetTable:
    """Read the targets of each known loss."""
    readings = (_reading(evidence, each) for each in measure(evidence, ComparisonTable).comparisons)
    return TargetTable(tuple(each for each in readings if each is not None))


def _reading(evidence: Evidence, comparison: Comparison) -> TargetReading | None:
    targets = comparison.targets
    if targets is None or not targets.numel():
        return None
    settings = evidence.step.tape.operations[comparison.operation].settings
    if not targets.is_floating_point():
        found = _labels(comparison, targets, settings.get("ignore_index", NO_LABEL))
    elif not bool(targets.isfinite().all()):
        return None  # nan-inf says so
    elif comparison.family == "divergence":
        found = _distribution(comparison, targets, is_log=bool(settings.get("log_target")))
    else:
        found = _numbers(comparison, targets)
    if found is None:
        return None
    wanted, outside, is_certain = found
    share = float(outside.double().mean())
    return TargetReading(
        comparison.name, wanted, share, is_certain, low=float(targets.min()), high=float(targets.max())
    )


_Found = tuple[str, Tensor, bool]


def _labels(comparison: Comparison, targets: Tensor, ignored: Any) -> _Found | None:
    if comparison.family in {"classes", "log-classes"}:
        outside = targets == ignored
        return Phrase("labels that are not left out"), outside.all().reshape(1), True
    return _numbers(comparison, targets.float())


def _numbers(comparison: Comparison, targets: Tensor) -> _Found | None:
    match comparison.family:
        case "binary":
            return Phrase("numbers in [0, 1]"), (targets < -ROUNDING) | (targets > 1 + ROUNDING), True
        case "margin":
            return Phrase("labels -1 and 1"), (targets.abs() - 1).abs() > ROUNDING, True
        case "rate":
            return Phrase("counts, which are not negative"), targets < 0, True
        case "classes":
            return _soft_labels(comparison, targets)
        case _:
            return None


def _soft_labels(comparison: Comparison, targets: Tensor) -> _Found | None:
    """Several labels at once where the loss shares one out, or numbers that are no shares of it."""
    # One number alone in a row is a weighted label, as of a policy, and meant; so are weights on shares.
    if targets.shape != comparison.shape:
        return None
    wide, axis = targets.double(), comparison.class_axis
    several = (wide != 0).sum(axis) > 1
    if bool(((targets == 0) | (targets == 1)).all()):
        return Phrase("one label of each sample"), wide.sum(axis) > 1 + ROUNDING, False
    negative = (wide < -ROUNDING).any(axis) & several
    if float(negative.double().mean()) > MOSTLY:
        return Phrase("labels, or probabilities that are not negative and sum to 1"), negative, True
    return Phrase("labels, or probabilities that sum to 1"), (wide.sum(axis) > MAX_TOTAL) & several, False


def _distribution(comparison: Comparison, targets: Tensor, *, is_log: bool) -> _Found | None:
    """Targets of a divergence: probabilities, or their logarithms if the loss is told so."""
    if is_log:
        return Phrase("logarithms of probabilities"), targets > ROUNDING, True
    if bool((targets < 0).any()):
        return Phrase("probabilities"), targets < 0, True
    wide, axis = targets.double(), min(comparison.class_axis, targets.ndim - 1)
    ends = [tuple(range(first, targets.ndim)) for first in range(targets.ndim)]  # places of a map share them as well
    off = [((sums := wide.sum(each)) - 1).abs().gt(10 * ROUNDING) & (sums != 0) for each in (*ends, (axis,))]
    return Phrase("probabilities that sum to 1"), min(off, key=lambda each: float(each.double().mean())), False


@probe(BroadcastTable, ComparedTensors)
def find_broadcasts(evidence: Evidence) -> BroadcastTable:
    """Return the comparisons whose outputs and targets have different shapes."""
    found = (_broadcast(evidence, each) for each in measure(evidence, ComparisonTable).comparisons)
    return BroadcastTable(tuple(each for each in found if each is not None))


def _broadcast(evidence: Evidence, comparison: Comparison) -> Broadcast | None:
    targets = comparison.targets
    if comparison.family not in {"distance", "rate"} or targets is None or targets.numel() <= 1:
        return None
    shape, other = comparison.shape, tuple(targets.shape)
    if shape == other or math.prod(shape) <= 1:
        return None
    together = torch.broadcast_shapes(shape, other)
    if math.prod(together) == math.prod(shape) == math.prod(other):
        return None  # axes of length 1 apart: each meets its own
    is_outer = math.prod(together) > max(math.prod(shape), math.prod(other)) and _is_same_batch(shape, other)
    if (comparison.is_by_hand and not is_outer) or _is_meant(evidence, comparison):
        return None
    where = () if comparison.prediction is None else layers_before(evidence, comparison.prediction)
    return Broadcast(
        loss=comparison.name,
        where=where,
        outputs=shape,
        targets=other,
        num_compared=math.prod(together),
        num_targets=math.prod(other),
        is_outer=is_outer,
    )


def _is_same_batch(shape: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Say whether two shapes are one but for axes of length 1, and begin with the same samples."""
    return [each for each in shape if each > 1] == [each for each in other if each > 1] and shape[0] == other[0] > 1


def _is_meant(evidence: Evidence, comparison: Comparison) -> bool:
    """Say whether an operand got an axis of length 1 on purpose, as for distances of all pairs."""
    # Who calls a loss function with one axis more on one side alone put it there to make the shapes fit, and did not.
    has_one_rank = comparison.targets is not None and len(comparison.shape) == comparison.targets.ndim
    return (comparison.is_by_hand or has_one_rank) and any(
        _has_axis_for_pairs(evidence, each) for each in (comparison.prediction, comparison.target)
    )


def _has_axis_for_pairs(evidence: Evidence, value: int | None) -> bool:
    tape = evidence.step.tape
    while value is not None:
        producer = tape.values[value].producer
        operation = None if producer is None else tape.operations[producer]
        if operation is None or operation.name not in TRANSPARENT or not operation.inputs:
            return False
        shape, before = tape.values[value].shape, tape.values[operation.inputs[0]].shape
        if operation.name in MADE_FOR_PAIRS and 1 in shape and len(before) < len(shape):
            return True
        value = operation.inputs[0]
    return False
