"""What a forward pass writes into a model, such as the averages of a batch norm, as the last good step left it."""

import torch
from torch import nn

from isometry.probes.running.foreach import FOREACH


class Buffers:
    """Copies of a model's buffers, of which only those that move are copied again.

    A batch norm writes without counting it as a write, so that which buffers move is seen by their numbers.

    Args:
        model: Whose buffers.
    """

    def __init__(self, model: nn.Module) -> None:
        own = {id(each): each for each in model.buffers()}
        self._buffers = [each.detach() for each in own.values()]
        self._copies = [each.clone() for each in self._buffers]
        self._moving: set[int] = set()

    def keep(self) -> None:
        """Copy the buffers that are known to move."""
        if self._moving:
            _copy([self._copies[place] for place in self._moving], [self._buffers[place] for place in self._moving])

    def look(self) -> None:
        """Find out which buffers move; costs a comparison of all of them."""
        pairs = enumerate(zip(self._buffers, self._copies, strict=True))
        self._moving |= {place for place, (buffer, copy) in pairs if not torch.equal(buffer, copy)}

    def restore(self) -> None:
        """Put all buffers back."""
        _copy(self._buffers, self._copies)


def _copy(targets: list[torch.Tensor], sources: list[torch.Tensor]) -> None:
    if targets:
        with torch.no_grad():
            FOREACH._foreach_copy_(targets, sources)
