"""What stands around a layer, and what it asks of the layer's weight and bias."""

import math
from collections.abc import Hashable
from dataclasses import dataclass

from isometry._errors import DomainError
from isometry.anatomy.activations import Activation
from isometry.anatomy.reading import Layer
from isometry.probes.evidence import Evidence
from isometry.probes.losses import LossInputs, LossReading
from isometry.theory.criticality import CriticalPoint, critical_point
from isometry.theory.quadrature import gaussian_mean

HEAD_RMS = 0.5  # of the outputs at the start, at most; cross-entropy then exceeds ln K by about 0.5² / 2
# Mean square of the first pre-activations before an activation that is critical near 0 only, where any start between
# 0.4 and 3.8 was seen to train alike: docs/decisions/0003-start-variance.md.
ORIGIN_START = 1.0
MEAN_TOLERANCE = 1e-3  # in units of the activation; 30 layers then add up to a few percent of its scale


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the neighbours of a layer ask of it.

    Attributes:
        gain: Root mean square of an output over that of an input, dimensionless.
        mean: Mean of the inputs that the bias has to cancel.
        bias_variance: Variance that the biases should have.
        offset: Mean that the outputs should have.
        is_isometric: Whether orthogonal weights keep all directions, not only the mean square.
        words: The reason, for people.
    """

    gain: float
    mean: float
    bias_variance: float
    offset: float
    is_isometric: bool
    words: str


class SurroundingsReader:
    """Reads the surroundings of the layers of one model; the critical point of a function is computed once."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._points: dict[Hashable, CriticalPoint | None] = {}
        self._num_branches = max(len(evidence.anatomy.branches), 1)
        readings = evidence.observer(LossInputs).readings
        self._reading: LossReading | None = readings[0] if readings else None

    def around(self, layer: Layer) -> Surroundings:
        """Return what the neighbours of a layer ask of it."""
        before = self._point(layer.activation_before)
        after = self._point(layer.activation_after)
        gain, words = self._gain(layer, before, after)
        offset = 0.0
        if layer.is_head:
            gain, offset, aim = self._aim(gain, before)
            words += aim
        elif layer.ends_branch and not layer.is_normalised:
            gain /= math.sqrt(self._num_branches)
            words += f", over √{self._num_branches} residual branches"
        return Surroundings(
            gain=gain,
            mean=before.mean if before is not None and before.is_compensated else 0.0,
            bias_variance=0.0 if after is None or layer.is_head else after.bias_variance,
            offset=offset,
            is_isometric=any(point is not None and point.kind == "origin" for point in (before, after)),
            words=words,
        )

    def _gain(self, layer: Layer, before: CriticalPoint | None, after: CriticalPoint | None) -> tuple[float, str]:
        data = self._evidence.numbers[layer.operation].data_rms if layer.operation in self._evidence.numbers else None
        if before is not None and layer.activation_before is not None:
            return before.gain, f"gain {before.gain:.4g} after {layer.activation_before.name}"
        variance = self._start_variance(layer, after)
        if data:
            return math.sqrt(variance) / data, f"reads data of rms {data:.3g}"
        return math.sqrt(variance), "reads a norm" if layer.reads_norm else "no activation before"

    def _start_variance(self, layer: Layer, after: CriticalPoint | None) -> float:
        """Return the mean square that the first pre-activations should have."""
        if after is None or layer.activation_after is None:
            return ORIGIN_START
        if after.kind != "origin":
            return after.variance - after.bias_variance
        # A mean that moves with the variance, like softplus's, is cancelled at the critical variance only.
        drift = abs(gaussian_mean(layer.activation_after, math.sqrt(ORIGIN_START)) - after.mean)
        is_fixed = not after.is_compensated or drift < MEAN_TOLERANCE
        return ORIGIN_START if is_fixed else after.variance

    def _aim(self, gain: float, before: CriticalPoint | None) -> tuple[float, float, str]:
        """Return gain and offset of a head whose outputs should start near those of a constant predictor."""
        reading = self._reading
        scale = 1.0 if before is None else math.sqrt(before.variance)
        shrink = min(HEAD_RMS / scale, 1.0)
        if reading is not None and reading.target_mean is not None:
            deviation = math.sqrt(reading.constant)
            aim = f", outputs at the targets' mean ± {HEAD_RMS * deviation:.3g} at most"
            return gain * shrink * deviation, reading.target_mean, aim
        return gain * shrink, 0.0, f", outputs of rms {HEAD_RMS} at most"

    def _point(self, activation: Activation | None) -> CriticalPoint | None:
        if activation is None or not activation.is_repeatable:
            return None
        key = activation.formula or activation.exit
        if key not in self._points:
            try:
                self._points[key] = critical_point(activation)
            except (DomainError, KeyError):
                # Not a function of one number, or constant: the neighbours then ask for gain 1.
                self._points[key] = None
        return self._points[key]
