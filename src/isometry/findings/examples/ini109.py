"""Two parameters that are views of one memory, each with an entry of its own in the plan."""

from typing import Any

import torch
from torch import Tensor, nn

RECIPE = {"*": "he-normal"}  # isometry init FILE:build --recipe he-normal --save-plan plan.toml --out weights


class Shared(nn.Module):
    """Two matrices, the second of which begins inside of the first."""

    def __init__(self) -> None:
        super().__init__()
        whole = torch.randn(24, 16)
        self.front = nn.Parameter(whole[:16])
        self.back = nn.Parameter(whole[8:])

    def forward(self, x: Tensor) -> Tensor:
        """Return one product after the other."""
        return (x @ self.front).relu() @ self.back


def build() -> tuple[Any, ...]:
    """Return a network and its inputs, for `isometry audit FILE:build --plan plan.toml`."""
    return Shared(), torch.randn(32, 16)
