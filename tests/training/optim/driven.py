"""Optimisers driven by gradients that are given instead of computed."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils._python_dispatch import TorchDispatchMode

STEPS = 7
SHAPES = ((5, 3), (4, 2, 3, 3), (6,), ())
RATES = (0.0, 0.3, 0.5, 0.5, 0.2, 0.1, 0.01)


def drawn(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def weights(dtype: torch.dtype = torch.float64) -> list[nn.Parameter]:
    return [nn.Parameter(drawn(*shape, seed=seed, dtype=dtype)) for seed, shape in enumerate(SHAPES)]


def gradients(dtype: torch.dtype = torch.float64, steps: int = STEPS) -> list[list[Tensor]]:
    """Of each parameter in turn, one for each step; their sizes differ by orders of magnitude."""
    return [
        [drawn(*shape, seed=100 * step + seed, dtype=dtype) * 10.0 ** (seed - 1) for step in range(steps)]
        for seed, shape in enumerate(SHAPES)
    ]


def drive(
    optimizer: Optimizer,
    parameters: Sequence[nn.Parameter],
    given: Iterable[Sequence[Tensor | None]],
    *,
    start: int = 0,
) -> None:
    """Step once for each list of gradients, one for each parameter, at the rates of `RATES` from `start` on."""
    for step, row in enumerate(given, start=start):
        for group in optimizer.param_groups:
            group["lr"] = RATES[step % len(RATES)]
        for parameter, gradient in zip(parameters, row, strict=True):
            parameter.grad = None if gradient is None else gradient.clone()
        optimizer.step()


def state(optimizer: Optimizer) -> list[Any]:
    return [kept for each in optimizer.state.values() for kept in each.values()]


class Transfers(TorchDispatchMode):
    """Counts the numbers that are read from tensors while it is entered; on a GPU each of them waits for the device."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        self.count += "_local_scalar_dense" in str(func)
        return func(*args, **(kwargs or {}))
