"""Layers whose units are copies of each other, and get copies of one gradient."""

from dataclasses import dataclass

from isometry.probes.evidence import Evidence, probe
from isometry.probes.units import UnitTwins


@dataclass(frozen=True, slots=True)
class TwinTable:
    """Hidden layers with units that nothing tells apart.

    Attributes:
        layers: Name of each such layer.
        num_units: Units of each, counts.
        num_distinct: Of these, units that differ from each other, counts.
    """

    layers: tuple[str, ...]
    num_units: tuple[int, ...]
    num_distinct: tuple[int, ...]


@probe(TwinTable, UnitTwins)
def measure_twins(evidence: Evidence) -> TwinTable:
    """Find units with equal signals and equal gradients on every sample; those of the head may be alike."""
    heads = {layer.operation for layer in evidence.anatomy.heads}
    rows: list[tuple[str, int, int]] = []
    for index, prints in evidence.observer(UnitTwins).prints().items():
        operation = evidence.step.tape.operations[index]
        twins = prints.twins()
        if index in heads or operation.name.startswith("embedding") or not twins:
            continue
        count = prints.forward.shape[0]
        rows.append((evidence.step.tape.label(operation), count, count - sum(len(group) - 1 for group in twins)))
    layers, num_units, num_distinct = zip(*rows, strict=True) if rows else ((), (), ())
    return TwinTable(layers, num_units, num_distinct)
