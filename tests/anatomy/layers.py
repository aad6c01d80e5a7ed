"""Layers that store their weights in every way the tests know of, and the tasks made from them."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from isometry.anatomy.reading import Anatomy, Layer, read
from isometry.anatomy.record import record
from isometry.anatomy.task import Task, tensors_in


class Functional(nn.Module):
    """A weight of any shape, and what is done with it."""

    def __init__(self, *shape: int, forward: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(shape) / 2)
        self._forward = forward

    def forward(self, x: Tensor) -> Any:
        return self._forward(x, self.weight)


def mean_square(model: nn.Module, batch: Any) -> Tensor:
    """The sum of the mean squares of all that a model returns, however nested."""
    outputs = model(*batch) if isinstance(batch, tuple) else model(batch)
    return torch.stack([each.abs().square().mean() for each in tensors_in(outputs)]).sum()


def task_of(model: nn.Module, batch: Any, step: Any = mean_square) -> Task:
    return Task(model=model, batch=batch, step=step)


def anatomy_of(model: nn.Module, batch: Any, step: Any = mean_square) -> Anatomy:
    return read(record(task_of(model, batch, step)))


def layer_of(anatomy: Anatomy, name: str) -> Layer:
    """The first layer that uses a weight."""
    return next(layer for layer in anatomy.layers if name in layer.weight)


def packed(x: Tensor, weight: Tensor) -> Tensor:
    return F.linear(x, weight)


def heads_first(x: Tensor, weight: Tensor) -> Tensor:
    """Packed queries, keys and values, as (3, batch, heads, tokens, width)."""
    batch, tokens, _ = x.shape
    return F.linear(x, weight).view(batch, tokens, 3, 2, -1).permute(2, 0, 3, 1, 4)


class Calls(nn.Module):
    """Layers a, b and c of width 8, and what is done with them."""

    def __init__(self, forward: Callable[[Any, Tensor], Any]) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)
        self.norm = nn.LayerNorm(8)
        self._forward = forward

    def forward(self, x: Tensor) -> Any:
        return self._forward(self, x)


def read_calls(forward: Callable[[Any, Tensor], Any]) -> Anatomy:
    return anatomy_of(Calls(forward), torch.randn(4, 8))


def names_of_branches(anatomy: Anatomy) -> list[tuple[str, ...]]:
    """The layers at the ends of each residual branch."""
    tape = anatomy.tape
    return [tuple(tape.label(tape.operations[end]) for end in branch.ends) for branch in anatomy.branches]


def names_of_trunks(anatomy: Anatomy) -> list[list[str]]:
    tape = anatomy.tape
    sums = {branch.sum for branch in anatomy.branches}
    return [["sum" if n in sums else tape.label(tape.operations[n]) for n in trunk] for trunk in anatomy.trunks]
