"""One row per layer for the reports, from all that was measured."""

from isometry.anatomy.reading import Layer
from isometry.probes.evidence import Evidence, measure
from isometry.probes.statistics import OutputNumbers
from isometry.probes.weights import WeightNumbers, WeightTable
from isometry.report.facts import LayerRow
from isometry.report.numerals import finite


def layer_rows(evidence: Evidence) -> tuple[LayerRow, ...]:
    """Return a row for every layer and residual sum, in the order of execution."""
    table = WeightTable(()) if evidence.is_meta else measure(evidence, WeightTable)
    weights = {weight.name: weight for weight in table.weights}
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
        activation_rms=finite(numbers.rms),
        activation_spread=finite(numbers.spread),
        gradient_rms=finite(numbers.gradient_rms),
        is_on_trunk=node in trunk,
    )


def _layer_row(evidence: Evidence, layer: Layer, *, weights: dict[str, WeightNumbers], trunk: set[int]) -> LayerRow:
    numbers = evidence.numbers.get(layer.operation, OutputNumbers())
    after = [] if layer.activation_after is None else layer.activation_after.operations
    behind = [evidence.numbers[index] for index in after if index in evidence.numbers]
    weight = weights.get(layer.weight[0]) if len(layer.weight) == 1 else None
    return LayerRow(
        name=layer.name,
        kind=layer.kind,
        fan_in=layer.layout.fans.into,
        fan_out=layer.layout.fans.out,
        activation_rms=finite(numbers.rms),
        activation_spread=finite(numbers.spread),
        gradient_rms=finite(numbers.gradient_rms),
        weight_rms=None if weight is None else finite(weight.rms),
        weight_gradient_rms=None if weight is None else finite(weight.gradient_rms),
        zero_share=finite(behind[-1].zero_share) if behind else None,
        saturated_share=max(
            (each.saturated_share for each in behind if each.saturated_share is not None), default=None
        ),
        is_on_trunk=layer.operation in trunk,
        is_head=layer.is_head,
    )
