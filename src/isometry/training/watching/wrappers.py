"""Finds what a wrapper hides: the user's own model behind torch.compile and DDP, and the optimiser behind its like."""

from typing import cast

import torch
from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the model that the user wrote, whose forward pass runs on one process and uncompiled."""
    while True:
        if isinstance(model, DataParallel | DistributedDataParallel):
            model = cast("nn.Module", model.module)
        elif isinstance(inner := getattr(model, "_orig_mod", None), nn.Module):
            model = inner
        else:
            return model


def own_optimizer(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """Return the optimiser whose step is made, behind a wrapper that keeps it under `optimizer`."""
    while isinstance(inner := getattr(optimizer, "optimizer", None), torch.optim.Optimizer):
        optimizer = inner
    return optimizer
