"""What the recorded steps of a run say as numbers: the loss over the steps, the speed, the state of each layer."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from isometry.probes.running.readings import Evaluation, LayerReading, ParameterReading, Reading
from isometry.report.finding import SEVERITIES, Severity
from isometry.report.run.facts import Event

Entry = TypeVar("Entry")
RATE_READINGS = 20  # recorded steps over which the speed is taken
ATTENTION = "attention"  # the kind of a layer whose logits were measured; its weights are those of other layers


@dataclass(frozen=True, slots=True)
class Stretch:
    """Successive steps of a run as one number.

    Attributes:
        first: The first step of it.
        last: The last one.
        mean: Mean of the losses that are finite; None if none is.
        is_whole: Whether all of its losses are finite.
    """

    first: int
    last: int
    mean: float | None
    is_whole: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerState:
    """One layer in one recorded step, with its weight.

    Attributes:
        layer: What was measured at its output.
        weight: The first of its parameters, which is its weight; None for a layer without one of its own.
        severity: The gravest of the events that name it; None without one.
    """

    layer: LayerReading
    weight: ParameterReading | None
    severity: Severity | None

    @property
    def gradient_rms(self) -> float | None:
        """Root mean square of the weight's gradient."""
        return None if self.weight is None else self.weight.gradient_rms

    @property
    def update_ratio(self) -> float | None:
        """Update over weight."""
        return None if self.weight is None else self.weight.update_ratio


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricCourse:
    """One metric over the evaluations.

    Attributes:
        name: As the user calls it.
        seen: (evaluation, value), oldest first, finite or not.
    """

    name: str
    seen: tuple[tuple[Evaluation, float], ...]

    @property
    def finite(self) -> tuple[tuple[Evaluation, float], ...]:
        """What was seen and is finite."""
        return tuple((evaluation, value) for evaluation, value in self.seen if math.isfinite(value))


def losses_of(readings: Iterable[Reading]) -> list[tuple[int, float]]:
    """Return (step, loss) of all steps in the order in which they were made."""
    return [
        (reading.step - len(reading.losses) + 1 + number, loss)
        for reading in readings
        for number, loss in enumerate(reading.losses)
    ]


def stretches(points: Sequence[tuple[int, float]], most: int) -> list[Stretch]:
    """Return a course in at most `most` stretches of equally many points, oldest first."""
    size = max(1, -(-len(points) // most))
    return [_stretch(points[first : first + size]) for first in range(0, len(points), size)]


def spread_out(entries: Sequence[Entry], most: int) -> list[Entry]:
    """Return at most `most` entries of a row, evenly, the first and the last among them."""
    if len(entries) <= most:
        return list(entries)
    return [entries[round(number * (len(entries) - 1) / (most - 1))] for number in range(most)]


def steps_per_second(readings: Sequence[Reading]) -> float | None:
    """Return the speed over the last recorded steps; None before there are two."""
    last = readings[-RATE_READINGS:]
    if len(last) <= 1:
        return None
    steps, seconds = last[-1].step - last[0].step, last[-1].seconds - last[0].seconds
    return steps / seconds if steps > 0 and seconds > 0 else None


def layer_states(reading: Reading, events: Sequence[Event]) -> list[LayerState]:
    """Return the layers of a recorded step with their weights, in the order of execution.

    Args:
        reading: The recorded step.
        events: Of the run; a layer that one names, or whose parameter one names, carries its severity.
    """
    names = {layer.name for layer in reading.layers if layer.kind != ATTENTION}
    weights: dict[str, ParameterReading] = {}
    for parameter in reading.parameters:
        weights.setdefault(owner_of(parameter.name, names) or "", parameter)
    severities = _severities(events, {layer.name for layer in reading.layers})
    return [
        LayerState(
            layer=layer,
            weight=None if layer.kind == ATTENTION else weights.get(layer.name),
            severity=severities.get(layer.name),
        )
        for layer in reading.layers
    ]


def owner_of(name: str, layers: set[str]) -> str | None:
    """Return the layer that a name means: itself, or the innermost module around it that is one; None without one."""
    while name and name not in layers:
        name = name.rpartition(".")[0]
    return name or None


def metric_courses(evaluations: Sequence[Evaluation]) -> list[MetricCourse]:
    """Return each metric over the evaluations that have it, in the order in which they first appear."""
    names = dict.fromkeys(name for evaluation in evaluations for name in evaluation.metrics)
    return [
        MetricCourse(name=name, seen=tuple((seen, seen.metrics[name]) for seen in evaluations if name in seen.metrics))
        for name in names
    ]


def _stretch(points: Sequence[tuple[int, float]]) -> Stretch:
    finite = [loss for _, loss in points if math.isfinite(loss)]
    mean = math.fsum(loss / len(finite) for loss in finite) if finite else None
    return Stretch(points[0][0], points[-1][0], mean, len(finite) == len(points))


def _severities(events: Sequence[Event], layers: set[str]) -> Mapping[str, Severity]:
    gravest: dict[str, Severity] = {}
    for event in events:
        for place in event.finding.where:
            owner = owner_of(place, layers)
            if owner is not None:
                pair: tuple[Severity, ...] = (gravest.get(owner, "note"), event.finding.severity)
                gravest[owner] = min(pair, key=SEVERITIES.index)
    return gravest
