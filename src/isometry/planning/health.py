"""Which layers pass signal and gradient on with their size unchanged, and which do not."""

import itertools
import math

from isometry.anatomy.reading import Layer
from isometry.probes.evidence import Evidence
from isometry.probes.statistics import OutputNumbers
from isometry.probes.traces import SMALLEST

MAX_STEP = 0.15  # decades a layer; a He-normal layer of width 64 was seen to stray by up to 0.1


def unhealthy_layers(evidence: Evidence) -> frozenset[int]:
    """Return the operations of layers on stretches of the trunk that shrink or swell signal or gradient."""
    found: set[int] = set()
    heads = {layer.operation for layer in evidence.anatomy.heads}
    for trunk in evidence.anatomy.trunks:
        points = [point for point in trunk if point in evidence.numbers]
        for here, there in itertools.pairwise(points):
            if there not in heads and _is_unhealthy(evidence, here, there):
                found.update({here} | _between(evidence, here, there))
        hidden = [point for point in points if point not in heads]
        if hidden and hidden[-1] in found:
            found.update(heads & set(points))
    layers = {layer.operation for layer in evidence.anatomy.layers}
    return frozenset(found & layers)


def layers_named(evidence: Evidence, names: frozenset[str]) -> frozenset[int]:
    """Return the operations of the layers that findings name, by layer, weight or bias."""

    def is_named(layer: Layer) -> bool:
        return bool(names & {layer.name, *layer.weight, *layer.biases})

    return frozenset(layer.operation for layer in evidence.anatomy.layers if is_named(layer))


def _is_unhealthy(evidence: Evidence, here: int, there: int) -> bool:
    before, after = evidence.numbers[here], evidence.numbers[there]
    layers = max(evidence.anatomy.depth_between(here, there), 1)
    steps = (_step(after.gradient_rms, before.gradient_rms), _step(before.rms, after.rms), _collapse(before, after))
    return any(abs(step) > MAX_STEP * layers for step in steps)


def _step(first: float | None, second: float | None) -> float:
    """Return log10 of the ratio of two sizes, decades; 0 where one of them says nothing."""
    if not first or second is None or not math.isfinite(first) or not math.isfinite(second):
        return 0.0
    return math.log10(first) - math.log10(max(second, SMALLEST))


def _collapse(before: OutputNumbers, after: OutputNumbers) -> float:
    return _step(before.spread, after.spread) - _step(before.rms, after.rms) if before.spread and after.spread else 0.0


def _between(evidence: Evidence, here: int, there: int) -> set[int]:
    """Operations after one point of the trunk up to and with the next."""
    found: set[int] = set()
    waiting = [there]
    while waiting:
        node = waiting.pop()
        if node > here and node not in found:
            found.add(node)
            waiting.extend(evidence.anatomy.flow.before[node])
    return found
