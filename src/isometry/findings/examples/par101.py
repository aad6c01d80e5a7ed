"""A detach between the layers and the head."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class Cut(nn.Module):
    """A network whose first layer never learns."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(16, 64)
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        return self.head(functional.relu(self.hidden(x)).detach())


def build() -> tuple[Any, ...]:
    """Return a network, its inputs, targets and loss."""
    return Cut(), torch.randn(128, 16), torch.randint(10, (128,)), functional.cross_entropy
