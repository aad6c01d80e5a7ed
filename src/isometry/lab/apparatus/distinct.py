"""How many parts of a network differ."""

import math

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
    size = rows.norm(dim=1).max()
    # By a matrix product distances are quick, and those of copies are rounding's root: it tells which rows are alone.
    rounding = 2 * math.sqrt(rows.shape[1] * torch.finfo(rows.dtype).eps)
    near = torch.cdist(rows, rows) <= (equal + rounding) * size
    left = rows[near.sum(1) > 1]
    count = len(rows) - len(left)
    while len(left):
        left = left[(left - left[0]).norm(dim=1) > equal * size]
        count += 1
    return count
