"""Which layers pass signal and gradient on with their size unchanged, and which do not."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from isometry.anatomy.reading import Layer
from isometry.probes.evidence import Evidence
from isometry.probes.statistics import OutputNumbers
from isometry.probes.traces import SMALLEST

MAX_STEP = 0.15  # decades a layer; a He-normal layer of width 64 was seen to stray by up to 0.1
MAX_REST = 2.0  # decades that all steps left in peace may add up to, half of what the rules allow
MIN_STEP = 1e-3  # decades a layer; a thousand layers then lose one


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Two neighbours on a trunk: the layers between them, and the decades lost between them."""

    here: int
    there: int
    num_layers: int
    decades: tuple[float, float, float]

    def exceeds(self, allowed: float) -> bool:
        return any(abs(each) > allowed * self.num_layers for each in self.decades)


def unhealthy_layers(evidence: Evidence) -> frozenset[int]:
    """Return the operations of layers on stretches of the trunk that shrink or swell signal or gradient.

    A stretch is one of them if it changes either by more than its layers may; what they may is less where many small
    steps add up, as in a deep residual network whose branches are not scaled.
    """
    found: set[int] = set()
    heads = {layer.operation for layer in evidence.anatomy.heads}
    for trunk in evidence.anatomy.trunks:
        points = [point for point in trunk if point in evidence.numbers and point not in heads]
        gets_gradient = bool(points) and bool(evidence.numbers[points[-1]].gradient_rms)
        stretches = [
            _stretch(evidence, here, there, gets_gradient=gets_gradient) for here, there in itertools.pairwise(points)
        ]
        for stretch in _unhealthy(stretches):
            found.update({stretch.here} | evidence.anatomy.flow.between(stretch.here, stretch.there))
        if points and points[-1] in found:
            found.update(heads & set(trunk))
    layers = {layer.operation for layer in evidence.anatomy.layers}
    return frozenset(found & layers)


def _unhealthy(stretches: Sequence[_Stretch]) -> list[_Stretch]:
    allowed = MAX_STEP
    while True:
        rest = [stretch.decades for stretch in stretches if not stretch.exceeds(allowed)]
        if allowed < MIN_STEP or all(abs(sum(each)) <= MAX_REST for each in zip(*rest, strict=True)):
            return [stretch for stretch in stretches if stretch.exceeds(allowed)]
        allowed /= 2


def layers_named(evidence: Evidence, names: frozenset[str]) -> frozenset[int]:
    """Return the operations of the layers that findings name, by layer, weight or bias."""

    def is_named(layer: Layer) -> bool:
        return bool(names & {layer.name, *layer.weight, *layer.biases})

    return frozenset(layer.operation for layer in evidence.anatomy.layers if is_named(layer))


def _stretch(evidence: Evidence, here: int, there: int, *, gets_gradient: bool) -> _Stretch:
    before, after = evidence.numbers[here], evidence.numbers[there]
    num_layers = max(evidence.anatomy.depth_between(here, there), 1)
    fall = _step(after.gradient_rms, before.gradient_rms)
    if gets_gradient and after.gradient_rms == before.gradient_rms == 0:
        fall = math.inf  # it has faded to nothing on the way here
    return _Stretch(here, there, num_layers, (fall, _step(before.rms, after.rms), _collapse(before, after)))


def _step(first: float | None, second: float | None) -> float:
    """Return log10 of the ratio of two sizes, decades; 0 where one of them says nothing."""
    if not first or second is None or not math.isfinite(first) or not math.isfinite(second):
        return 0.0
    return math.log10(first) - math.log10(max(second, SMALLEST))


def _collapse(before: OutputNumbers, after: OutputNumbers) -> float:
    return _step(before.spread, after.spread) - _step(before.rms, after.rms) if before.spread and after.spread else 0.0
