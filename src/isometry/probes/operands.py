"""What a tensor that an operation read or made held: how many zeros, infinities, and from where to where it went."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from isometry._memory import has_memory


@dataclass(frozen=True, slots=True)
class Operand:
    """One tensor that an operation read, reduced to what decides whether its result is finite.

    Attributes:
        dtype: Its type, such as `float32`.
        total: Its numbers, counts.
        nan: Those that are NaN, counts.
        infinite: Those that are infinite, counts.
        zeros: Those that are exactly zero, counts.
        negative: Finite ones below zero, counts.
        low: The smallest finite number; of complex numbers the smallest magnitude. NaN if there is none.
        high: The largest finite number; of complex numbers the largest magnitude. NaN if there is none.
        empty_rows: Rows along the last axis that hold nothing but -inf, counts.
        source: The operation that made it, reshapes left out; "" if it is data or a parameter.
        only_negative: Whether all of its infinities are negative, as in a mask.
    """

    dtype: str
    total: int
    nan: int = 0
    infinite: int = 0
    zeros: int = 0
    negative: int = 0
    low: float = math.nan
    high: float = math.nan
    empty_rows: int = 0
    source: str = ""
    only_negative: bool = True

    @property
    def bad(self) -> int:
        """Numbers that are not finite, counts."""
        return self.nan + self.infinite

    @property
    def largest(self) -> float:
        """Largest absolute finite number; 0 if there is none."""
        return max((abs(each) for each in (self.low, self.high) if not math.isnan(each)), default=0.0)


def can_be_read(tensor: Tensor) -> bool:
    """Say whether a tensor is a block of numbers, whole, real or complex: not sparse, quantised or fake."""
    return tensor.layout == torch.strided and not tensor.is_quantized and has_memory(tensor)


def is_inexact(tensor: Tensor) -> bool:
    """Say whether a tensor can hold NaN and infinities, and can be read."""
    return (tensor.is_floating_point() or tensor.is_complex()) and can_be_read(tensor)


def count_bad(tensor: Tensor | None) -> int:
    """Return how many numbers of a tensor are NaN or infinite."""
    if tensor is None or not is_inexact(tensor):
        return 0
    values = widened(tensor)
    if values.sum().isfinite():  # a NaN or infinity shows in the sum, which takes a tenth of the time
        return 0
    return int(values.isfinite().logical_not().sum())


def summarise(tensor: Tensor, source: str = "") -> Operand:
    """Reduce a tensor of numbers; `source` names the operation that made it."""
    dtype = str(tensor.dtype).removeprefix("torch.")
    values = widened(tensor)
    if values.is_complex():
        values = values.abs()
    finite = values.isfinite()
    infinite = values.isinf()
    inside = values[finite]
    low, high = (math.nan, math.nan) if not inside.numel() else (float(inside.min()), float(inside.max()))
    return Operand(
        dtype=dtype,
        total=values.numel(),
        nan=int(values.isnan().sum()),
        infinite=int(infinite.sum()),
        zeros=int((values == 0).sum()),
        negative=int((inside < 0).sum()),
        low=low,
        high=high,
        empty_rows=int(values.isneginf().all(-1).sum()) if values.ndim and values.numel() else 0,
        source=source,
        only_negative=not bool((infinite & (values > 0)).any()),
    )


def widened(tensor: Tensor) -> Tensor:
    """Return a tensor's numbers in a type that all reductions know; the eight-bit floats know none."""
    tensor = tensor.detach()
    if tensor.is_complex():
        return tensor
    return tensor if tensor.dtype in {torch.float32, torch.float64} else tensor.double()
