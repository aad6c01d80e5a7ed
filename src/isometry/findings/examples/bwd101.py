"""Thirty sigmoid layers as PyTorch makes them."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional


def build() -> tuple[Any, ...]:
    """Return a network, its inputs, targets and loss."""
    layers = [layer for _ in range(30) for layer in (nn.Linear(64, 64), nn.Sigmoid())]
    model = nn.Sequential(*layers, nn.Linear(64, 10))
    return model, torch.randn(128, 64), torch.randint(10, (128,)), functional.cross_entropy
