"""Some rows of a tensor, spread evenly over all of them, and copied before anything can overwrite them."""

import torch
from torch import Tensor

MIN_ROWS = 16  # that are looked at even where units are many
MAX_NUMBERS = 8_192  # of one tensor that are looked at, rows times units
GOLDEN = 0.618_033_988_749_895  # its multiples fall evenly and out of step with images' lines and sequences' lengths
MAX_PLANS = 256  # shapes whose rows are remembered; sequences of any length bring new ones


class RowSampler:
    """Draws the same rows of every tensor of one shape; no random number is drawn.

    Args:
        rows: How many at most.
    """

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._plans: dict[tuple[torch.Size, int, torch.device], tuple[Tensor, ...] | None] = {}

    def sample(self, tensor: Tensor, axis: int) -> Tensor:
        """Return rows by units: a copy of some rows of a tensor whose units lie along `axis`.

        Args:
            tensor: At least one number, without a gradient.
            axis: Its axis of units, not negative; a row is everything at one place of the others.
        """
        key = (tensor.shape, axis, tensor.device)
        if key not in self._plans:
            if len(self._plans) >= MAX_PLANS:
                self._plans.clear()
            self._plans[key] = self._plan(tensor, axis)
        plan = self._plans[key]
        is_last = axis == tensor.ndim - 1
        if plan is None:
            moved = tensor if is_last else tensor.movedim(axis, -1)
            return moved.reshape(-1, moved.shape[-1]).clone()
        if is_last and tensor.is_contiguous():
            return tensor.view(-1, tensor.shape[-1]).index_select(0, plan[0])
        moved = tensor if is_last else tensor.movedim(axis, -1)
        return moved[plan[1:]]

    def _plan(self, tensor: Tensor, axis: int) -> tuple[Tensor, ...] | None:
        """Return the rows' numbers and then their places along each other axis; None for all rows."""
        units = tensor.shape[axis]
        count = tensor.numel() // units
        take = max(MIN_ROWS, min(self._rows, MAX_NUMBERS // units))
        if take >= count:
            return None
        # One row of each of `take` even stretches, at a place in it that changes from stretch to stretch.
        order = torch.arange(take + 1, device=tensor.device)
        bounds = order * count // take
        numbers = bounds[:-1] + (order[:-1].double().mul(GOLDEN).frac() * bounds.diff()).long()
        others = [length for position, length in enumerate(tensor.shape) if position != axis]
        return (numbers, *torch.unravel_index(numbers, others))
