"""Labels -1 and 1 for a loss that takes 0 to 1."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional


def build() -> tuple[Any, ...]:
    """Return a network, its inputs, targets and loss."""
    model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 1))
    targets = 2.0 * torch.randint(2, (128, 1)) - 1
    return model, torch.randn(128, 16), targets, functional.binary_cross_entropy_with_logits
