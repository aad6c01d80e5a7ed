"""What a forward pass writes into a model, such as the averages of a batch norm, as the last good step left it."""

import warnings
from collections.abc import Callable

import torch
from torch import nn

from isometry._errors import describe
from isometry.probes.running.foreach import FOREACH


class Buffers:
    """Copies of a model's buffers, of which only those that move are copied again.

    A batch norm writes without counting it as a write, so that which buffers move is seen by their numbers. Where
    looking or copying fails they are given up with one warning.

    Args:
        model: Whose buffers.
    """

    def __init__(self, model: nn.Module) -> None:
        own = {id(each): each for each in model.buffers()}
        self._buffers = [each.detach() for each in own.values()]
        self._copies = [each.clone() for each in self._buffers]
        self._moving: set[int] = set()
        self._is_given_up = False

    def keep(self) -> None:
        """Copy the buffers that are known to move."""
        self._tried(self._keep)

    def look(self) -> None:
        """Find out which buffers move; costs a comparison of all of them."""
        self._tried(self._look)

    def restore(self) -> None:
        """Put all buffers back."""
        self._tried(lambda: _copy(self._buffers, self._copies))

    def _keep(self) -> None:
        if self._moving:
            _copy([self._copies[place] for place in self._moving], [self._buffers[place] for place in self._moving])

    def _look(self) -> None:
        pairs = enumerate(zip(self._buffers, self._copies, strict=True))
        self._moving |= {place for place, (buffer, copy) in pairs if not torch.equal(buffer, copy)}

    def _tried(self, act: Callable[[], None]) -> None:
        if self._is_given_up:
            return
        try:
            act()
        except Exception as error:  # noqa: BLE001 - the training must not die of a copy
            self._is_given_up = True
            warnings.warn(
                f"the model's buffers cannot be kept: {describe(error)}. The training goes on; a step that is left "
                "out leaves its mark on them.",
                stacklevel=5,
            )


def _copy(targets: list[torch.Tensor], sources: list[torch.Tensor]) -> None:
    if targets:
        with torch.no_grad():
            FOREACH._foreach_copy_(targets, sources)
