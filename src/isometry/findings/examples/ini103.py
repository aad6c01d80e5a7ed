"""A weight that was allocated and never written holds whatever was in memory."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional


def build() -> tuple[Any, ...]:
    """Return a network, its inputs, targets and loss."""
    hidden = nn.Linear(16, 64)
    garbage = torch.randint(-(2**31), 2**31 - 1, (64, 16), dtype=torch.int32).view(torch.float32)
    hidden.weight = nn.Parameter(torch.where(garbage.isfinite(), garbage, 0.0))
    model = nn.Sequential(hidden, nn.ReLU(), nn.Linear(64, 10))
    return model, torch.randn(128, 16), torch.randint(10, (128,)), functional.cross_entropy
