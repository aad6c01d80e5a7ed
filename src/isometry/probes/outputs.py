"""What stands between the last layer and the loss: which numbers it can give, and whether targets are among them."""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from isometry.anatomy.activations import MAX_OPERATIONS, Activation
from isometry.anatomy.operations import LINEAR_ELEMENTWISE, TRANSPARENT
from isometry.anatomy.reading import Anatomy
from isometry.anatomy.tape import Operation
from isometry.probes.comparisons import ComparedTensors, Comparison, ComparisonTable, axis_of_softmax
from isometry.probes.evidence import Evidence, measure, probe

SOFTMAXES = frozenset({"softmax", "log_softmax"})
FAR, VERY_FAR = 1e3, 1e6  # an activation that still grows between the two has no bound
STILL_GROWS = 0.01  # by this share of its size; softsign, the slowest of the bounded ones, grows by 0.001
SUM_TOLERANCE = 0.01  # of a sum of probabilities; half precision and a constant inside a logarithm leave less
CHOOSES = frozenset({"gather", "index_select", "masked_select", "take", "take_along_dim"})  # and so keep the range
SURELY = 0.99  # share of rows that sum to one, where all do but for rounding


@dataclass(frozen=True, slots=True)
class Reach:
    """What can stand behind the last layer.

    Attributes:
        activation: Name of the last activation; "" if there is none.
        module: Path of the module it ran in; "" for the root, or if it is a function.
        low: Least number it can give.
        high: Largest number it can give.
        is_cut: Whether it is flat below, as ReLU is.
        softmax_axis: Axis that a softmax among it normalises over; None without one.
        softmax_dim: Length of that axis.
        num_axes: Axes of what the softmax gave.
    """

    activation: str = ""
    module: str = ""
    low: float = -math.inf
    high: float = math.inf
    is_cut: bool = False
    softmax_axis: int | None = None
    softmax_dim: int = 0
    num_axes: int = 0

    @property
    def is_bounded(self) -> bool:
        """Whether there is a least and a largest number."""
        return math.isfinite(self.low) and math.isfinite(self.high)


@dataclass(frozen=True, slots=True)
class OutputReading:
    """The outputs that one loss reads.

    Attributes:
        comparison: The loss, its outputs and its targets.
        where: The module of the last activation and the layers that make the outputs.
        reach: What the outputs can be.
        num_choices: Classes the loss chooses from; None where it chooses from none.
        is_distribution: Whether the outputs of every sample are at least 0 and sum to 1.
        log_total: Median over samples of the logarithm of the sum of the outputs' exponentials, 0 for logarithms of
            probabilities; None for outputs that are no classes.
        is_log_rate: Whether the loss takes the exponential of its outputs, as that of counts does.
    """

    comparison: Comparison
    where: tuple[str, ...]
    reach: Reach
    num_choices: int | None
    is_distribution: bool
    log_total: float | None
    is_log_rate: bool = False


@dataclass(frozen=True, slots=True)
class OutputTable:
    """The outputs of all losses that are known."""

    readings: tuple[OutputReading, ...]


@probe(OutputTable, ComparedTensors)
def read_outputs(evidence: Evidence) -> OutputTable:
    """Read what each known loss is given."""
    return OutputTable(tuple(_reading(evidence, each) for each in measure(evidence, ComparisonTable).comparisons))


def _reading(evidence: Evidence, comparison: Comparison) -> OutputReading:
    reach, where = Reach(), tuple(layer.name for layer in evidence.anatomy.heads)
    if comparison.prediction is not None:
        reach = reach_of(evidence.anatomy, comparison.prediction)
        where = tuple(dict.fromkeys((*filter(None, [reach.module]), *layers_before(evidence, comparison.prediction))))
    is_classes = comparison.family in {"classes", "log-classes", "divergence", "log-softmax"}
    rows = comparison.outputs.float() if is_classes and comparison.outputs.numel() else None
    return OutputReading(
        comparison=comparison,
        where=where,
        reach=reach,
        num_choices=comparison.shape[comparison.class_axis] if is_classes and comparison.shape else None,
        is_distribution=_is_distribution(comparison.outputs) if comparison.outputs.ndim > 1 else False,
        log_total=None if rows is None else float(rows.logsumexp(-1).median()),
        is_log_rate=comparison.family == "rate" and _takes_logarithm(evidence, comparison),
    )


def _takes_logarithm(evidence: Evidence, comparison: Comparison) -> bool:
    settings = evidence.step.tape.operations[comparison.operation].settings
    return settings.get("log_input", settings.get("2", True)) is not False


def _is_distribution(outputs: Tensor) -> bool:
    rows = outputs.float()
    if rows.shape[-1] == 1 or bool((rows < 0).any()):
        return False
    sums = (rows.sum(-1) - 1).abs() < SUM_TOLERANCE
    return float(sums.float().mean()) > SURELY


def layers_before(evidence: Evidence, value: int) -> tuple[str, ...]:
    """Return the names of the nearest layers with weights that a value is made by."""
    tape, flow = evidence.step.tape, evidence.anatomy.flow
    producer = tape.values[value].producer
    makers = [] if producer is None else [producer]
    passed = flow.back_from(makers, until=lambda node: bool(tape.operations[node].weights))
    layers = [tape.operations[node] for node in sorted(passed, reverse=True) if tape.operations[node].weights]
    return tuple(dict.fromkeys(map(tape.label, layers)))


def reach_of(anatomy: Anatomy, value: int) -> Reach:
    """Return which numbers a value can hold, from the activations it last passed through."""
    tape = anatomy.tape
    while True:
        producer = tape.values[value].producer
        if producer is None:
            return Reach()
        operation = tape.operations[producer]
        if operation.name in SOFTMAXES:
            return _reach_of_softmax(anatomy, operation)
        if operation.name in TRANSPARENT | CHOOSES and operation.inputs:
            value = operation.inputs[0]
            continue
        region = _region_before(anatomy, value)
        return Reach() if region is None else _reach_through(anatomy, region)


def _reach_of_softmax(anatomy: Anatomy, operation: Operation) -> Reach:
    shape = anatomy.tape.values[operation.outputs[0]].shape
    axis = axis_of_softmax(operation, len(shape))
    is_log = operation.name == "log_softmax"
    return Reach(
        activation=operation.name,
        module=operation.module,
        low=-math.inf if is_log else 0.0,
        high=0.0 if is_log else 1.0,
        softmax_axis=axis,
        softmax_dim=shape[axis] if shape else 1,
        num_axes=len(shape),
    )


def _region_before(anatomy: Anatomy, value: int) -> Activation | None:
    """Return the elementwise operations that make a value from one other; None if there are none, or it has several."""
    tape = anatomy.tape
    inside: set[int] = set()
    waiting, entries = [value], set[int]()
    while waiting and len(inside) < MAX_OPERATIONS:
        each = waiting.pop()
        producer = tape.values[each].producer
        operation = None if producer is None else tape.operations[producer]
        if operation is None or not _is_elementwise(anatomy, operation):
            entries.add(each)
        elif operation.index not in inside:
            inside.add(operation.index)
            waiting.extend(operation.inputs)
    if waiting or len(entries) != 1 or not inside:
        return None
    ordered = tuple(sorted(inside))
    names = [name for index in ordered if (name := tape.operations[index].name) not in LINEAR_ELEMENTWISE]
    return Activation(", ".join(names), entries.pop(), value, ordered, tape)


def _is_elementwise(anatomy: Anatomy, operation: Operation) -> bool:
    scalars = all(math.prod(use.shape) == 1 for use in operation.parameters)
    return operation.index in anatomy.tape.elementwise and bool(operation.inputs) and scalars


def _reach_through(anatomy: Anatomy, region: Activation) -> Reach:
    """Return what an activation makes of the numbers that its input can be."""
    inner = reach_of(anatomy, region.entry)
    low, high, is_cut = _range_of(region, inner)
    named = [index for index in region.operations if anatomy.tape.operations[index].name not in LINEAR_ELEMENTWISE]
    return replace(
        inner,
        activation=region.name or inner.activation,
        module=anatomy.tape.operations[named[-1]].module if named else inner.module,
        low=low,
        high=high,
        is_cut=is_cut,
    )


def _range_of(region: Activation, inner: Reach) -> tuple[float, float, bool]:
    """Return the least and the largest number of an activation, and whether it is flat far below."""
    near = np.concatenate([np.linspace(-20, 20, 4001), np.geomspace(20, FAR, 200), -np.geomspace(20, FAR, 200)])
    far = np.concatenate([np.geomspace(FAR, VERY_FAR, 50), -np.geomspace(FAR, VERY_FAR, 50)])
    try:
        numbers = [region(part.clip(inner.low, inner.high)) for part in (near, far)]
        tail = region(np.linspace(-12.0, -8.0, 5).clip(inner.low, inner.high))
    except (KeyError, RuntimeError, TypeError):  # a part of it was too large to keep, or does not take such numbers
        return -math.inf, math.inf, False
    low, high = (_bound(numbers, sign) for sign in (-1, 1))
    is_cut = math.isfinite(low) and not math.isfinite(high) and bool((tail == tail[0]).all())
    return -low if low else 0.0, high, is_cut


def _bound(numbers: list[np.ndarray], sign: int) -> float:
    """Return the largest of sign times the numbers, infinite if it still grows far out."""
    near, far = (sign * part[~np.isnan(part)] for part in numbers)
    if not near.size or not far.size:
        return math.inf
    top, end = float(near.max()), float(far.max())
    return math.inf if end > top + STILL_GROWS * max(abs(top), STILL_GROWS) else max(top, end)


def share_out_of_reach(targets: Tensor, reach: Reach) -> tuple[float, float]:
    """Return how many targets an output cannot reach, and what that costs.

    Args:
        targets: Of a regression.
        reach: What the outputs can be.

    Returns:
        The share of targets out of reach, in [0, 1], and their mean square distance over the targets' variance.
    """
    wide = targets.double()
    nearest = wide.clamp(reach.low, reach.high)
    margin = SUM_TOLERANCE * (reach.high - reach.low if reach.is_bounded else 1.0)
    missed = (wide - nearest).abs()
    variance = float(wide.var(correction=0)) if wide.numel() > 1 else 0.0
    cost = float(missed.square().mean())
    return float((missed > margin).double().mean()), cost / variance if variance else math.inf if cost else 0.0


def least_binary_loss(targets: Tensor, *, low: float, high: float) -> float:
    """Return what binary cross-entropy keeps at least if its probabilities lie in [low, high], over that of a coin.

    Args:
        targets: In [0, 1].
        low: Least probability, in [0, 1].
        high: Largest probability, in [0, 1].

    Returns:
        The loss above that of perfect probabilities, as a share of ln 2.
    """
    wide = targets.double().clamp(0, 1)
    best = wide.clamp(low, high).clamp(1e-12, 1 - 1e-12)
    entropy = torch.special.entr(wide) + torch.special.entr(1 - wide)
    loss = -(wide * best.log() + (1 - wide) * (1 - best).log())
    return float((loss - entropy).mean()) / math.log(2)


def least_class_loss(num_classes: int, spread: float) -> float:
    """Return what cross-entropy keeps at least if logits differ by no more than `spread`, over ln(classes)."""
    return math.log1p((num_classes - 1) * math.exp(-spread)) / math.log(num_classes)
