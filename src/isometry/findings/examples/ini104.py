"""A weight that was written again after the plan was applied."""

from typing import Any

import torch
from torch import nn

RECIPE = {"*": "he-normal"}  # isometry init FILE:build --recipe he-normal --save-plan plan.toml --out weights


def build() -> tuple[Any, ...]:
    """Return a network that holds what its plan does not write, for `isometry audit FILE:build --plan plan.toml`."""
    hidden = nn.Linear(16, 64)
    nn.init.normal_(hidden.weight, std=5.0)
    return nn.Sequential(hidden, nn.ReLU(), nn.Linear(64, 10)), torch.randn(32, 16)
