"""A logarithm of numbers that a rectifier made zero."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class Logarithm(nn.Module):
    """Takes the logarithm of what may be zero."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(16, 64)
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        return self.head(functional.relu(self.hidden(x)).log())


def build() -> tuple[Any, ...]:
    """Return a network, its inputs, targets and loss."""
    return Logarithm(), torch.randn(128, 16), torch.randint(10, (128,)), functional.cross_entropy
