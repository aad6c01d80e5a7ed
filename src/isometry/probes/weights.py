"""The weights themselves: their size, and whether all entries are the same number."""

import math
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
    tensors = {name: tensor for name, tensor in tensors.items() if has_floats(tensor) or _is_complex(tensor)}
    gradients = {name: next(iter(evidence.step.gradients.get(name, ())), None) for name in tensors}
    found = {name: gradient for name, gradient in gradients.items() if gradient is not None}
    with torch.no_grad():
        sizes = to_floats([rms(tensor) for tensor in tensors.values()])
        ranges = to_floats([_range(tensor) for tensor in tensors.values()])
        steps = dict(zip(found, to_floats([rms(gradient) for gradient in found.values()]), strict=True))
        rows: list[WeightNumbers] = []
        for (name, tensor), size, spread in zip(tensors.items(), sizes, ranges, strict=True):
            is_constant = spread == 0 and tensor.numel() > 1
            row = WeightNumbers(
                name=name,
                layer=first_use[name],
                rms=size,
                gradient_rms=steps.get(name),
                constant=float(tensor.flatten()[0]) if is_constant else None,
                keeps_units_equal=is_constant and name in found and _is_equal_for_units(found[name], first_use[name]),
            )
            rows.append(row)
        return WeightTable(tuple(rows))


def _is_complex(tensor: Tensor) -> bool:
    return tensor.is_complex() and has_floats(torch.view_as_real(tensor.detach()))


def _range(tensor: Tensor) -> Tensor:
    """Return the largest entry less the smallest; complex entries have no order and count as different."""
    return torch.tensor(math.inf) if tensor.is_complex() else tensor.amax() - tensor.amin()


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
