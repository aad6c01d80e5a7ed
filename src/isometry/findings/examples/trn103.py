"""Inputs that are not normalised, and steps too long for the curvature along their mean."""

import torch
from torch import nn
from torch.nn import functional

import isometry
from isometry.training import Run


def train() -> Run:
    """Return a watched training."""
    inputs = torch.rand(512, 16) + 4
    targets = (inputs[:, 0] + torch.randn(512)).gt(4.5).long()
    model = nn.Linear(16, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.03)
    with isometry.watch(model, optimizer) as run:
        for _ in range(200):
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(inputs), targets)
            loss.backward()
            optimizer.step()
            run.step(loss)
    return run
