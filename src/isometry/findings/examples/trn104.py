"""Inputs that are the same for all samples: the frequencies of the classes are all that can be learnt."""

import math

import torch
from torch import nn
from torch.nn import functional

import isometry
from isometry.training import Run


def train() -> Run:
    """Return a watched training."""
    inputs, targets = torch.zeros(512, 16), torch.arange(512) % 10
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with isometry.watch(model, optimizer, every=50, baseline=math.log(10)) as run:
        for _ in range(1100):
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(inputs), targets)
            loss.backward()
            optimizer.step()
            run.step(loss)
    return run
