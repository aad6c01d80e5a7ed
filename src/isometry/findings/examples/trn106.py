"""One batch that nobody normalised."""

import torch
from torch import nn
from torch.nn import functional

import isometry
from isometry.training import Run

SPOILT = 150  # the step whose batch is


def train() -> Run:
    """Return a watched training."""
    model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 4))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    with isometry.watch(model, optimizer) as run:
        for number in range(200):
            inputs = torch.randn(64, 16)
            targets = inputs[:, :4].argmax(dim=1)
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(30 * inputs if number == SPOILT else inputs), targets)
            loss.backward()
            optimizer.step()
            run.step(loss)
    return run
