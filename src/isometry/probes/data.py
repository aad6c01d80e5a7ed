"""The batch as the network's first layers read it: size, offset and spread of each feature, and what varies at all."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from isometry._phrases import Phrase
from isometry.anatomy.operations import PRODUCTS, RECURRENT, TRANSPARENT
from isometry.anatomy.recorder import Call
from isometry.anatomy.tape import Operation
from isometry.anatomy.task import Batch, tensors_in
from isometry.probes.comparisons import ComparedTensors, ComparisonTable
from isometry.probes.evidence import Evidence, NotMeasuredError, measure, probe
from isometry.probes.losses import made_of_parameters
from isometry.probes.outputs import layers_before
from isometry.probes.statistics import has_floats, to_floats

TABLE = 2  # axes of a table; maps without a batch have as many
MIN_SAMPLES = 4  # fewer may be alike by choice
# Share of a constant target's length by which the mean of the outputs may miss it; outputs near 0 miss it by all.
MAX_GAP = 0.5
MORE_SAMPLES = 1024  # of a data set, looked at where a batch does not vary


@dataclass(frozen=True, slots=True)
class InputReading:
    """What one of the first layers reads from the batch.

    Attributes:
        layer: The layer's name.
        is_normalised: Whether a norm follows the layer.
        size: Root mean square of the numbers, data units.
        largest: Largest magnitude.
        offset: Length of the mean over samples and places over the root of the summed variances, dimensionless.
        feature: The feature with the largest root mean square.
        feature_size: Its root mean square.
        other_size: Root mean square of all other features together; None if there are none.
    """

    layer: str
    is_normalised: bool
    size: float
    largest: float
    offset: float
    feature: int
    feature_size: float
    other_size: float | None


@dataclass(frozen=True, slots=True)
class GoalReading:
    """The targets of a regression beside the network's first outputs.

    Attributes:
        heads: The layers that make the outputs.
        size: Root mean square of the targets.
        mean: Mean of the targets.
        deviation: Standard deviation of the targets.
        outputs: Root mean square of the outputs.
    """

    heads: tuple[str, ...]
    size: float
    mean: float
    deviation: float
    outputs: float


@dataclass(frozen=True, slots=True)
class InputScale:
    """Sizes of what the network reads, and of what it is to give.

    Attributes:
        inputs: One entry for each tensor of data that a layer with weights reads.
        goals: One entry for each regression.
        has_hidden_layers: Whether the network has any; without one the problem is convex in its weights.
    """

    inputs: tuple[InputReading, ...]
    goals: tuple[GoalReading, ...]
    has_hidden_layers: bool


@dataclass(frozen=True, slots=True)
class Joined:
    """Data that were put beside what a network made, such as amounts beside embeddings.

    Attributes:
        axis: The axis along which they lie beside each other.
        parts: For each part of data its value on the tape, its first feature and the one behind its last.
    """

    axis: int
    parts: tuple[tuple[int, int, int], ...]


@dataclass(slots=True)
class LayerInputs:
    """Observes what layers with weights read, where no gradient flows into it or into a part of it.

    Attributes:
        joined: For the layers that read data beside something else, by the operation's index.
    """

    joined: dict[int, Joined] = field(default_factory=dict)
    _joins: dict[int, Joined] = field(default_factory=dict)
    _pending: dict[int, list[Tensor]] = field(default_factory=dict)
    _features: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def __call__(self, operation: Operation, call: Call) -> None:
        """Reduce the data that a layer reads."""
        if operation.name == "cat":
            self._note_join(operation, call)
        if not operation.weights or operation.name.startswith("embedding"):
            return
        data = next((each for each in call.inputs if not isinstance(each, nn.Parameter)), None)
        if data is None or not has_floats(data):
            return
        join = self._joins.get(operation.inputs[0]) if data.requires_grad and operation.inputs else None
        axis = _feature_axis(operation, call, data)
        if axis is None or (data.requires_grad and (join is None or join.axis != axis)):
            return
        if join is not None:
            self.joined[operation.index] = join
        self._reduce(operation.index, data.detach(), axis)

    def _note_join(self, operation: Operation, call: Call) -> None:
        """Remember where data lie in a tensor that is put together of data and something else."""
        is_data = [not each.requires_grad and each.is_floating_point() for each in call.inputs]
        output = call.outputs[0]
        if len(operation.inputs) != len(call.inputs) or all(is_data) or not any(is_data):
            return
        given = call.kwargs.get("dim", call.args[1] if len(call.args) > 1 else 0)
        axis = given % output.ndim if type(given) is int else None
        if axis is not None and all(each.ndim == output.ndim for each in call.inputs):
            ends = list(itertools.accumulate(each.shape[axis] for each in call.inputs))
            places = zip(operation.inputs, [0, *ends], ends, is_data, strict=False)
            parts = tuple((value, first, end) for value, first, end, is_part in places if is_part)
            self._joins[operation.outputs[0]] = Joined(axis, parts)

    def _reduce(self, index: int, data: Tensor, axis: int) -> None:
        with torch.no_grad():
            rest = [each for each in range(data.ndim) if each != axis]
            count = max(data.numel() // max(data.shape[axis], 1), 1)
            norms = torch.linalg.vector_norm(data, dim=rest, dtype=torch.float64) if rest else data.abs().double()
            means = data.mean(dim=rest, dtype=torch.float64) if rest else data.double()
            self._features[index] = (norms / math.sqrt(count), means)
            self._pending[index] = [data.abs().max()]

    def sizes(self) -> dict[int, tuple[Tensor, Tensor, float]]:
        """Return root mean squares and means of the features, and the largest magnitude, by operation."""
        largest = to_floats([numbers[0] for numbers in self._pending.values()])
        return {
            index: (self._features[index][0].cpu(), self._features[index][1].cpu(), value)
            for index, value in zip(self._pending, largest, strict=True)
        }


def _feature_axis(operation: Operation, call: Call, data: Tensor) -> int | None:
    """Return the axis of what a layer reads along which its features lie; None where that is not plain."""
    if not data.ndim or operation.name == "einsum":
        return None
    if operation.name.startswith("conv"):
        return 1 if data.ndim > TABLE else None
    if operation.name in PRODUCTS:
        position = next(place for place, each in enumerate(call.inputs) if each is data)
        is_behind = position > operation.weights[0].position and data.ndim > 1
        return data.ndim - 2 if is_behind else data.ndim - 1
    return data.ndim - 1 if operation.name == "linear" or operation.name in RECURRENT else None


@probe(InputScale, LayerInputs, ComparedTensors)
def measure_inputs(evidence: Evidence) -> InputScale:
    """Measure what the first layers read, and the targets of regressions."""
    moved = made_of_parameters(evidence.step.tape)
    layers = {layer.operation: layer for layer in evidence.anatomy.layers}
    inputs: list[InputReading] = []
    observer = evidence.observer(LayerInputs)
    for index, (sizes, means, largest) in observer.sizes().items():
        if index not in evidence.anatomy.flow.before or index not in layers or not math.isfinite(largest):
            continue  # of numbers that are not finite nan-inf says so
        layer, join = layers[index], observer.joined.get(index)
        if join is not None:
            parts = [part for part in join.parts if part[0] not in moved]
            if parts:
                reading = _input(layer.name, is_normalised=layer.is_normalised, sizes=sizes, means=means, top=largest)
                inputs.append(_beside(reading, sizes, parts))
        elif moved.isdisjoint(evidence.step.tape.operations[index].inputs):
            inputs.append(_input(layer.name, is_normalised=layer.is_normalised, sizes=sizes, means=means, top=largest))
    goals = _goals(evidence)
    if not inputs and not goals:
        raise NotMeasuredError("no layer with weights reads numbers of the batch")
    return InputScale(tuple(inputs), goals, has_hidden_layers=evidence.anatomy.depth > 1)


def _input(name: str, *, is_normalised: bool, sizes: Tensor, means: Tensor, top: float) -> InputReading:
    squares = sizes.square()
    variance = float((squares - means.square()).clamp(min=0).sum())
    feature = int(squares.argmax())
    rest = float(squares.sum() - squares[feature])
    count = len(squares)
    return InputReading(
        layer=name,
        is_normalised=is_normalised,
        size=math.sqrt(float(squares.mean())),
        largest=top,
        offset=float(means.norm()) / math.sqrt(variance) if variance > 0 else math.inf,
        feature=feature,
        feature_size=float(sizes[feature]),
        other_size=math.sqrt(max(rest, 0.0)) if count > 1 else None,
    )


def _beside(whole: InputReading, sizes: Tensor, parts: Sequence[tuple[int, int, int]]) -> InputReading:
    """Return the reading of data that lie beside something else; an offset there is one bias among others."""
    squares = sizes.square()
    places = torch.cat([torch.arange(first, end) for _, first, end in parts])
    feature = int(places[squares[places].argmax()])
    return replace(
        whole,
        size=math.sqrt(float(squares[places].mean())),
        offset=math.inf,
        feature=feature,
        feature_size=float(sizes[feature]),
        other_size=math.sqrt(max(float(squares.sum() - squares[feature]), 0.0)),
    )


def _goals(evidence: Evidence) -> tuple[GoalReading, ...]:
    found: list[GoalReading] = []
    for each in measure(evidence, ComparisonTable).comparisons:
        if each.family == "distance" and each.targets is not None and each.targets.is_floating_point():
            targets, outputs = each.targets.double(), each.outputs.double()
            heads = () if each.prediction is None else layers_before(evidence, each.prediction)
            sizes = [targets.square().mean().sqrt(), targets.mean(), targets.std(correction=0)]
            size, mean, deviation, given = to_floats([*sizes, outputs.square().mean().sqrt()])
            if math.isfinite(size) and math.isfinite(given):
                found.append(GoalReading(heads, size, mean, deviation, given))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Variety:
    """What varies between the samples of a batch that has inputs and targets.

    Attributes:
        num_samples: Samples looked at, counts.
        has_equal_inputs: Whether all samples have the same inputs.
        has_equal_targets: Whether all samples have the same target.
        target: That target's first number; None if they differ.
        num_choices: Classes of the loss that reads the targets; None for a regression.
        is_direct: Whether the loss compares the targets with what a layer gives.
        is_judged: Whether the layers that give what is compared do not learn, such as a critic's.
        is_even: Whether each sample has several targets that are one number, such as a mask that is all background.
        is_reached: Whether the outputs begin where the targets are, as around the centre of a one-class network.
    """

    num_samples: int
    has_equal_inputs: bool
    has_equal_targets: bool
    target: float | None
    num_choices: int | None
    is_direct: bool
    is_judged: bool = False
    is_even: bool = False
    is_reached: bool = False


@probe(Variety, ComparedTensors)
def measure_variety(evidence: Evidence) -> Variety:
    """Say whether inputs and targets vary at all."""
    batch = evidence.task.batch
    targets = batch.targets if isinstance(batch, Batch) else None
    if not isinstance(batch, Batch) or not isinstance(targets, Tensor) or not targets.ndim:
        raise NotMeasuredError("inputs and targets cannot be told apart in the batch of a step of one's own")
    if len(targets) < MIN_SAMPLES:
        raise NotMeasuredError(Phrase("the batch has fewer than {count} samples", count=MIN_SAMPLES))
    inputs = [each for each in tensors_in(batch.inputs) if each.ndim and len(each) == len(targets)]
    if not inputs:
        raise NotMeasuredError("no input has as many samples as the targets")
    has_equal_targets, count, value = _is_alike(targets), len(targets), targets
    more = _more_targets(evidence, count) if has_equal_targets else None
    if more is not None:
        has_equal_targets, count = _is_alike(more), len(more)
    compared = _compared(evidence, count)
    if not has_equal_targets and compared and all(_is_alike(each) for each in compared):
        has_equal_targets, value = True, compared[0]  # the loss reads something else than what it was given
    choices, is_direct = _choices(evidence, value)
    return Variety(
        num_samples=count,
        has_equal_inputs=all(_is_alike(each) for each in inputs),
        has_equal_targets=has_equal_targets,
        target=float(value.flatten()[0]) if has_equal_targets else None,
        num_choices=choices,
        is_direct=is_direct,
        is_judged=has_equal_targets and _is_judged(evidence, value),
        is_even=has_equal_targets and value[0].numel() > 1 and _is_alike(value[0].flatten()),
        is_reached=has_equal_targets and _is_reached(evidence, value),
    )


def _is_reached(evidence: Evidence, targets: Tensor) -> bool:
    """Say whether the mean of a regression's outputs is nearer to its one target than to zero."""
    for each in measure(evidence, ComparisonTable).comparisons:
        if each.family == "distance" and each.targets is not None and each.shape == tuple(targets.shape):
            gap = (each.outputs.double() - each.targets.double()).mean(0)
            return bool(gap.norm() < MAX_GAP * each.targets[0].double().norm())
    return False


def _is_judged(evidence: Evidence, targets: Tensor) -> bool:
    """Say whether the last layers before the outputs that meet the targets are frozen."""
    trained = {name for name, each in evidence.task.model.named_parameters() if each.requires_grad}
    heads: set[str] = set()
    for each in measure(evidence, ComparisonTable).comparisons:
        if each.targets is not None and each.targets.numel() == targets.numel() and each.prediction is not None:
            heads.update(layers_before(evidence, each.prediction))
    found = [{*layer.weight, *layer.biases} for layer in evidence.anatomy.layers if layer.name in heads]
    return bool(found) and all(trained.isdisjoint(names) for names in found)


def _more_targets(evidence: Evidence, count: int) -> Tensor | None:
    examples = evidence.task.examples
    if examples is None or examples.count <= count:
        return None
    stride = max(examples.count // MORE_SAMPLES, 1)
    batch = examples.take(range(0, examples.count, stride))
    targets = batch.targets if isinstance(batch, Batch) else None
    return targets if isinstance(targets, Tensor) and len(targets) else None


def _compared(evidence: Evidence, count: int) -> list[Tensor]:
    """Return the targets of the losses that are known, one for each sample."""
    found = (each.targets for each in measure(evidence, ComparisonTable).comparisons)
    return [each for each in found if each is not None and each.ndim and len(each) == count]


def _is_alike(tensor: Tensor) -> bool:
    return bool((tensor == tensor[:1]).all())


def _choices(evidence: Evidence, targets: Tensor) -> tuple[int | None, bool]:
    for each in measure(evidence, ComparisonTable).comparisons:
        if each.targets is not None and each.targets.numel() == targets.numel():
            is_direct = each.prediction is not None and _is_of_layer(evidence, each.prediction)
            choices = each.shape[each.class_axis] if each.family in {"classes", "log-classes"} else None
            return (2 if each.family in {"binary", "margin"} else choices), is_direct
    return None, False


def _is_of_layer(evidence: Evidence, value: int | None) -> bool:
    """Say whether a value is a layer's output, and not computed from it further."""
    tape = evidence.step.tape
    while value is not None and (producer := tape.values[value].producer) is not None:
        operation = tape.operations[producer]
        if operation.weights:
            return True
        adds_bias = operation.name == "add" and len(operation.inputs) == 1
        value = operation.inputs[0] if operation.inputs and (operation.name in TRANSPARENT or adds_bias) else None
    return False
