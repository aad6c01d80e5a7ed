"""Fifty examples for a thousand units, a third of them labelled wrongly."""

import torch
from torch import nn
from torch.nn import functional

import isometry
from isometry.training import Run


def train() -> Run:
    """Return a watched training."""
    inputs = torch.randn(1050, 16)
    targets = torch.where(torch.rand(1050) < 1 / 3, torch.randint(4, (1050,)), inputs[:, :4].argmax(dim=1))
    model = nn.Sequential(nn.Linear(16, 1000), nn.ReLU(), nn.Linear(1000, 4))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    with isometry.watch(model, optimizer) as run:
        for number in range(200):
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(inputs[:50]), targets[:50])
            loss.backward()
            optimizer.step()
            run.step(loss)
            if number % 10 == 0:
                with torch.no_grad():
                    run.evaluate(val_loss=functional.cross_entropy(model(inputs[50:]), targets[50:]))
    return run
