"""Weights so small that the signal dies out on its way."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional


def build() -> tuple[Any, ...]:
    """Return a network, its inputs, targets and loss."""
    layers: list[nn.Module] = []
    for _ in range(12):
        layer = nn.Linear(64, 64)
        nn.init.normal_(layer.weight, std=0.02)
        nn.init.zeros_(layer.bias)
        layers += [layer, nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(64, 10))
    return model, torch.randn(128, 64), torch.randint(10, (128,)), functional.cross_entropy
