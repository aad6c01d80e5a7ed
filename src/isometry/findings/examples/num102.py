"""A norm of one's own, whose squares are too large for float16."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class Squares(nn.Module):
    """Sums squares of what is large already."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(64, 256)
        self.head = nn.Linear(256, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        hidden = self.hidden(40 * x)
        size = (hidden * hidden).sum(dim=-1, keepdim=True).sqrt()
        return self.head(hidden / size)


def build() -> tuple[Any, ...]:
    """Return a network, its inputs, targets and loss."""
    return Squares().half(), torch.randn(32, 64).half(), torch.randint(10, (32,)), functional.cross_entropy
