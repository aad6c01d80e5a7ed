"""Numbers on their way to the host: many single ones, and one transfer for each device."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor

Key = TypeVar("Key", bound=Hashable)


@dataclass(slots=True)
class Transfer:
    """Collects numbers on their devices; `fetch` brings all of them over at once."""

    _waiting: list[tuple[Tensor, dict[Any, float], Any]] = field(
        default_factory=list[tuple[Tensor, dict[Any, float], Any]]
    )

    def add(self, numbers: Mapping[Key, Tensor]) -> dict[Key, float]:
        """Send tensors of one number each.

        Args:
            numbers: What to bring over, from any device.

        Returns:
            Where `fetch` will put them, under the same keys.
        """
        found: dict[Key, float] = {}
        self._waiting.extend((number, found, key) for key, number in numbers.items())
        return found

    def fetch(self) -> None:
        """Bring over everything that was added."""
        by_device: dict[torch.device, dict[torch.dtype, list[int]]] = {}
        for place, (number, _, _) in enumerate(self._waiting):
            by_device.setdefault(number.device, {}).setdefault(number.dtype, []).append(place)
        for by_kind in by_device.values():
            stacks = [torch.stack([self._waiting[place][0] for place in places]) for places in by_kind.values()]
            values: list[float] = torch.cat([stack.double() for stack in stacks]).tolist()
            places = (place for places in by_kind.values() for place in places)
            for place, value in zip(places, values, strict=True):
                _, found, key = self._waiting[place]
                found[key] = value
        self._waiting.clear()
