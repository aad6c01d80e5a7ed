"""A weight stored as (inputs, outputs), whose deviation was taken from the wrong axis."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional


def build() -> tuple[Any, ...]:
    """Return a network, its inputs, targets and loss."""

    class Projection(nn.Module):
        """Multiplies by a matrix of (inputs, outputs)."""

        def __init__(self, into: int, out: int) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.empty(into, out))
            nn.init.kaiming_normal_(self.weight)  # takes the second axis for the inputs

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            """Return the product."""
            return x @ self.weight

    model = nn.Sequential(Projection(1024, 16), nn.ReLU(), Projection(16, 1024), nn.ReLU(), nn.Linear(1024, 10))
    return model, torch.randn(128, 1024), torch.randint(10, (128,)), functional.cross_entropy
