"""Norms of gradients, weights and updates of one step of the optimiser, all parameters at once."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from isometry.probes.running.blocks import is_measured, local_part
from isometry.probes.running.foreach import FOREACH
from isometry.probes.running.norms import Norms
from isometry.probes.running.readings import ParameterReading
from isometry.probes.running.transfer import Transfer

MAX_KEPT = 4_096  # numbers of one parameter that are kept from before the step, to see what the step adds
PIECE = 16  # of them lie side by side: a line of a processor's cache
Named = dict[str, Tensor]


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
class _Kept:
    """Numbers of one parameter.

    Attributes:
        pointer: Where the parameter lay in memory.
        count: Its numbers.
        now: A view of those that are looked at.
        before: What they were before the step, and after it what the step took away from them.
    """

    pointer: int
    count: int
    now: Tensor
    before: Tensor


class ParameterNumbers:
    """Measures around one step of the optimiser.

    Gradients are measured whole. Of a parameter with more than `MAX_KEPT` numbers weight and update are read from some,
    evenly spread. Of a parameter that is spread over several processes each measures its own part.
    """

    def __init__(self) -> None:
        self._parameters: Sequence[tuple[str, Tensor]] = ()
        self._kept: dict[str, _Kept] = {}
        self._gradients, self._weights, self._updates = Norms(), Norms(), Norms()
        self._found: dict[str, Named] = {}
        self._open: dict[str, _Kept] = {}
        self._before: list[Tensor] = []
        self._scale: Tensor | None = None

    def open(self, parameters: Sequence[tuple[str, Tensor]]) -> None:
        """Hear what the coming step trains.

        Args:
            parameters: Canonical names and tensors, in the order of the model.
        """
        self._parameters = parameters

    def before(self, scale: Tensor | None) -> None:
        """Measure gradients and weights, and keep numbers of the weights.

        Args:
            scale: What the gradients are still multiplied by; None if they are as they should be.
        """
        self._scale, self._open = scale, {}
        gradients: Named = {}
        for name, parameter in self._parameters:
            kept = self._keep(name, parameter) if parameter.requires_grad else None
            if kept is None:
                continue
            self._open[name] = kept
            gradient = None if parameter.grad is None else local_part(parameter.grad)
            if gradient is not None and is_measured(gradient):
                gradients[name] = gradient
        self._before, now = [each.before for each in self._open.values()], [each.now for each in self._open.values()]
        FOREACH._foreach_copy_(self._before, now)
        weights = dict(zip(self._open, self._before, strict=True))
        self._found = {"gradient": self._gradients.measure(gradients), "weight": self._weights.measure(weights)}

    def after(self) -> None:
        """Measure what the step added."""
        for name, parameter in self._parameters:
            kept = self._open.get(name)
            if kept is not None and local_part(parameter).data_ptr() != kept.pointer:
                kept.now = _some(local_part(parameter.detach()))  # the optimiser put another in its place
        FOREACH._foreach_sub_(self._before, [each.now for each in self._open.values()])
        self._found["update"] = self._updates.measure(dict(zip(self._open, self._before, strict=True)))

    def trust(self, ratios: Mapping[Tensor, Tensor]) -> None:
        """Take in by what the step on each parameter was scaled.

        Args:
            ratios: From some parameters to a number on its device.
        """
        ratio_of = {id(parameter): ratio for parameter, ratio in ratios.items()}
        self._found["trust"] = {
            name: ratio_of[id(parameter)]
            for name, parameter in self._parameters
            if name in self._open and id(parameter) in ratio_of
        }

    def send(self, transfer: Transfer) -> Callable[[], ParameterTotals]:
        """Send the numbers to the host.

        Args:
            transfer: What brings them over.

        Returns:
            What makes the readings, once the transfer was made.
        """
        numbers = {key: transfer.add(norms) for key, norms in self._found.items()}
        scale = transfer.add({"scale": self._scale} if self._scale is not None else {})
        sizes = {name: each.count for name, each in self._open.items()}
        kept = {name: each.before.numel() for name, each in self._open.items()}
        sampled = {name: count for name, count in kept.items() if count < sizes[name]}
        self.forget()

        def totals() -> ParameterTotals:
            divisor = scale.get("scale", 1.0)
            gradients = {name: norm / divisor for name, norm in numbers.get("gradient", {}).items()}
            rms = {
                "gradient": _sizes_of(gradients, sizes),
                "weight": _sizes_of(numbers.get("weight", {}), kept),
                "update": _sizes_of(numbers.get("update", {}), kept),
            }
            for norms, key in zip((self._gradients, self._weights, self._updates), rms, strict=True):
                norms.learn(rms[key])
            # Rows of an embedding that came up in no example may be all that was looked at.
            rms["update"] = {name: each for name, each in rms["update"].items() if each or name not in sampled}
            return _totals(gradients, rms | {"trust": numbers.get("trust", {})}, sampled)

        return totals

    def forget(self) -> None:
        """Drop what was measured of a step."""
        self._found, self._open, self._before, self._scale = {}, {}, [], None

    def _keep(self, name: str, parameter: Tensor) -> "_Kept | None":
        """Return where numbers of a parameter are kept: the memory of the last time, as fresh memory takes longer."""
        kept, local = self._kept.get(name), local_part(parameter)
        if kept is None or kept.pointer != local.data_ptr() or kept.count != local.numel():
            if not is_measured(local):
                return None
            now = _some(local.detach())
            before = torch.empty(now.shape, dtype=now.dtype, device=now.device)
            kept = self._kept[name] = _Kept(local.data_ptr(), local.numel(), now, before)
        return kept


def squared_norm(tensors: Sequence[Tensor]) -> Tensor | None:
    """Return the squared Euclidean norm over all tensors, on their device; None without any or on several devices.

    Args:
        tensors: Large enough for single precision; the sum is in double.
    """
    measured = [local for each in tensors if is_measured(local := local_part(each.detach()))]
    if len({tensor.device for tensor in measured}) != 1:
        return None
    norms = FOREACH._foreach_norm(measured, 2, dtype=torch.promote_types(measured[0].dtype, torch.float32))
    return torch.stack(norms).double().square().sum()


def _totals(gradients: dict[str, float], rms: dict[str, dict[str, float]], sampled: dict[str, int]) -> ParameterTotals:
    readings = tuple(
        ParameterReading(
            name=name,
            weight_rms=weight,
            gradient_rms=rms["gradient"].get(name),
            update_rms=rms["update"].get(name),
            trust_ratio=rms["trust"].get(name),
            sampled=sampled.get(name),
        )
        for name, weight in rms["weight"].items()
    )
    norm = math.hypot(*gradients.values()) if gradients else None
    bad = [name for name, size in rms["weight"].items() if not math.isfinite(size + gradients.get(name, 0.0))]
    return ParameterTotals(readings, norm, tuple(bad))


def _sizes_of(norms: dict[str, float], counts: dict[str, int]) -> dict[str, float]:
    """Return root mean squares from norms."""
    return {name: norm / math.sqrt(counts[name]) for name, norm in norms.items()}


def _some(tensor: Tensor) -> Tensor:
    """Return a view of at most `MAX_KEPT` numbers of a tensor: pieces, evenly spread, not all of the same columns."""
    if tensor.numel() <= MAX_KEPT or not tensor.is_contiguous():
        return tensor
    pieces = MAX_KEPT // PIECE
    stride = tensor.numel() // pieces
    while math.gcd(stride, tensor.shape[-1]) > 1:
        stride -= 1
    return tensor.as_strided((pieces, PIECE), (stride, 1))
