"""Layers that multiply the signal by seven each."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional


def build() -> tuple[Any, ...]:
    """Return a network, its inputs, targets and loss."""
    layers: list[nn.Module] = []
    for _ in range(8):
        layer = nn.Linear(64, 64)
        nn.init.normal_(layer.weight, std=10 * (2 / 64) ** 0.5)
        layers += [layer, nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(64, 10))
    return model, torch.randn(128, 64), torch.randint(10, (128,)), functional.cross_entropy
