"""Observers of single units: which are silent on every sample, and which are copies of each other for ever."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from isometry.anatomy.recorder import Call
from isometry.anatomy.tape import Operation
from isometry.probes.statistics import MAKES_ZEROS, MIN_ROWS, has_floats, other_axes, to_floats, unit_axis

MIN_AXES = 2  # samples and units
TWIN_TOLERANCE = 1e-5  # relative; sums of 32-bit products in another order differ by 1e-6


@dataclass(slots=True)
class UnitActivity:
    """Observes which units of an activation are zero on every sample and place."""

    _silent: dict[int, Tensor] = field(default_factory=dict)

    def __call__(self, operation: Operation, call: Call) -> None:
        """Note the share of units that no sample wakes."""
        output = call.outputs[0].detach()
        if operation.name not in MAKES_ZEROS or output.ndim < MIN_AXES or not has_floats(output):
            return
        axis = unit_axis(operation, output)
        if output.numel() >= MIN_ROWS * output.shape[axis] > 0:
            is_active = output.ne(0).sum(dim=other_axes(output, axis)) > 0
            self._silent[operation.index] = 1 - is_active.double().mean()

    def silent_shares(self) -> dict[int, float]:
        """Return the share of silent units in [0, 1] by the operation's index."""
        return dict(zip(self._silent, to_floats(list(self._silent.values())), strict=True))


@dataclass(frozen=True, slots=True)
class UnitPrints:
    """Two numbers for each unit of a layer, equal for units that see equal signals and equal gradients."""

    forward: Float[Tensor, " units"]
    backward: Float[Tensor, " units"]

    def twins(self) -> tuple[tuple[int, ...], ...]:
        """Return groups of units that share both numbers; silent units and those without gradient are left out."""
        table = torch.stack([self.forward, self.backward], dim=1).double().cpu()
        alive = ((table != 0) & table.isfinite()).all(dim=1).nonzero().flatten()
        alive = alive[torch.argsort(table[alive, 0])]
        # Units of one signal may take turns in two gradients: they are sorted by these among themselves.
        signal = torch.cumsum(~_are_close(table[alive[:-1], :1], table[alive[1:], :1]), dim=0)
        signal = torch.cat([torch.zeros(len(alive[:1]), dtype=signal.dtype), signal])
        by_gradient = torch.argsort(table[alive, 1])
        alive = alive[by_gradient[torch.argsort(signal[by_gradient], stable=True)]]
        is_twin = _are_close(table[alive[:-1]], table[alive[1:]])
        groups: list[list[int]] = []
        for position in is_twin.nonzero().flatten().tolist():
            earlier, later = int(alive[position]), int(alive[position + 1])
            if groups and groups[-1][-1] == earlier:
                groups[-1].append(later)
            else:
                groups.append([earlier, later])
        return tuple(tuple(sorted(group)) for group in groups)


@dataclass(slots=True)
class UnitTwins:
    """Observes each layer's units through one random projection of their outputs and of their gradients.

    Units with equal inputs and weights have equal projections whatever the projection is; two other units share one
    by chance with a probability of the tolerance.
    """

    seed: int = 0
    _forward: dict[int, Tensor] = field(default_factory=dict)
    _backward: dict[int, Tensor] = field(default_factory=dict)

    def __call__(self, operation: Operation, call: Call) -> None:
        """Project a layer's output, and its gradient when the backward pass comes by."""
        output = call.outputs[0]
        if not operation.weights or not output.requires_grad or output.ndim < MIN_AXES or not has_floats(output):
            return
        axis = unit_axis(operation, output)

        def keep(gradient: Tensor) -> None:
            self._backward[operation.index] = self._project(gradient, axis)

        output.register_hook(keep)
        with torch.no_grad():
            self._forward[operation.index] = self._project(output.detach(), axis)

    def prints(self) -> dict[int, UnitPrints]:
        """Return the projections of the layers that a gradient reached, by the operation's index."""
        both = self._forward.keys() & self._backward.keys()
        return {index: UnitPrints(self._forward[index], self._backward[index]) for index in sorted(both)}

    def _project(self, tensor: Tensor, axis: int) -> Tensor:
        rows = tensor.detach().movedim(axis, -1).reshape(-1, tensor.shape[axis])
        generator = torch.Generator().manual_seed(self.seed)
        wide = rows if rows.dtype == torch.float64 else rows.float()
        return torch.randn(rows.shape[0], generator=generator, dtype=torch.float32).to(wide) @ wide


def _are_close(first: Tensor, second: Tensor) -> Tensor:
    # Against the size of the two numbers and not of the layer's largest: tiny units are no twins of each other.
    allowed = TWIN_TOLERANCE * torch.maximum(first.abs(), second.abs())
    return ((first - second).abs() <= allowed).all(dim=1)
