"""How the units behind each activation fare: silent on every sample, or saturated."""

from dataclasses import dataclass

import numpy as np

from isometry.anatomy.activations import Activation
from isometry.anatomy.operations import RECTIFIERS
from isometry.anatomy.reading import Layer
from isometry.probes.evidence import Evidence, NotMeasuredError, probe
from isometry.probes.units import UnitActivity, silent_shares_over_data


@dataclass(frozen=True, slots=True)
class ActivationNumbers:
    """One activation behind a layer.

    Attributes:
        layer: Name of the layer before it.
        name: The activation's name.
        silent_share: Share of units that are zero on every sample, in [0, 1]; None on too few samples, and for
            activations that have a slope wherever they are zero.
        zero_share: Share of outputs that are zero, in [0, 1].
        saturated_share: Share of outputs whose slope is almost gone, in [0, 1]; None for unbounded activations.
        is_gate: Whether it is multiplied with another signal, as a gate is.
        is_output: Whether it is a rectifier behind a head, of which only silence is measured.
    """

    layer: str
    name: str
    silent_share: float | None
    zero_share: float | None
    saturated_share: float | None
    is_gate: bool
    is_output: bool = False


@dataclass(frozen=True, slots=True)
class ActivationTable:
    """All activations behind hidden layers, and rectifiers behind heads, each once, in the order of execution."""

    activations: tuple[ActivationNumbers, ...]


@probe(ActivationTable, UnitActivity)
def measure_activations(evidence: Evidence) -> ActivationTable:
    """Measure the activation behind every hidden layer, and the silence of a rectifier that makes the output."""
    silent = silent_shares_over_data(evidence)
    first: dict[int, tuple[Layer, Activation]] = {}
    for layer in evidence.anatomy.layers:
        if layer.activation_after is not None and (not layer.is_head or _starts_with_rectifier(layer.activation_after)):
            first.setdefault(layer.activation_after.exit, (layer, layer.activation_after))
    if not first:
        raise NotMeasuredError("no activation follows a hidden layer")
    rows = (_numbers(evidence, layer, activation, silent=silent) for layer, activation in first.values())
    return ActivationTable(tuple(rows))


def _numbers(
    evidence: Evidence, layer: Layer, activation: Activation, *, silent: dict[int, float]
) -> ActivationNumbers:
    numbers = [evidence.numbers[index] for index in activation.operations if index in evidence.numbers]
    shares = [each.saturated_share for each in numbers if each.saturated_share is not None]
    last = activation.operations[0 if layer.is_head else -1]  # behind a head the loss may belong to the activation
    operations = evidence.step.tape.operations
    readers = [operations[index] for index in evidence.anatomy.readers.get(activation.exit, ())]
    return ActivationNumbers(
        layer=layer.name,
        name=activation.name,
        silent_share=silent.get(last) if layer.is_head or _is_rectifier(activation) else None,
        zero_share=evidence.numbers[last].zero_share if last in evidence.numbers else None,
        saturated_share=None if layer.is_head else max(shares, default=None),
        is_output=layer.is_head,
        is_gate=any(reader.name == "mul" and len(set(reader.inputs)) > 1 for reader in readers),
    )


def _is_rectifier(activation: Activation) -> bool:
    """Say whether an activation is zero and flat far below 0, but not everywhere."""
    if not activation.is_repeatable:
        return any(activation.tape.operations[index].name in RECTIFIERS for index in activation.operations)
    # Its threshold may lie elsewhere, as that of `(x - 8).clamp(min=0)` does.
    below, above = activation(np.array([-6.0, -4.0])), activation(np.array([1.0, 4.0, 16.0, 64.0]))
    return not below.any() and bool(above.any())


def _starts_with_rectifier(activation: Activation) -> bool:
    """Say whether the numbers themselves are cut off below 0; a hinge loss cuts off a difference."""
    return activation.tape.operations[activation.operations[0]].name in RECTIFIERS
