"""Norms of gradients, weights and updates of one step of the optimiser, all parameters at once."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from isometry._memory import has_memory
from isometry.probes.running.foreach import FOREACH
from isometry.probes.running.readings import ParameterReading
from isometry.probes.running.transfer import Transfer

MAX_KEPT = 65_536  # numbers of one parameter that are kept from before the step, to see what the step added


@dataclass(frozen=True, slots=True)
class ParameterTotals:
    """What the parameters come to.

    Attributes:
        readings: In the order of the model.
        gradient_norm: Euclidean norm of all gradients; None without any.
        nonfinite: Names of parameters whose gradient or weight is not finite.
    """

    readings: tuple[ParameterReading, ...]
    gradient_norm: float | None
    nonfinite: tuple[str, ...]


@dataclass(slots=True)
class ParameterNumbers:
    """Measures around one step of the optimiser.

    Gradients and weights are measured whole. Of a parameter with more than `MAX_KEPT` numbers the update is read from
    some, evenly spread. Of a parameter that is spread over several processes each measures its own part.

    Attributes:
        parameters: Canonical names and tensors, in the order of the model.
    """

    parameters: Sequence[tuple[str, Tensor]]
    _kept: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    _norms: dict[str, dict[str, Tensor]] = field(default_factory=dict[str, dict[str, Tensor]])

    def before(self, scale: Tensor | None) -> None:
        """Measure gradients and weights, and keep numbers of the weights.

        Args:
            scale: What the gradients are still multiplied by; None if they are as they should be.
        """
        self._norms = {"gradient": {}, "weight": {}, "update": {}}
        for names, gradients in _alike(self._gradients()):
            norms = FOREACH._foreach_norm(gradients, 2, dtype=torch.float64)
            if scale is not None:
                norms = [norm / scale.to(norm.device) for norm in norms]
            self._norms["gradient"].update(zip(names, norms, strict=True))
        for names, weights in _alike(self._weights()):
            self._norms["weight"].update(zip(names, _norms(weights), strict=True))
            kept = [_some(weight) for weight in weights]
            self._keep(names, kept)

    def after(self) -> None:
        """Measure what the step added."""
        for names, weights in _alike([each for each in self._weights() if each[0] in self._norms["weight"]]):
            now = [_some(weight) for weight in weights]
            kept = [self._kept[name] for name in names]
            FOREACH._foreach_sub_(kept, now)
            self._norms["update"].update(zip(names, _norms(kept), strict=True))

    def send(self, transfer: Transfer) -> Callable[[], ParameterTotals]:
        """Send the numbers to the host.

        Args:
            transfer: What brings them over.

        Returns:
            What makes the readings, once the transfer was made.
        """
        found: dict[str, dict[str, float]] = {key: {} for key in self._norms}
        measured = set(self._norms.get("weight", ()))
        for key, norms in self._norms.items():
            for names, group in _alike(list(norms.items())):

                def take(values: list[float], key: str = key, names: Sequence[str] = names) -> None:
                    found[key].update(zip(names, values, strict=True))

                transfer.add(group, take)
        sizes = {name: (each.numel(), self._kept[name].numel()) for name, each in self._weights() if name in measured}
        self._norms = {}
        return lambda: _totals(found, sizes)

    def forget(self) -> None:
        """Drop what was measured of a step that was broken off."""
        self._norms = {}

    def _weights(self) -> list[tuple[str, Tensor]]:
        trained = [(name, local_part(each.detach())) for name, each in self.parameters if each.requires_grad]
        return [(name, weight) for name, weight in trained if _is_measured(weight)]

    def _gradients(self) -> list[tuple[str, Tensor]]:
        given = [(name, local_part(each.grad)) for name, each in self.parameters if each.grad is not None]
        return [(name, gradient) for name, gradient in given if _is_measured(gradient)]

    def _keep(self, names: Sequence[str], weights: Sequence[Tensor]) -> None:
        """Copy weights to where those of the step before lay: fresh memory would take ten times as long."""
        for name, weight in zip(names, weights, strict=True):
            kept = self._kept.get(name)
            if kept is None or kept.shape != weight.shape or kept.dtype != weight.dtype or kept.device != weight.device:
                self._kept[name] = torch.empty_like(weight)
        FOREACH._foreach_copy_([self._kept[name] for name in names], list(weights))


def _totals(found: dict[str, dict[str, float]], sizes: dict[str, tuple[int, int]]) -> ParameterTotals:
    gradients, weights, updates = (found.get(key, {}) for key in ("gradient", "weight", "update"))
    readings = tuple(
        ParameterReading(
            name=name,
            weight_rms=weights[name] / math.sqrt(size),
            gradient_rms=gradients[name] / math.sqrt(size) if name in gradients else None,
            update_rms=updates[name] / math.sqrt(kept) if name in updates else None,
        )
        for name, (size, kept) in sizes.items()
    )
    norm = math.hypot(*gradients.values()) if gradients else None
    bad = tuple(
        name for name in sizes if not (math.isfinite(weights[name]) and math.isfinite(gradients.get(name, 0.0)))
    )
    return ParameterTotals(readings, norm, bad)


def _norms(tensors: Sequence[Tensor]) -> list[Tensor]:
    wide = torch.float64 if tensors[0].dtype == torch.float64 else torch.float32
    return list(FOREACH._foreach_norm(list(tensors), 2, dtype=wide))


def _alike(named: Sequence[tuple[str, Tensor]]) -> list[tuple[list[str], list[Tensor]]]:
    """Return names and tensors, those of one device and kind of number together."""
    groups: dict[tuple[torch.device, torch.dtype], tuple[list[str], list[Tensor]]] = {}
    for name, tensor in named:
        names, tensors = groups.setdefault((tensor.device, tensor.dtype), ([], []))
        names.append(name)
        tensors.append(tensor)
    return list(groups.values())


def local_part(tensor: Tensor) -> Tensor:
    """Return this process's part of a tensor that is spread over several."""
    return getattr(tensor, "_local_tensor", tensor)


def squared_norm(tensors: Sequence[Tensor]) -> Tensor | None:
    """Return the squared Euclidean norm over all tensors, on their device; None without any or on several devices."""
    measured = [tensor for tensor in tensors if _is_measured(tensor)]
    if len({tensor.device for tensor in measured}) != 1:
        return None
    return torch.stack(list(FOREACH._foreach_norm(measured, 2, dtype=torch.float64))).square().sum()


def _is_measured(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and tensor.numel() > 0 and has_memory(tensor)


def _some(tensor: Tensor) -> Tensor:
    """Return a view of at most `MAX_KEPT` numbers of a tensor, evenly spread and not all of one column."""
    if tensor.numel() <= MAX_KEPT or not tensor.is_contiguous():
        return tensor
    step = -(-tensor.numel() // MAX_KEPT)
    while math.gcd(step, tensor.shape[-1]) > 1:
        step += 1
    return tensor.view(-1)[::step]
