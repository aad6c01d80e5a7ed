"""Four layers that were made by copying the first."""

import copy
from typing import Any

import torch
from torch import nn
from torch.nn import functional


def build() -> tuple[Any, ...]:
    """Return a network, its inputs, targets and loss."""
    first = nn.Linear(64, 64)
    layers = [layer for _ in range(4) for layer in (copy.deepcopy(first), nn.ReLU())]
    model = nn.Sequential(*layers, nn.Linear(64, 10))
    return model, torch.randn(128, 64), torch.randint(10, (128,)), functional.cross_entropy
