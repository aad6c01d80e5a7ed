"""One row per layer for the reports, from all that was measured."""

import math

from isometry.anatomy.reading import Layer
from isometry.probes.evidence import Evidence
from isometry.probes.statistics import OutputNumbers, rms, to_floats
from isometry.report.facts import LayerRow


def layer_rows(evidence: Evidence) -> tuple[LayerRow, ...]:
    """Return a row for every layer and residual sum, in the order of execution."""
    weights = _weight_sizes(evidence)
    trunk = {point for points in evidence.anatomy.trunks for point in points}
    sums = {branch.sum for branch in evidence.anatomy.branches}
    rows: dict[int, LayerRow] = {node: _sum_row(evidence, node, trunk) for node in sums}
    for layer in evidence.anatomy.layers:
        rows.setdefault(layer.operation, _layer_row(evidence, layer, weights=weights, trunk=trunk))
    return tuple(rows[node] for node in sorted(rows))


def _sum_row(evidence: Evidence, node: int, trunk: set[int]) -> LayerRow:
    numbers = evidence.numbers.get(node, OutputNumbers())
    return LayerRow(
        name=evidence.step.tape.label(evidence.step.tape.operations[node]),
        kind="sum",
        activation_rms=_finite(numbers.rms),
        activation_spread=_finite(numbers.spread),
        gradient_rms=_finite(numbers.gradient_rms),
        is_on_trunk=node in trunk,
    )


def _layer_row(
    evidence: Evidence, layer: Layer, *, weights: dict[str, tuple[float, float | None]], trunk: set[int]
) -> LayerRow:
    numbers = evidence.numbers.get(layer.operation, OutputNumbers())
    after = [] if layer.activation_after is None else layer.activation_after.operations
    behind = [evidence.numbers[index] for index in after if index in evidence.numbers]
    size, gradient = weights.get(layer.weight[0], (None, None)) if len(layer.weight) == 1 else (None, None)
    return LayerRow(
        name=layer.name,
        kind=layer.kind,
        fan_in=layer.layout.fans.into,
        fan_out=layer.layout.fans.out,
        activation_rms=_finite(numbers.rms),
        activation_spread=_finite(numbers.spread),
        gradient_rms=_finite(numbers.gradient_rms),
        weight_rms=_finite(size),
        weight_gradient_rms=_finite(gradient),
        zero_share=_finite(behind[-1].zero_share) if behind else None,
        saturated_share=max(
            (each.saturated_share for each in behind if each.saturated_share is not None), default=None
        ),
        is_on_trunk=layer.operation in trunk,
        is_head=layer.is_head,
    )


def _weight_sizes(evidence: Evidence) -> dict[str, tuple[float, float | None]]:
    """Root mean squares of each weight and of its gradient, by canonical name."""
    names = {layer.weight[0] for layer in evidence.anatomy.layers if len(layer.weight) == 1}
    parameters = evidence.step.names.parameters
    names = [name for name in parameters if name in names and not parameters[name][0].is_meta]
    gradients = {name: next(iter(evidence.step.gradients.get(name, ())), None) for name in names}
    with_gradient = [name for name in names if gradients[name] is not None]
    sizes = to_floats([rms(parameters[name][0]) for name in names])
    steps = to_floats([rms(gradient) for name in with_gradient if (gradient := gradients[name]) is not None])
    gradient_sizes = dict(zip(with_gradient, steps, strict=True))
    return {name: (size, gradient_sizes.get(name)) for name, size in zip(names, sizes, strict=True)}


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
