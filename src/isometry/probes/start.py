"""The loss at the start, beside that of a predictor which ignores its input."""

from dataclasses import dataclass

from isometry.probes.evidence import Evidence, NotMeasuredError, probe
from isometry.probes.losses import LossInputs, LossReading, made_of_parameters


@dataclass(frozen=True, slots=True)
class LossStart:
    """The loss of an untrained network.

    Attributes:
        reading: The call of the loss function with the largest value over its constant predictor's.
        heads: Names of the layers that make the prediction.
        has_hidden_layers: Whether any layer lies before them; without one the problem is convex in its weights.
    """

    reading: LossReading
    heads: tuple[str, ...]
    has_hidden_layers: bool


@probe(LossStart, LossInputs)
def measure_start(evidence: Evidence) -> LossStart:
    """Return the loss call that is furthest above its constant predictor."""
    learned = made_of_parameters(evidence.step.tape)
    readings = [
        reading
        for reading in evidence.observer(LossInputs).readings
        if not learned.issuperset(evidence.step.tape.operations[reading.operation].inputs)
    ]
    if not readings:
        raise NotMeasuredError("the loss is none whose constant predictor is known (cross-entropy or mean square)")
    worst = max(readings, key=lambda reading: reading.value / reading.constant)
    heads = tuple(layer.name for layer in evidence.anatomy.heads)
    return LossStart(worst, heads, has_hidden_layers=evidence.anatomy.depth > 1)
