"""How many parts of a network differ, and after which steps of a training they are counted."""

import torch
from torch import Tensor


def num_distinct(rows: Tensor, *, equal: float) -> int:
    """Return how many of some rows differ by more than rounding.

    Args:
        rows: (parts, numbers).
        equal: Largest distance of rows that are one, over the largest row's length; dimensionless.

    Returns:
        The number of groups of rows that are as good as equal.
    """
    gaps = torch.cdist(rows, rows) / rows.norm(dim=1).max()
    return sum(not bool((gaps[row, :row] < equal).any()) for row in range(len(rows)))


def doubling(last: int) -> list[int]:
    """Return 0, the powers of 2 below a number, and that number."""
    powers = [2**power for power in range(last.bit_length())]
    return sorted({0, *(power for power in powers if power < last), last})
