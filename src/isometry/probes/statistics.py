"""Observers that reduce every operation's output, and the gradient there, to a few numbers on the model's device."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from isometry._memory import has_memory
from isometry.anatomy.listening import listen
from isometry.anatomy.operations import ACTIVATIONS, ELEMENTWISE, RESHAPES, SUMS
from isometry.anatomy.recorder import Call
from isometry.anatomy.tape import Operation

SATURATED_SLOPE = 0.05  # of the activation's largest slope; sigmoid beyond |x| = 4.4, tanh beyond |x| = 2.2
MIDDLES = {"sigmoid": 0.5, "hardsigmoid": 0.5}  # between the two ends of a bounded activation, if that is not 0
MIN_PLACES, MAX_PLACES = 4, 16  # samples and places of each that are looked at for what differs between them
_ROW_AXES = 2  # samples and places, in either order, before the units
SAFE_SIZES = (1e-15, 1e15)  # root mean squares whose squares single precision can hold and sum
MIN_ROWS = 16  # samples and places a unit is seen on; on fewer a sound unit is silent by chance
MAKES_ZEROS = ACTIVATIONS | {"clamp", "maximum", "mul", "where"}


@dataclass(slots=True)
class OutputNumbers:
    """What one operation's output was reduced to; None where it was not measured.

    Attributes:
        rms: Root mean square of the output.
        mean: Mean of the output.
        spread: Root mean square of what differs between samples and places, unit by unit.
        place_spread: Of rows of tokens, the smaller of what differs between samples and between places, likewise.
        zero_share: Share of outputs that are exactly zero, in [0, 1]; of functions of single numbers alone.
        saturated_share: Share of a bounded activation's outputs whose slope is almost gone, in [0, 1].
        high_share: The part of that share that lies at the upper end, in [0, 1].
        gradient_rms: Root mean square of the loss's gradient at the output.
        data_rms: Root mean square of what a layer reads, where that is data and carries no gradient.
    """

    rms: float | None = None
    mean: float | None = None
    spread: float | None = None
    place_spread: float | None = None
    zero_share: float | None = None
    saturated_share: float | None = None
    high_share: float | None = None
    gradient_rms: float | None = None
    data_rms: float | None = None


@dataclass(slots=True)
class OutputStatistics:
    """Observes every operation that computes something; `numbers()` fetches all results in one transfer."""

    _pending: list[tuple[int, str, Tensor]] = field(default_factory=list)

    def __call__(self, operation: Operation, call: Call) -> None:
        """Reduce the first output of an operation, and its gradient when the backward pass comes by."""
        output = call.outputs[0]
        if operation.name in RESHAPES or not has_floats(output):
            return
        if output.requires_grad:

            def keep(gradient: Tensor) -> None:
                self._keep(operation.index, "gradient_rms", rms(gradient))

            listen(output, keep)
        with torch.no_grad():
            self._measure(operation, output.detach())
            if operation.weights:
                self._measure_data(operation, call)

    def numbers(self) -> dict[int, OutputNumbers]:
        """Return what was measured, by the operation's index; the pending tensors are let go."""
        found: dict[int, OutputNumbers] = {}
        values = to_floats([tensor for _, _, tensor in self._pending])
        for (index, key, _), value in zip(self._pending, values, strict=True):
            setattr(found.setdefault(index, OutputNumbers()), key, value)
        self._pending.clear()
        return found

    def _measure(self, operation: Operation, output: Tensor) -> None:
        index = operation.index
        self._keep(index, "rms", rms(output))
        self._keep(index, "mean", output.mean(dtype=torch.promote_types(output.dtype, torch.float32)))
        if operation.name in ELEMENTWISE:
            self._keep(index, "zero_share", 1 - output.count_nonzero() / output.numel())
        if operation.weights or operation.name in ACTIVATIONS or operation.name in SUMS:
            rows = other_axes(output, unit_axis(operation, output))
            if rows and output.numel() > output.shape[unit_axis(operation, output)]:
                self._keep(index, "spread", _spread(output, rows))
            if len(rows) == _ROW_AXES == max(rows) + 1 and min(output.shape[:_ROW_AXES]) >= MIN_PLACES:
                some = output[:MAX_PLACES, :MAX_PLACES]
                spreads = [_spread(some, (axis,)) for axis in rows]
                self._keep(index, "place_spread", torch.minimum(*spreads))
        slope = relative_slope(operation.name, output)
        if slope is not None:
            is_flat = slope < SATURATED_SLOPE
            self._keep(index, "saturated_share", is_flat.double().mean())
            self._keep(index, "high_share", (is_flat & (output > MIDDLES.get(operation.name, 0.0))).double().mean())

    def _measure_data(self, operation: Operation, call: Call) -> None:
        others = [tensor for tensor in call.inputs if not isinstance(tensor, nn.Parameter)]
        if others and not others[0].requires_grad and has_floats(others[0]):
            self._keep(operation.index, "data_rms", rms(others[0]))

    def _keep(self, index: int, key: str, number: Tensor) -> None:
        self._pending.append((index, key, number))


def has_floats(tensor: Tensor) -> bool:
    """Say whether a tensor is a block of floating-point numbers that can be reduced: not sparse, fake or empty."""
    return tensor.is_floating_point() and tensor.numel() > 0 and has_memory(tensor)


def rms(tensor: Tensor) -> Tensor:
    """Return the root mean square of a tensor, in double precision: squares of 1e-22 vanish in single."""
    plain = tensor.detach()
    plain = torch.view_as_real(plain) if plain.is_complex() else plain
    root = max(tensor.numel(), 1) ** 0.5
    if plain.dtype != torch.float64 and plain.device.type == "cpu":
        # Three times as fast, and right to six digits; on a device the question would cost more than the answer.
        size = torch.linalg.vector_norm(plain, dtype=torch.float32).item() / root
        if SAFE_SIZES[0] < size < SAFE_SIZES[1]:
            return torch.tensor(size, dtype=torch.float64)
    return torch.linalg.vector_norm(plain, dtype=torch.float64) / root


def relative_slope(name: str, output: Tensor) -> Tensor | None:
    """Return the slope of a bounded activation, over its largest, from its output; None for the unbounded."""
    if name == "sigmoid":
        return 4 * output * (1 - output)
    if name == "tanh":
        return 1 - output.square()
    if name == "softsign":
        return (1 - output.abs()).square()
    if name == "hardsigmoid":
        return ((output > 0) & (output < 1)).to(output.dtype)
    if name == "hardtanh":
        # From 0 upwards it is relu6: its zeros are those of a rectifier.
        low, high = output.min(), output.max()
        return (((output > low) & (output < high)) | ((output == low) & (low >= 0))).to(output.dtype)
    return None


def _spread(output: Tensor, rows: tuple[int, ...]) -> Tensor:
    """Return the root mean square of what differs along the rows, in double precision, whose squares do not vanish."""
    wide = output if output.dtype == torch.float64 else output.float()
    # Not `var`, which takes three times as long along the first axis.
    return rms(wide - wide.mean(dim=rows, keepdim=True))


def unit_axis(operation: Operation, output: Tensor) -> int:
    """Return the axis along which an output's units lie."""
    return min(operation.unit_axis, max(output.ndim - 1, 0))


def other_axes(tensor: Tensor, axis: int) -> tuple[int, ...]:
    """Return all axes of a tensor but one."""
    return tuple(each for each in range(tensor.ndim) if each != axis)


def to_floats(numbers: Sequence[Tensor]) -> list[float]:
    """Fetch scalars from the devices they lie on, in one transfer for each device."""
    by_device: dict[torch.device, list[int]] = {}
    for position, number in enumerate(numbers):
        by_device.setdefault(number.device, []).append(position)
    found = [0.0] * len(numbers)
    for positions in by_device.values():
        stacked: list[float] = torch.stack([numbers[position].double() for position in positions]).tolist()
        for position, value in zip(positions, stacked, strict=True):
            found[position] = value
    return found
