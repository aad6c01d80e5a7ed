"""Numbers on their way to the host: many single ones, and one transfer for each device."""

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor

Key = TypeVar("Key", bound=Hashable)


@dataclass(slots=True)
class Transfer:
    """Collects numbers on their devices; `fetch` brings all of them over at once."""

    _waiting: dict[tuple[torch.device, torch.dtype], list[tuple[Tensor, dict[Any, float], Any]]] = field(
        default_factory=dict[tuple[torch.device, torch.dtype], list[tuple[Tensor, dict[Any, float], Any]]]
    )

    def add(self, numbers: Mapping[Key, Tensor]) -> dict[Key, float]:
        """Send tensors of one number each.

        Args:
            numbers: What to bring over, from any device.

        Returns:
            Where `fetch` will put them, under the same keys in the same order.
        """
        found = dict.fromkeys(numbers, math.nan)
        for key, number in numbers.items():
            self._waiting.setdefault((number.device, number.dtype), []).append((number, found, key))
        return found

    def fetch(self) -> None:
        """Bring over everything that was added."""
        for device in {device for device, _ in self._waiting}:
            alike = [each for (other, _), each in self._waiting.items() if other == device]
            stacks = [torch.stack([number for number, _, _ in each]).double() for each in alike]
            values: list[float] = torch.cat(stacks).tolist()
            places = (place for each in alike for place in each)
            for (_, found, key), value in zip(places, values, strict=True):
                found[key] = value
        self._waiting.clear()
