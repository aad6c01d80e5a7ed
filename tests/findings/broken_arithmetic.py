"""Networks whose numbers do not fit into the type they are computed in, or that leave the numbers after a few steps."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from isometry.anatomy.task import Task
from tests.findings.broken import broken
from tests.findings.networks import Function, classify, stack


def in_half_precision(model: nn.Module, loss: Callable[[Any], Tensor]) -> Task:
    """A model under autocast to float16, without a loss scale."""
    return Task(
        model=model,
        batch=torch.randn(64, 16),
        step=lambda model, batch: loss(model(batch)),
        context=lambda: torch.autocast("cpu", dtype=torch.float16),
    )


@broken("low-precision-overflow")
def scores_beyond_half_precision() -> Task:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.query, self.key, self.head = nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 10)

        def forward(self, x: Tensor) -> Tensor:
            scores = self.query(x) @ self.key(x).transpose(1, 2)
            return self.head((scores.softmax(-1) @ x).mean(1))

    labels = torch.randint(10, (32,))
    return Task(
        model=Attention(),
        batch=500 * torch.randn(32, 8, 64),
        step=lambda model, batch: F.cross_entropy(model(batch).float(), labels),
        context=lambda: torch.autocast("cpu", dtype=torch.float16),
    )


@broken("low-precision-overflow")
def a_constant_that_half_precision_cannot_hold() -> Task:
    def unit(x: Tensor) -> Tensor:
        x = x.relu() - x.relu()
        return x / (x.norm(dim=1, keepdim=True) + 1e-8)

    model = nn.Sequential(nn.Linear(16, 32), Function(unit), nn.Linear(32, 10)).half()
    labels = torch.randint(10, (64,))
    return Task(
        model=model,
        batch=torch.randn(64, 16).half(),
        step=lambda model, batch: F.cross_entropy(model(batch).float(), labels),
    )


@broken("gradient-underflow")
def a_loss_too_small_for_half_precision() -> Task:
    return in_half_precision(stack(16, 64, 64, 10), lambda out: 1e-6 * (out.float() - 1).square().mean())


@broken("nan-inf")
def adam_in_half_precision() -> Task:
    task = classify(stack(16, 64, 10).half())
    inputs, targets = task.batch.inputs.half(), task.batch.targets
    return replace(
        task,
        batch=inputs,
        examples=None,
        step=lambda model, batch: F.cross_entropy(model(batch), targets),
        optimizer_factory=lambda parameters: torch.optim.Adam(parameters, lr=1e-3),
    )


@broken("nan-inf")
def entropy_of_probabilities_that_reach_zero() -> Task:
    task = classify(stack(16, 64, 10))
    inputs, targets = task.batch.inputs, task.batch.targets

    def step(model: nn.Module, batch: Tensor) -> Tensor:
        out = model(batch)
        probabilities = (8 * out).softmax(1)
        entropy = -(probabilities * probabilities.log()).sum(1).mean()
        return F.cross_entropy(out, targets) + 0.1 * entropy

    return replace(
        task,
        batch=inputs,
        examples=None,
        step=step,
        optimizer_factory=lambda parameters: torch.optim.Adam(parameters, lr=0.03),
    )
