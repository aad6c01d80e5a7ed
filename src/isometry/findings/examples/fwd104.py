"""Weights so large that every sigmoid is 0 or 1."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional


def build() -> tuple[Any, ...]:
    """Return a network, its inputs, targets and loss."""
    hidden = nn.Linear(16, 64)
    nn.init.normal_(hidden.weight, std=10.0)
    model = nn.Sequential(hidden, nn.Sigmoid(), nn.Linear(64, 10))
    return model, torch.randn(128, 16), torch.randint(10, (128,)), functional.cross_entropy
