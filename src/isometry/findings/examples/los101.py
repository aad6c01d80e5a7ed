"""A head whose weights are a hundred times too large."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional


def build() -> tuple[Any, ...]:
    """Return a network, its inputs, targets and loss."""
    head = nn.Linear(64, 10)
    nn.init.normal_(head.weight, std=10.0)
    model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), head)
    return model, torch.randn(128, 16), torch.randint(10, (128,)), functional.cross_entropy
