"""Queries and keys that are trained with a step a hundred times too long, and have no norm."""

import torch
from torch import Tensor, nn
from torch.nn import functional

import isometry
from isometry.training import Run


class Attention(nn.Module):
    """An attention over the rows of each sample."""

    def __init__(self) -> None:
        """Make the layers."""
        super().__init__()
        self.query, self.key, self.value = nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return one number for each row."""
        return functional.scaled_dot_product_attention(self.query(x), self.key(x), self.value(x))


def train() -> Run:
    """Return a watched training."""
    model = Attention()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.3)
    with isometry.watch(model, optimizer) as run:
        for _ in range(200):
            inputs = torch.randn(16, 32, 16)
            optimizer.zero_grad()
            loss = functional.mse_loss(
                model(inputs), inputs.max(dim=1, keepdim=True).values[..., :1].expand(-1, 32, -1)
            )
            loss.backward()
            optimizer.step()
            run.step(loss)
    return run
