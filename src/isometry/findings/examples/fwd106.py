"""Three linear layers in a row are one."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional


def build() -> tuple[Any, ...]:
    """Return a network, its inputs, targets and loss."""
    model = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 10))
    return model, torch.randn(128, 64), torch.randint(10, (128,)), functional.cross_entropy
