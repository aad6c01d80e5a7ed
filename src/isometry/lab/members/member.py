"""One of many small networks: its size, how it is trained, and where it starts."""

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from isometry._errors import DomainError


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A fully connected ReLU network under AdamW.

    Attributes:
        hidden: Units of each hidden layer, counts.
        learning_rate: Of AdamW.
        weight_decay: Decoupled: each step takes `learning_rate * weight_decay` of every number away, biases too.
        seed: Of its initial weights, and of the order of its batches where each has its own.
    """

    hidden: tuple[int, ...]
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.hidden or min(self.hidden) < 1:
            raise DomainError(f"hidden={self.hidden!r}: a member has at least one hidden layer of at least one unit.")
        if not self.learning_rate > 0 or not self.weight_decay >= 0:
            raise DomainError(
                f"learning_rate={self.learning_rate!r}, weight_decay={self.weight_decay!r}: a rate is positive and a "
                "decay at least 0."
            )

    def num_parameters(self, num_inputs: int, num_outputs: int) -> int:
        """Return how many numbers it trains, counts."""
        sizes = (num_inputs, *self.hidden, num_outputs)
        return sum((into + 1) * out for into, out in pairwise(sizes))


def initial_weights(member: Member, num_inputs: int, num_outputs: int, *, dtype: torch.dtype) -> list[Tensor]:
    """Draw weights and biases in turn, from the first layer on, as `nn.Linear` does: uniform within ±1/√fan_in.

    Args:
        member: Sizes and seed.
        num_inputs: Numbers of one example, counts.
        num_outputs: Classes or predicted numbers, counts.
        dtype: Of the weights; the same numbers rounded, whichever it is.

    Returns:
        Weights of shape (fan_out, fan_in) and biases of shape (fan_out,), two a layer.
    """
    generator = torch.Generator().manual_seed(member.seed)
    sizes = (num_inputs, *member.hidden, num_outputs)
    drawn: list[Tensor] = []
    for into, out in pairwise(sizes):
        bound = 1 / math.sqrt(into)
        for shape in ((out, into), (out,)):
            uniform = torch.rand(shape, generator=generator, dtype=torch.float64)
            drawn.append(((2 * uniform - 1) * bound).to(dtype))
    return drawn
