"""Which examples of a data set in memory a batch must not miss: those with numbers that nothing can be made of."""

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

MAX_NUMBERS = 2**29  # of a tensor; reading more of it takes longer than a second
MAX_LABEL = 2**17  # beyond it whole numbers are amounts, and the largest of them is an outlier rather than a label
MAX_SUSPECTS = 64  # rows with too large a sum that are read again
FLOATS = frozenset({torch.float16, torch.bfloat16, torch.float32, torch.float64})
LABELS = frozenset({torch.int32, torch.int64})


def broken_rows(tensors: Iterable[Tensor], rows: Sequence[int]) -> list[int]:
    """Return an example with a number that is not finite from each tensor of which a batch has none.

    Args:
        tensors: A data set in memory, with an example a row.
        rows: The examples of the batch.
    """
    found = (_broken_row(each, rows) for each in tensors if _is_readable(each) and each.dtype in FLOATS)
    return [row for row in found if row is not None]


def extreme_rows(tensors: Iterable[Tensor], rows: Sequence[int]) -> list[int]:
    """Return the examples with the least and the largest label or token that a batch does not have.

    Args:
        tensors: As for `broken_rows`.
        rows: As for `broken_rows`.
    """
    return [row for each in tensors if _is_readable(each) and each.dtype in LABELS for row in _extremes(each, rows)]


def _is_readable(tensor: Tensor) -> bool:
    is_plain = type(tensor) is Tensor and tensor.layout == torch.strided and tensor.device.type != "meta"
    return is_plain and 0 < tensor.numel() <= MAX_NUMBERS


def _broken_row(tensor: Tensor, rows: Sequence[int]) -> int | None:
    others = tuple(range(1, tensor.ndim))
    # A sum is not finite where a number is not, and takes no memory; it may also be too large.
    sums = tensor.detach().sum(others, dtype=torch.float64) if others else tensor.detach()
    suspects: list[int] = (~sums.isfinite()).nonzero().flatten()[:MAX_SUSPECTS].tolist()
    broken = [row for row in suspects if not bool(tensor[row].isfinite().all())]
    return broken[0] if broken and set(rows).isdisjoint(broken) else None


def _extremes(tensor: Tensor, rows: Sequence[int]) -> Iterator[int]:
    others = tuple(range(1, tensor.ndim))
    low, high = (tensor.amin(others), tensor.amax(others)) if others else (tensor, tensor)
    if int(high.max()) > MAX_LABEL or int(low.min()) < -MAX_LABEL:
        return
    chosen = torch.as_tensor(rows, device=tensor.device)
    if int(low[chosen].min()) > int(low.min()):
        yield int(low.argmin())
    if int(high[chosen].max()) < int(high.max()):
        yield int(high.argmax())
