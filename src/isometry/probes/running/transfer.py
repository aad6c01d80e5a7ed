"""Numbers on their way to the host: many small tensors, one transfer for each device."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(slots=True)
class Transfer:
    """Collects numbers on their devices; `fetch` brings all of them over at once."""

    _parts: list[tuple[Sequence[Tensor], Callable[[list[float]], None]]] = field(
        default_factory=list[tuple[Sequence[Tensor], Callable[[list[float]], None]]]
    )
    _last: list[Callable[[], None]] = field(default_factory=list[Callable[[], None]])

    def add(self, numbers: Sequence[Tensor], give: Callable[[list[float]], None]) -> None:
        """Send numbers of one device, tensors of one number or of one axis, and say who takes them.

        Args:
            numbers: What to bring over.
            give: Called by `fetch` with all of them, in order.
        """
        if numbers:
            self._parts.append((numbers, give))

    def add_scalars(self, numbers: Sequence[Tensor | float], give: Callable[[list[float]], None]) -> None:
        """Send numbers that may lie on the host already, or on several devices, and say who takes them."""
        found = [0.0] * len(numbers)

        def take(place: int) -> Callable[[list[float]], None]:
            def put(values: list[float]) -> None:
                found[place] = values[0]

            return put

        for place, number in enumerate(numbers):
            if isinstance(number, Tensor):
                self.add([number.detach().reshape(())], take(place))
            else:
                found[place] = float(number)
        self._last.append(lambda: give(found))

    def fetch(self) -> None:
        """Bring over everything that was added, and give it away."""
        by_device: dict[torch.device, list[int]] = {}
        for position, (numbers, _) in enumerate(self._parts):
            by_device.setdefault(numbers[0].device, []).append(position)
        for positions in by_device.values():
            flat = [_flat(self._parts[position][0]) for position in positions]
            values: list[float] = torch.cat(flat).tolist()
            for position, numbers in zip(positions, flat, strict=True):
                self._parts[position][1](values[: len(numbers)])
                del values[: len(numbers)]
        for finish in self._last:
            finish()
        self._parts.clear()
        self._last.clear()


def _flat(numbers: Sequence[Tensor]) -> Tensor:
    joined = torch.stack(list(numbers)) if not numbers[0].ndim else torch.cat(list(numbers))
    return joined.double()
