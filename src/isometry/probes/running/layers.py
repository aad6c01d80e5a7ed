"""Turns what forward passes showed into readings, and remembers from one to the next which units were silent."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from isometry.probes.running.foreach import FOREACH
from isometry.probes.running.norms import Norms
from isometry.probes.running.readings import LayerReading
from isometry.probes.running.sighting import SeenActivation, Sighting
from isometry.probes.running.transfer import Transfer
from isometry.probes.statistics import SATURATED_SLOPE, relative_slope

BOUNDED = frozenset({"sigmoid", "tanh", "softsign", "hardsigmoid", "hardtanh"})  # functions whose slope goes
MIN_DEAD_ROWS = 256  # on which a unit was silent before it is called dead; one awake on 5 % of rows is, by 2e-6
MAX_APART = 1_024  # units in which rows are compared; a vocabulary has more


@dataclass(slots=True)
class _Silence:
    """How long the units of one rectifier have been silent.

    Attributes:
        steps: For each unit the recorded steps in a row in which it was zero throughout.
        seen: Recorded steps since the layer was first seen, counts.
    """

    steps: Tensor
    seen: int = 0


class LayerNumbers:
    """Reduces sightings to a few numbers for each layer.

    Args:
        window: Recorded steps that a unit must have been silent for to count as dead, counts.
    """

    def __init__(self, window: int) -> None:
        self._window = window
        self._norms = Norms()
        self._silences: dict[str, _Silence] = {}

    def send(self, sighting: Sighting, transfer: Transfer) -> Callable[[], tuple[LayerReading, ...]]:
        """Send the numbers of all layers to the host.

        Args:
            sighting: What the forward pass showed.
            transfer: What brings them over.

        Returns:
            What makes the readings, once the transfer was made.
        """
        rows = {each.name: each.rows for each in sighting.layers if each.rows is not None}
        first = {each.layer.name: each for each in reversed(sighting.activations)}
        inner = [each for each in sighting.activations if not (each.is_gate or each.is_output)]
        bounded = {each.layer.name: each for each in reversed(inner) if each.function in BOUNDED}
        norms = transfer.add(self._norms.measure(rows))
        nonzero = transfer.add(_roots_of_nonzero({name: each.rows for name, each in first.items()}))
        flat = transfer.add({name: _num_flat(each) for name, each in bounded.items()})
        dead = transfer.add(self._num_dead(first))
        logits = transfer.add({each.name: each.logit_max for each in sighting.layers if each.logit_max is not None})
        outputs = {each.name for each in sighting.layers if each.is_output}
        ends = {name: each for name, each in rows.items() if name in {*outputs, next(iter(rows))} and len(each) > 1}
        apart, whole = (transfer.add(norms) for norms in _apart_and_whole(ends))

        def readings() -> tuple[LayerReading, ...]:
            sizes = {name: norm / rows[name].numel() ** 0.5 for name, norm in norms.items()}
            self._norms.learn(sizes)
            return tuple(
                LayerReading(
                    name=each.name,
                    kind=each.kind,
                    activation_rms=sizes.get(each.name),
                    zero_share=_rest(nonzero[each.name], first[each.name].rows) if each.name in nonzero else None,
                    saturated_share=flat[each.name] / bounded[each.name].rows.numel() if each.name in flat else None,
                    dead_share=round(dead[each.name] ** 2) / _num_units(first[each.name])
                    if each.name in dead
                    else None,
                    logit_max=logits.get(each.name),
                    difference=_ratio(apart[each.name], whole[each.name]) if each.name in ends else None,
                    is_output=each.is_output,
                )
                for each in sighting.layers
            )

        return readings

    def _num_dead(self, activations: Mapping[str, SeenActivation]) -> dict[str, Tensor]:
        """Return the root of the number of dead units of those rectifiers that have been seen for long enough."""
        alike: dict[tuple[torch.device, int], dict[str, Tensor]] = {}
        for name, each in activations.items():
            if each.peaks is not None:
                needed = max(self._window, math.ceil(MIN_DEAD_ROWS / each.num_rows))
                alike.setdefault((each.peaks.device, needed), {})[name] = each.peaks
        found: dict[str, Tensor] = {}
        for (_, needed), peaks in alike.items():
            lengths = [len(each) for each in peaks.values()]
            silences = [self._silence(name, each) for name, each in peaks.items()]
            steps = (torch.cat([each.steps for each in silences]) + 1) * (torch.cat(list(peaks.values())) == 0)
            for silence, part in zip(silences, steps.split(lengths), strict=True):
                silence.steps, silence.seen = part, silence.seen + 1
            roots = FOREACH._foreach_norm((steps >= needed).float().split(lengths), 2)
            each_root = zip(peaks, silences, roots, strict=True)
            found |= {name: root for name, silence, root in each_root if silence.seen >= needed}
        return found

    def _silence(self, name: str, peaks: Tensor) -> _Silence:
        known = self._silences.get(name)
        if known is None or known.steps.shape != peaks.shape or known.steps.device != peaks.device:
            known = self._silences[name] = _Silence(torch.zeros_like(peaks, dtype=torch.int32))
        return known


def _num_units(activation: SeenActivation) -> int:
    return 0 if activation.peaks is None else len(activation.peaks)


def _roots_of_nonzero(rows: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the square root of how many numbers are not zero: counting them one by one takes ten times as long."""
    signs = FOREACH._foreach_sign(list(rows.values())) if rows else []
    return dict(zip(rows, FOREACH._foreach_norm(signs, 2, dtype=torch.float32) if rows else [], strict=True))


def _rest(root: float, rows: Tensor) -> float | None:
    return 1 - round(root**2) / rows.numel()


def _apart_and_whole(rows: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the norms of what differs from the first row and of all, in a precision that no square vanishes in."""
    if not rows:
        return {}, {}
    parts = [each[:, :MAX_APART].double() for each in rows.values()]
    norms = FOREACH._foreach_norm([*FOREACH._foreach_sub(parts, [each[:1] for each in parts]), *parts], 2)
    return dict(zip(rows, norms, strict=False)), dict(zip(rows, norms[len(parts) :], strict=True))


def _ratio(apart: float, whole: float) -> float:
    return apart / whole if whole else 0.0


def _num_flat(activation: SeenActivation) -> Tensor:
    """Return how many outputs of a bounded function lie where its slope is almost gone."""
    slope = relative_slope(activation.function, activation.rows.float())
    assert slope is not None
    return (slope < SATURATED_SLOPE).sum()
