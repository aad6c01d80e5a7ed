"""Writes random numbers into tensors; the same ones on every device and, up to rounding, in every dtype."""

from collections.abc import Iterator
from typing import assert_never

import torch
from jaxtyping import Shaped
from torch import Tensor

from isometry._errors import DomainError, ShapeError
from isometry.fills.distributions import Constant, Distribution, Normal, Orthogonal, Uniform
from isometry.fills.streams import Stream


def fill(
    tensor: Shaped[Tensor, "..."],
    distribution: Distribution,
    stream: Stream,
    *,
    rows_axis: int = 0,
    parts: int = 1,
    groups: int = 1,
) -> None:
    """Overwrite a tensor with numbers drawn from a distribution.

    They are drawn on the CPU, in float64 for a float64 tensor and in float32 for all others, then rounded once to the
    tensor's dtype and moved to its device. Torch's global random state is neither read nor changed.

    The axes matter to orthogonal fills alone: the matrix has `rows_axis` as its rows, all other axes as its columns.

    Args:
        tensor: What to overwrite, of any layout; a parameter may require a gradient.
        distribution: What to draw from.
        stream: The key of the numbers.
        rows_axis: The axis of the outputs.
        parts: Independent matrices stacked along `rows_axis`, counts: 3 for packed QKV, 4 for the gates of an LSTM.
        groups: Independent blocks along axis 0, counts: the groups of a convolution, transposed or not.

    Raises:
        DomainError: The tensor does not hold floating-point numbers.

    Example:
        >>> weight = torch.empty(2, 3)
        >>> fill(weight, Constant(0.5), Stream(0, "init", "weight"))
        >>> weight.sum()
        tensor(3.)
    """
    if not tensor.is_floating_point():
        raise DomainError(
            f"{stream.name!r} holds {tensor.dtype}; a distribution needs floating-point numbers. "
            "Leave the parameter out of the plan."
        )
    drawn = torch.empty(
        tensor.shape, dtype=torch.float64 if tensor.dtype == torch.float64 else torch.float32, device="cpu"
    )
    generator = stream.generator()
    match distribution:
        case Normal():
            drawn.normal_(distribution.mean, distribution.std, generator=generator)
        case Uniform():
            drawn.uniform_(distribution.low, distribution.high, generator=generator)
        case Constant():
            drawn.fill_(distribution.value)
        case Orthogonal():
            _check_matrix(tensor, stream.name, rows_axis=rows_axis, parts=parts, groups=groups)
            for block in _blocks(drawn, rows_axis=rows_axis, parts=parts, groups=groups):
                _fill_orthogonal(block, distribution, generator)
        case _:
            assert_never(distribution)
    with torch.no_grad():
        tensor.copy_(drawn)


def _check_matrix(tensor: Tensor, name: str, *, rows_axis: int, parts: int, groups: int) -> None:
    shape = tuple(tensor.shape)
    if len(shape) <= 1 or 0 in shape:
        raise ShapeError(
            f"{name!r} has shape {shape}, which is no matrix. An orthogonal fill needs rows and columns; "
            "choose another scheme for it."
        )
    if not -len(shape) <= rows_axis < len(shape):
        raise ShapeError(f"{name!r} has shape {shape}, which has no axis {rows_axis}; give another rows_axis.")
    if groups < 1 or shape[0] % groups:
        raise ShapeError(
            f"{name!r} has shape {shape}; axis 0 does not divide into {groups} groups. Give another groups."
        )
    is_split_twice = rows_axis % len(shape) == 0
    num_rows = shape[rows_axis] // groups if is_split_twice else shape[rows_axis]
    if parts < 1 or num_rows % parts:
        raise ShapeError(
            f"{name!r} has shape {shape}; its {num_rows} rows on axis {rows_axis} do not divide into {parts} matrices. "
            "Give another parts, or another rows_axis."
        )


def _blocks(tensor: Tensor, *, rows_axis: int, parts: int, groups: int) -> Iterator[Tensor]:
    """Views of the independent matrices, rows first."""
    for group in tensor.chunk(groups, dim=0):
        yield from group.movedim(rows_axis, 0).chunk(parts, dim=0)


def _fill_orthogonal(block: Tensor, distribution: Orthogonal, generator: torch.Generator) -> None:
    """Write one matrix of the Haar measure.

    Source:
        Mezzadri 2007, arXiv:math-ph/0609050, section 5: QR of a Gaussian matrix favours some signs of R's diagonal.
    """
    num_rows, num_columns = block.shape[0], block[0].numel()
    tall = torch.empty(max(num_rows, num_columns), min(num_rows, num_columns), dtype=block.dtype, device="cpu")
    orthonormal, triangle = torch.linalg.qr(tall.normal_(generator=generator))
    signs = torch.ones_like(triangle.diagonal()).copysign(triangle.diagonal())
    orthonormal *= signs * distribution.scale(num_rows, num_columns)
    block.copy_((orthonormal if num_rows >= num_columns else orthonormal.T).reshape(block.shape))
