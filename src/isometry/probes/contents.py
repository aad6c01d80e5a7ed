"""What a tensor holds, in a few numbers: its moments, its extremes, and traces of memory that nobody wrote."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from isometry._memory import has_memory

CHUNK = 2**18  # numbers widened at a time, 2 MB; they stay in the cache while they are reduced several times
SAMPLE = 2**14  # numbers that the typical size is read from, counts; their median strays by 1 %
HUGE = math.sqrt(torch.finfo(torch.float32).max)  # 1.8e19; its square is no float32, and so is no norm or variance
FADED = 1e-20  # units of the weight; a unit that decayed in training is smaller throughout, and fresh ones are not
DECAY_KEEPS = 1e6  # largest number of a decayed tensor over its median; bits of something else are 1e10 apart
MATRIX_AXES = 2  # counts; a vector has no units
NORMAL_MEDIAN = 0.6744897501960817  # median of |x| for a standard normal x, dimensionless


@dataclass(frozen=True, slots=True)
class TensorNumbers:
    """The contents of one tensor; of complex ones the parts are counted.

    Attributes:
        size: Numbers in it, counts.
        mean: Their mean.
        rms: Their root mean square.
        low: The smallest; NaN if one of them is.
        high: The largest; NaN if one of them is.
        typical: The standard deviation of a normal distribution with the same median of |x|, from a sample; a few
            large numbers do not move it.
        num_zero: Of them exactly zero, counts.
        num_subnormal: Of them too small for the type's full precision, and not zero; counts. Always 0 for types of
            16 bits or less with a narrow range, where a sound weight may be as small.
    """

    size: int
    mean: float
    rms: float
    low: float
    high: float
    typical: float
    num_zero: int
    num_subnormal: int

    @property
    def std(self) -> float:
        """Root mean square about the mean."""
        return self.rms_about(self.mean)

    @property
    def largest(self) -> float:
        """Largest magnitude; NaN if one of them is."""
        return max(abs(self.low), abs(self.high)) if self.low == self.low and self.high == self.high else math.nan

    @property
    def is_finite(self) -> bool:
        """Whether none is NaN or infinite."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    @property
    def is_constant(self) -> bool:
        """Whether all are one number."""
        return self.low == self.high

    @property
    def is_zero(self) -> bool:
        """Whether all are zero."""
        return self.low == self.high == 0

    def rms_about(self, centre: float) -> float:
        """Return the root mean square of the distance from a number."""
        if self.is_constant:
            return abs(self.low - centre)
        return math.sqrt(max(self.rms**2 - 2 * centre * self.mean + centre**2, 0.0))


def numbers_of(tensors: Sequence[Tensor]) -> list[TensorNumbers | None]:
    """Return the contents of tensors, in one pass over each and one transfer from each device.

    Args:
        tensors: Of any kind; nothing in them is changed.

    Returns:
        Their numbers in the same order, None for a tensor that holds no floating-point numbers or no memory.
    """
    flat = [_flat(tensor) for tensor in tensors]
    sums = {place: _reduced(values) for place, values in enumerate(flat) if values is not None}
    found: list[TensorNumbers | None] = [None] * len(flat)
    by_device: dict[torch.device, list[int]] = {}
    for place, row in sums.items():
        by_device.setdefault(row.device, []).append(place)
    for places in by_device.values():
        rows: list[list[float]] = torch.stack([sums[place] for place in places]).tolist()
        for place, row in zip(places, rows, strict=True):
            values = flat[place]
            assert values is not None
            found[place] = _numbers(values.numel(), row)
    return found


def is_huge(numbers: TensorNumbers) -> bool:
    """Say whether one of the numbers is of absurd size, infinite or NaN."""
    return not numbers.largest <= HUGE


def has_one_huge_value(tensor: Tensor) -> bool:
    """Say whether all numbers of absurd size in a tensor are one up to the sign, as what masks add and bounds are."""
    values = _flat(tensor)
    assert values is not None
    huge = values[values.abs() > HUGE].abs()
    return len(huge) > 0 and bool((huge == huge[0]).all()) and not bool(values.isnan().any())


def looks_unwritten(tensor: Tensor) -> bool:
    """Say whether finite numbers of a tensor look like bits of something else: of absurd size, or too small.

    Weights that decayed during training are as small, but all over their unit.

    Args:
        tensor: Floating-point, with memory.

    Returns:
        Whether a matrix mixes such numbers with others, or a tensor holds nothing else.
    """
    values = _flat(tensor)
    assert values is not None
    size = values.abs().nan_to_num(nan=0.0, posinf=0.0)
    is_small = (size > 0) & (size < _least_full(values.dtype))
    if bool((size > HUGE).any()) or bool((is_small | (size == 0)).all()):
        return bool(size.any())
    if tensor.ndim < MATRIX_AXES:
        return False
    if float(size.max()) < FADED:  # all of it: what decayed did so together, and keeps its proportions
        return bool(is_small.any()) and bool(size.max() > DECAY_KEEPS * size[size > 0].median())
    for axis in (0, 1):  # what decayed did so along a unit of this layer or of the one before
        lines = size.reshape(tensor.shape).movedim(axis, 0).flatten(1)
        largest = lines.amax(dim=1).reshape(-1, *(1,) * (tensor.ndim - 1)).movedim(0, axis)
        is_small = is_small.reshape(tensor.shape) & (largest > FADED)
    return bool(is_small.any())


def _flat(tensor: Tensor) -> Tensor | None:
    if not has_memory(tensor) or tensor.numel() == 0 or not (tensor.is_floating_point() or tensor.is_complex()):
        return None
    plain = tensor.detach()
    return (torch.view_as_real(plain) if plain.is_complex() else plain).reshape(-1)


def _reduced(values: Tensor) -> Tensor:
    """Return sum, sum of squares, smallest, largest, zeros, zeros and subnormals, and typical size, in float64."""
    least = _least_full(values.dtype)
    scratch = torch.empty(min(values.numel(), CHUNK), dtype=torch.float64, device=values.device)
    rows: list[Tensor] = []
    for piece in values.split(CHUNK):
        wide = scratch[: len(piece)].copy_(piece)
        low, high = wide.aminmax()
        numbers = [wide.sum(), wide.dot(wide), low, high]
        numbers += _small(wide.abs_(), least)
        rows.append(torch.stack(numbers))
    table = torch.stack(rows)
    total, least_of_all, largest = table.sum(0), table[:, 2].amin(), table[:, 3].amax()
    sample = values[:: values.numel() // SAMPLE | 1].double().abs()  # odd: not down the columns of a matrix alone
    return torch.stack([total[0], total[1], least_of_all, largest, total[4], total[5], sample.median()])


def _small(sizes: Tensor, least: float) -> list[Tensor]:
    """Return how many are zero, and how many below the smallest of full precision."""
    if sizes.device.type == "cpu" and sizes.amin() >= least:  # as nearly always, and five times as fast
        return [sizes.new_zeros(())] * 2
    return [(len(sizes) - sizes.count_nonzero()).double(), (sizes < least).count_nonzero().double()]


def _least_full(dtype: torch.dtype) -> float:
    """Return the smallest number of full precision; the smallest of all for types with a narrow range."""
    limits = torch.finfo(dtype)
    return limits.tiny if limits.tiny < torch.finfo(torch.float32).eps ** 2 else 5e-324


def _numbers(size: int, row: Sequence[float]) -> TensorNumbers:
    total, squares, low, high, zeros, small, median = row
    return TensorNumbers(
        size=size,
        mean=total / size,
        rms=math.sqrt(squares / size) if squares >= 0 else math.nan,
        low=low,
        high=high,
        typical=median / NORMAL_MEDIAN,
        num_zero=int(zeros),
        num_subnormal=int(small - zeros) if small >= zeros else 0,
    )
