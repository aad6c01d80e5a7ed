"""The step that is being made: what has happened in it so far."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

MAX_PARTS = 64  # losses of one step's micro-batches that are kept before they are summed


@dataclass(slots=True)
class CurrentStep:
    """What has happened in the step that is being made.

    Attributes:
        is_recorded: Whether it is to be measured.
        parts: Losses of this step's micro-batches; the first of them is a sum where there are many.
        count: Of these micro-batches.
        bad: Parameters whose gradient is not finite.
        is_updated: Whether the optimiser has made its step.
        is_measured: Whether the meter has seen the gradients.
    """

    is_recorded: bool = False
    parts: list[Tensor] = field(default_factory=list[Tensor])
    count: int = 0
    bad: tuple[str, ...] = ()
    is_updated: bool = False
    is_measured: bool = False

    def hear(self, loss: Tensor) -> None:
        """Take in the loss of a micro-batch."""
        self.parts.append(loss)
        self.count += 1
        if len(self.parts) > MAX_PARTS:
            self.parts = [torch.stack(self.parts).sum()]

    def mean(self) -> Tensor:
        """Return the mean loss of the micro-batches."""
        return self.parts[0] if self.count == 1 else torch.stack(self.parts).sum() / self.count
