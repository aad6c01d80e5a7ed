"""The weights themselves: their size, and whether all entries are the same number."""

from dataclasses import dataclass

import torch
from torch import Tensor

from isometry.anatomy.reading import Layer
from isometry.probes.evidence import Evidence, probe
from isometry.probes.statistics import has_floats, rms, to_floats

LOCK_TOLERANCE = 1e-4  # relative; gradients of equal units differ by the rounding of sums in another order


@dataclass(frozen=True, slots=True)
class WeightNumbers:
    """One weight.

    Attributes:
        name: Its canonical name.
        layer: The layer that uses it first.
        rms: Root mean square of its entries.
        gradient_rms: Root mean square of the loss's gradient with respect to it; None if it has none.
        constant: The value that all entries have, or None if they differ.
        keeps_units_equal: Whether its gradient is the same for all units too, so that no step tells them apart.
    """

    name: str
    layer: Layer
    rms: float
    gradient_rms: float | None
    constant: float | None
    keeps_units_equal: bool


@dataclass(frozen=True, slots=True)
class WeightTable:
    """All weights that mix units, each once, in the order of execution."""

    weights: tuple[WeightNumbers, ...]


@probe(WeightTable)
def measure_weights(evidence: Evidence) -> WeightTable:
    """Measure every weight that is one parameter; those composed of several have no entries of their own."""
    first_use: dict[str, Layer] = {}
    for layer in evidence.anatomy.layers:
        if len(layer.weight) == 1:
            first_use.setdefault(layer.weight[0], layer)
    tensors = {name: tensors[0] for name, tensors in evidence.step.names.parameters.items() if name in first_use}
    tensors = {name: tensor for name, tensor in tensors.items() if has_floats(tensor)}
    with torch.no_grad():
        sizes = to_floats([rms(tensor) for tensor in tensors.values()])
        ranges = to_floats([tensor.amax() - tensor.amin() for tensor in tensors.values()])
        return WeightTable(
            tuple(
                _numbers(evidence, first_use[name], tensor, size=size, spread=spread)
                for (name, tensor), size, spread in zip(tensors.items(), sizes, ranges, strict=True)
            )
        )


def _numbers(evidence: Evidence, layer: Layer, tensor: Tensor, *, size: float, spread: float) -> WeightNumbers:
    name = layer.weight[0]
    gradient = next(iter(evidence.step.gradients.get(name, ())), None)
    is_constant = spread == 0 and tensor.numel() > 1
    return WeightNumbers(
        name=name,
        layer=layer,
        rms=size,
        gradient_rms=None if gradient is None else float(rms(gradient)),
        constant=float(tensor.flatten()[0]) if is_constant else None,
        keeps_units_equal=is_constant and gradient is not None and _is_equal_for_units(gradient, layer),
    )


def _is_equal_for_units(gradient: Tensor, layer: Layer) -> bool:
    """Say whether the gradients of all units' weights are the same, within a group of channels."""
    axis = layer.layout.out_axis
    if axis is None:
        return False
    units = gradient.movedim(axis, 0).reshape(gradient.shape[axis], -1).double()
    groups = (
        units.reshape(layer.layout.groups, -1, units.shape[1])
        if units.shape[0] % layer.layout.groups == 0
        else units[None]
    )
    if groups.shape[1] == 1:
        return False
    deviation = (groups - groups[:, :1]).abs().amax()
    return bool(deviation <= LOCK_TOLERANCE * units.abs().amax())
