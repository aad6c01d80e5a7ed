"""Reduces what one forward pass showed to a few numbers for each layer, all layers at once."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor

from isometry.probes.running.foreach import FOREACH
from isometry.probes.running.readings import LayerReading
from isometry.probes.running.sighting import SeenActivation, SeenLayer, Sighting
from isometry.probes.running.transfer import Transfer
from isometry.probes.statistics import SATURATED_SLOPE, relative_slope

BOUNDED = frozenset({"sigmoid", "tanh", "softsign", "hardsigmoid", "hardtanh"})
MIN_DEAD_ROWS = 256  # on which a unit was silent before it is called dead; one awake on 5 % of rows is, by 2e-6
Seen = TypeVar("Seen", SeenLayer, SeenActivation)
Numbers = dict[str, dict[str, float]]


@dataclass(slots=True)
class _Silence:
    """How long the units of one rectifier have been silent.

    Attributes:
        steps: For each unit the recorded steps in a row in which it was zero throughout.
        seen: Recorded steps since the layer was first seen, counts.
    """

    steps: Tensor
    seen: int = 0


@dataclass(slots=True)
class LayerNumbers:
    """Turns sightings into readings, and remembers from one to the next which units were silent.

    Attributes:
        window: Recorded steps that a unit must have been silent for to count as dead, counts.
    """

    window: int
    _silences: dict[str, _Silence] = field(default_factory=dict[str, _Silence])

    def send(self, sighting: Sighting, transfer: Transfer) -> Callable[[], tuple[LayerReading, ...]]:
        """Send the numbers of all layers to the host.

        Args:
            sighting: What the forward pass showed.
            transfer: What brings them over.

        Returns:
            What makes the readings, once the transfer was made.
        """
        numbers: Numbers = {each.name: {} for each in sighting.layers}

        def give(key: str, names: Sequence[str]) -> Callable[[list[float]], None]:
            def take(values: list[float]) -> None:
                for name, value in zip(names, values, strict=True):
                    numbers[name][key] = value

            return take

        for layers in _by_device(each for each in sighting.layers if each.rows is not None):
            transfer.add(_sizes(layers), give("activation_rms", [each.name for each in layers]))
        for layer in sighting.layers:
            if layer.logit_max is not None:
                transfer.add([layer.logit_max], give("logit_max", [layer.name]))
        for activations in _by_device({each.layer.name: each for each in reversed(sighting.activations)}.values()):
            transfer.add(_zero_shares(activations), give("zero_share", [each.layer.name for each in activations]))
        for activations in _by_device(each for each in sighting.activations if each.peaks is not None):
            names, shares = self._dead_shares(activations)
            transfer.add(shares, give("dead_share", names))
        for activations in _bounded(sighting):
            names = [each.layer.name for each in activations]
            transfer.add(_saturated_shares(activations), give("saturated_share", names))
        return lambda: tuple(
            LayerReading(name=each.name, kind=each.kind, **numbers[each.name]) for each in sighting.layers
        )

    def _dead_shares(self, rectifiers: Sequence[SeenActivation]) -> tuple[list[str], list[Tensor]]:
        """Return the shares of dead units of those layers that have been seen for long enough."""
        peaks = [each.peaks for each in rectifiers if each.peaks is not None]
        lengths = [len(each) for each in peaks]
        silences = [self._silence(each.layer.name, peak) for each, peak in zip(rectifiers, peaks, strict=True)]
        steps = (torch.cat([each.steps for each in silences]) + 1) * (torch.cat(peaks) == 0)
        names, dead = list[str](), list[Tensor]()
        for each, silence, part in zip(rectifiers, silences, steps.split(lengths), strict=True):
            silence.steps, silence.seen = part, silence.seen + 1
            needed = max(self.window, -(-MIN_DEAD_ROWS // each.num_rows))
            if silence.seen >= needed:
                names.append(each.layer.name)
                dead.append(part >= needed)
        return names, _shares(torch.cat(dead), [len(each) for each in dead]) if dead else []

    def _silence(self, name: str, peaks: Tensor) -> _Silence:
        known = self._silences.get(name)
        if known is None or known.steps.shape != peaks.shape or known.steps.device != peaks.device:
            known = self._silences[name] = _Silence(torch.zeros_like(peaks, dtype=torch.int32))
        return known


def _by_device(seen: Iterable[Seen]) -> list[list[Seen]]:
    found: dict[torch.device, list[Seen]] = {}
    for each in seen:
        assert each.rows is not None
        found.setdefault(each.rows.device, []).append(each)
    return list(found.values())


def _sizes(layers: Sequence[SeenLayer]) -> list[Tensor]:
    rows = [each.rows for each in layers if each.rows is not None]
    # In double precision: the square of 1e-25 is nothing in single.
    norms = FOREACH._foreach_norm(rows, 2, dtype=torch.float64)
    return list(FOREACH._foreach_div(norms, [each.numel() ** 0.5 for each in rows]))


def _zero_shares(activations: Sequence[SeenActivation]) -> list[Tensor]:
    flat = torch.cat([each.rows.flatten() for each in activations])
    return _shares(flat == 0, [each.rows.numel() for each in activations])


def _bounded(sighting: Sighting) -> list[list[SeenActivation]]:
    """Return the bounded activations that the signal passes, those of one function and device together."""
    inner = {
        each.layer.name: each
        for each in reversed(sighting.activations)
        if each.function in BOUNDED and not (each.is_gate or each.is_output)
    }
    functions = sorted({each.function for each in inner.values()})
    alike = [[each for each in inner.values() if each.function == function] for function in functions]
    return [group for each in alike for group in _by_device(each)]


def _saturated_shares(activations: Sequence[SeenActivation]) -> list[Tensor]:
    lengths = [each.rows.numel() for each in activations]
    name = activations[0].function
    if name == "hardtanh":  # whose ends are read from what came out
        slopes = torch.cat([_slope(name, each.rows) for each in activations])
    else:
        slopes = _slope(name, torch.cat([each.rows.flatten() for each in activations]))
    return _shares(slopes < SATURATED_SLOPE, lengths)


def _slope(name: str, rows: Tensor) -> Tensor:
    slope = relative_slope(name, rows.float().flatten())
    assert slope is not None
    return slope


def _shares(truths: Tensor, lengths: Sequence[int]) -> list[Tensor]:
    """Return the share of truths in each of the pieces that lie one behind the other."""
    counts = FOREACH._foreach_norm(list(truths.float().split(list(lengths))), 1)
    return list(FOREACH._foreach_div(counts, [float(length) for length in lengths]))
