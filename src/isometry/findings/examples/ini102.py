"""The second half of the units copies the first, in front and behind."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional


def build() -> tuple[Any, ...]:
    """Return a network, its inputs, targets and loss."""
    first, last = nn.Linear(16, 64), nn.Linear(64, 10)
    with torch.no_grad():
        first.weight[32:] = first.weight[:32]
        first.bias[32:] = first.bias[:32]
        last.weight[:, 32:] = last.weight[:, :32]
    model = nn.Sequential(first, nn.ReLU(), last)
    return model, torch.randn(128, 16), torch.randint(10, (128,)), functional.cross_entropy
