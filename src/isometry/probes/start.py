"""The loss at the start, beside that of a predictor which ignores its input, and what makes the gap."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from isometry.anatomy.reading import Layer
from isometry.probes.comparisons import ComparedTensors, Comparison, ComparisonTable
from isometry.probes.evidence import Evidence, NotMeasuredError, measure, probe
from isometry.probes.losses import LossInputs, LossReading, made_of_parameters
from isometry.probes.outputs import layers_before

MIN_TARGETS = 2  # with one alone there is nothing to predict
SHIFTED = 10.0  # times: what stands behind the head multiplies its outputs by so much, as a small temperature does
EMBEDDING = "embedding"  # the operation that looks tokens up
SMALLEST = 1e-30  # whose logarithm is taken in the place of that of zero


GapKind = Literal["targets", "offset", "spread", "class-offsets", "behind-head", "head-weight", "head-input"]
HeadKind = Literal["biased", "bare", "tied"]


@dataclass(frozen=True, slots=True)
class Gap:
    """What makes the loss start far above the constant predictor's.

    Attributes:
        where: Names of layers or parts of the batch.
        kind: What it is: the targets' mean, the outputs' mean, their deviation, the classes' mean logits, what
            multiplies the outputs behind the head, the head's weight, or what it reads.
        size: How large that is: means and deviations in output units, factors dimensionless.
        without: What the loss would be without it, loss units.
    """

    where: tuple[str, ...]
    kind: GapKind
    size: float
    without: float


@dataclass(frozen=True, slots=True)
class LossStart:
    """The loss of an untrained network.

    Attributes:
        reading: The call of the loss function with the largest value over its constant predictor's.
        heads: Names of the layers that make the prediction.
        has_hidden_layers: Whether any layer lies before them; without one the problem is convex in its weights.
        gap: What makes the gap between both; None where it cannot be told.
        head: Whether the layer that makes the prediction has a bias, or is the embedding of tokens as well.
    """

    reading: LossReading
    heads: tuple[str, ...]
    has_hidden_layers: bool
    gap: Gap | None = None
    head: HeadKind = "biased"


@probe(LossStart, LossInputs, ComparedTensors)
def measure_start(evidence: Evidence) -> LossStart:
    """Return the loss call that is furthest above its constant predictor."""
    learned = made_of_parameters(evidence.step.tape)
    compared = {each.operation: each for each in measure(evidence, ComparisonTable).comparisons}
    readings = [
        reading
        for reading in evidence.observer(LossInputs).readings
        if not learned.issuperset(evidence.step.tape.operations[reading.operation].inputs)
    ]
    known = {reading.operation for reading in readings}
    others = (_distance(each) for each in compared.values() if each.operation not in known)
    readings += [reading for reading in others if reading is not None]
    readings = [reading for reading in readings if math.isfinite(reading.value)]
    if not readings:
        raise NotMeasuredError("the loss is none whose constant predictor is known (cross-entropy or a distance)")
    worst = max(readings, key=lambda reading: reading.value / reading.constant)
    found = compared.get(worst.operation)
    heads = tuple(layer.name for layer in evidence.anatomy.heads)
    if found is not None and found.prediction is not None:
        heads = layers_before(evidence, found.prediction) or heads
    gap = None if found is None else _gap(evidence, found, heads=heads)
    return LossStart(
        worst, heads, has_hidden_layers=evidence.anatomy.depth > 1, gap=gap, head=_head_kind(evidence, heads)
    )


def _distance(each: Comparison) -> LossReading | None:
    """Read a regression whose loss is no mean square, or is written by hand."""
    targets = each.targets
    if each.family != "distance" or targets is None or not targets.is_floating_point():
        return None
    if tuple(targets.shape) != each.shape or targets.numel() < MIN_TARGETS:
        return None
    wide, outputs = targets.double(), each.outputs.double()
    columns = wide.reshape(len(wide), -1) if wide.ndim else wide.reshape(1, 1)
    if each.name == "squared difference":
        value, constant = (outputs - wide).square().mean(), columns.var(dim=0, correction=0).mean()
    elif each.name != "gaussian_nll_loss":
        value, constant = (outputs - wide).abs().mean(), (columns - columns.median(0).values).abs().mean()
    else:
        return None
    return LossReading(each.operation, each.name, float(value), float(constant)) if float(constant) > 0 else None


def _gap(evidence: Evidence, compared: Comparison, *, heads: tuple[str, ...]) -> Gap | None:
    if compared.family == "distance":
        return _gap_of_distance(compared, heads)
    rows, labels = compared.outputs.double(), compared.labels
    if labels is None or compared.name != "cross_entropy" or rows.ndim == 1 or len(rows) < MIN_TARGETS:
        return None
    inside = (labels >= 0) & (labels < rows.shape[1])
    if not bool(inside.any()):
        return None
    rows, labels = rows[inside], labels[inside]
    centred = rows - rows.mean(0)
    unshifted = float(functional.cross_entropy(centred, labels))
    shrunk = float(functional.cross_entropy(rows / max(float(centred.std()), 1.0), labels))
    if unshifted < shrunk:
        return Gap(heads, "class-offsets", float((rows.mean(0) - rows.mean()).std()), unshifted)
    kind, size = _scale_kind(evidence, heads, float(centred.std()))
    return Gap(heads, kind, size, shrunk)


def _gap_of_distance(compared: Comparison, heads: tuple[str, ...]) -> Gap | None:
    targets, outputs = compared.targets, compared.outputs.double()
    if targets is None or tuple(targets.shape) != compared.shape:
        return None
    wide = targets.double()
    aim, given, spread = float(wide.mean()), float(outputs.mean()), float(outputs.std(correction=0))
    is_absolute = "abs" in compared.name or "l1" in compared.name or "huber" in compared.name

    def error(shifted: Tensor, goal: Tensor) -> float:
        missed = shifted - goal
        return float(missed.abs().mean() if is_absolute else missed.square().mean())

    without: dict[GapKind, tuple[float, float]] = {
        "targets": (error(outputs, wide - aim), aim),
        "offset": (error(outputs - given, wide), given),
        "spread": (error((outputs - given) / max(spread, 1.0) + given, wide), spread),
    }
    worst = min(without, key=lambda each: without[each][0])
    return Gap(("targets", *heads) if worst == "targets" else heads, worst, without[worst][1], without[worst][0])


def _last_layer(evidence: Evidence, heads: tuple[str, ...]) -> Layer | None:
    """Return the last use of a head's weight: its first is the embedding, where one weight is both."""
    return next((each for each in reversed(evidence.anatomy.layers) if each.name in heads), None)


def _head_kind(evidence: Evidence, heads: tuple[str, ...]) -> HeadKind:
    layer = _last_layer(evidence, heads)
    if layer is None or layer.biases:
        return "biased"
    is_embedding = any(each.weight == layer.weight and each.kind == EMBEDDING for each in evidence.anatomy.layers)
    return "tied" if is_embedding else "bare"


def _scale_kind(evidence: Evidence, heads: tuple[str, ...], spread: float) -> tuple[GapKind, float]:
    """Say whether the head's weight, what it reads, or what stands behind it makes its outputs large."""
    layer = _last_layer(evidence, heads)
    if layer is None or len(layer.weight) != 1:
        return "spread", spread
    own = evidence.numbers.get(layer.operation)
    given = None if own is None else own.rms
    if given and spread / given > SHIFTED:
        return "behind-head", spread / given
    gain = max(_gain(evidence, layer), SMALLEST)
    read = max((given or spread) / gain, SMALLEST)
    return ("head-weight", gain) if abs(math.log(gain)) >= abs(math.log(read)) else ("head-input", read)


def _gain(evidence: Evidence, layer: Layer) -> float:
    weight: Tensor = evidence.step.names.parameters[layer.weight[0]][0].detach()
    return (
        float(torch.linalg.vector_norm(weight, dtype=torch.float64))
        / weight.numel() ** 0.5
        * layer.layout.fans.into**0.5
    )
