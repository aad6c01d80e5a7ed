"""Euclidean norms of many tensors: in single precision, but for those whose squares it cannot hold."""

from collections.abc import Mapping

import torch
from torch import Tensor

from isometry.probes.running.foreach import FOREACH
from isometry.probes.statistics import SAFE_SIZES


class Norms:
    """Remembers whose squares vanished or overflowed the last time, and measures those in double precision.

    Double precision for all would take a copy of each tensor, and five times as long. What is measured for the first
    time is measured so.
    """

    def __init__(self) -> None:
        self._is_safe: dict[str, bool] = {}

    def measure(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the norm of each tensor, on its device and in the order in which they were given.

        Args:
            tensors: Under the names by which they are known from step to step.
        """
        kinds: dict[torch.dtype, list[str]] = {}
        for name, tensor in tensors.items():
            is_single = self._is_safe.get(name, False) and tensor.dtype != torch.float64
            kinds.setdefault(torch.float32 if is_single else torch.float64, []).append(name)
        found: dict[str, Tensor] = {}
        for kind, names in kinds.items():
            norms = FOREACH._foreach_norm([tensors[name] for name in names], 2, dtype=kind)
            found.update(zip(names, norms, strict=True))
        return {name: found[name] for name in tensors}

    def learn(self, sizes: dict[str, float]) -> None:
        """Take in the root mean squares that came of it; an exact zero is safe if it was measured twice."""
        for name, size in sizes.items():
            is_zero_again = size == 0 and not self._is_safe.get(name, False)
            self._is_safe[name] = SAFE_SIZES[0] < size < SAFE_SIZES[1] or is_zero_again
