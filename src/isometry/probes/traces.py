"""Signal and gradient along the trunk: the layers that every way from an input to the loss passes."""

import math
from dataclasses import dataclass

from isometry.probes.evidence import Evidence, NoSubjectError, NotMeasuredError, measure, probe
from isometry.probes.openings import Openings
from isometry.probes.recurrence import MIN_STEPS, loops

SMALLEST = 1e-45  # the least positive float32; a gradient of exactly 0 is at most this
SMALLEST_OF = {"float32": 1e-45, "bfloat16": 9e-41, "float16": 6e-8}  # the least positive number of each type
MIN_LAYERS = 2
ATTENTIONS = frozenset({"softmax", "scaled_dot_product_attention"})


@dataclass(frozen=True, slots=True)
class GradientTrace:
    """Root mean squares of the loss's gradient at the outputs of the hidden layers on the trunk.

    Attributes:
        layers: Names, from the input to the loss.
        rms: Root mean square of the gradient at each, loss per activation.
    """

    layers: tuple[str, ...]
    rms: tuple[float, ...]

    @property
    def total_decay(self) -> float:
        """Fall of log10 of the gradient from the last hidden layer to the first; negative if it grows, decades.

        A layer that is used several times, as in a recurrence, learns from the strongest of its gradients.
        """
        return _decades(self.rms[-1], self._strongest(self.layers[0]))

    @property
    def decay_while_alive(self) -> float:
        """The same fall to the first layer that gets any gradient: small where something flat takes it all, decades."""
        alive = [name for name, rms in zip(self.layers, self.rms, strict=True) if rms > 0]
        return _decades(self.rms[-1], self._strongest(alive[0])) if alive else 0.0

    @property
    def factor_per_layer(self) -> float:
        """By what a layer multiplies the gradient on its way back, geometric mean while any is left, dimensionless."""
        num_alive = sum(rms > 0 for rms in self.rms)
        return 10 ** (-self.decay_while_alive / max(num_alive - 1, 1))

    @property
    def depth_scale(self) -> float:
        """Layers over which the gradient changes by a factor e, counts; infinite where it does not change."""
        rate = abs(math.log(self.factor_per_layer)) if self.factor_per_layer > 0 else math.inf
        return 1 / rate if rate else math.inf

    def lost_to_format(self) -> tuple[str, str] | None:
        """Return the widest float type that loses a gradient, and the layer nearest to the loss where it does."""
        for name, smallest in SMALLEST_OF.items():
            lost = [layer for layer, rms in zip(self.layers, self.rms, strict=True) if rms < smallest]
            if lost:
                return name, lost[-1]
        return None

    @property
    def weakest_layers(self) -> tuple[str, ...]:
        """Names in the order of growing gradients."""
        order = sorted(range(len(self.rms)), key=self.rms.__getitem__)
        return tuple(dict.fromkeys(self.layers[index] for index in order))

    @property
    def strongest_layers(self) -> tuple[str, ...]:
        """Names in the order of falling gradients."""
        order = sorted(range(len(self.rms)), key=self.rms.__getitem__, reverse=True)
        return tuple(dict.fromkeys(self.layers[index] for index in order))

    def lost_from(self, decades: float) -> str | None:
        """Return the last layer, counted from the input, whose gradient is `decades` below the last hidden one's."""
        lost = [name for name, rms in zip(self.layers, self.rms, strict=True) if _decades(self.rms[-1], rms) > decades]
        return lost[-1] if lost else None

    def _strongest(self, layer: str) -> float:
        return max(rms for name, rms in zip(self.layers, self.rms, strict=True) if name == layer)


@dataclass(frozen=True, slots=True)
class SignalTrace:
    """Root mean squares of the outputs of the hidden layers on the trunk.

    Attributes:
        layers: Names, from the input to the loss.
        rms: Root mean square of each layer's output, in the units of the data.
        spread: The part of it that differs between samples, likewise; None where there is one sample only.
        place_spread: Of rows of tokens, the smaller of what differs between samples and between places; empty or None
            where there are no such rows.
    """

    layers: tuple[str, ...]
    rms: tuple[float, ...]
    spread: tuple[float | None, ...]
    place_spread: tuple[float | None, ...] = ()

    @property
    def total_growth(self) -> float:
        """Growth of log10 of the signal from the first hidden layer to the last, decades."""
        return _decades(self.rms[-1], self.rms[0])

    @property
    def factor_per_layer(self) -> float:
        """By what a layer multiplies the signal, geometric mean, dimensionless."""
        return 10 ** (self.total_growth / max(len(self.rms) - 1, 1))

    @property
    def total_collapse(self) -> float | None:
        """Fall of log10 of the share that differs between samples from the first hidden layer to the last, decades."""
        return _collapse(self.rms, self.spread) if self.spread[-1] is not None else None

    @property
    def place_collapse(self) -> float | None:
        """The same fall between samples at each place or between the places of each sample, the larger; decades."""
        return _collapse(self.rms, self.place_spread)


@probe(GradientTrace)
def trace_gradients(evidence: Evidence) -> GradientTrace:
    """Read the gradient's root mean squares from the evidence, along the trunk where they change most."""
    traces: list[GradientTrace] = []
    waiting, gradients = measure(evidence, Openings).before, _gradients(evidence)
    for trunk in _hidden_trunks(evidence):
        points = [point for point in trunk if point in gradients and (point not in waiting or gradients[point])]
        names = tuple(_name(evidence, point) for point in points)
        traces.append(GradientTrace(names, tuple(gradients[point] for point in points)))
    traces = [trace for trace in traces if len(trace.layers) >= MIN_LAYERS]
    if not traces:
        raise NoSubjectError("there are no two hidden layers in a row that a gradient reaches")
    if not all(math.isfinite(value) for trace in traces for value in trace.rms):
        raise NotMeasuredError("a gradient is not finite")
    traces = [trace for trace in traces if trace.rms[-1] > 0]
    if not traces:
        raise NotMeasuredError("the last hidden layer gets a gradient of exactly zero, so nothing can fade behind it")
    return max(traces, key=lambda trace: abs(trace.total_decay))


@probe(SignalTrace)
def trace_signal(evidence: Evidence) -> SignalTrace:
    """Read the signal's root mean squares from the evidence, along the trunk where they change most."""
    traces: list[SignalTrace] = []
    silenced = measure(evidence, Openings).behind
    for points in _hidden_trunks(evidence):
        measured = [(point, evidence.numbers[point]) for point in points if point not in silenced]
        traces.append(
            SignalTrace(
                layers=tuple(_name(evidence, point) for point, _ in measured),
                rms=tuple(numbers.rms or 0.0 for _, numbers in measured),
                spread=tuple(numbers.spread for _, numbers in measured),
                place_spread=tuple(numbers.place_spread for _, numbers in measured),
            )
        )
    traces = [trace for trace in traces if len(trace.layers) >= MIN_LAYERS]
    traces = traces or [trace for trace in [_through_attentions(evidence)] if trace is not None]
    if not traces:
        raise NoSubjectError("there are no two hidden layers in a row")
    if not all(math.isfinite(value) for trace in traces for value in trace.rms):
        raise NotMeasuredError("a signal is not finite")
    return max(traces, key=_largest_change)


def _through_attentions(evidence: Evidence) -> SignalTrace | None:
    """Follow the signal through attentions that no residual path leads around: queries, keys and values lie abreast."""
    # Of the layers of one depth the one that keeps most of what differs between places speaks for all.
    anatomy, operations = evidence.anatomy, evidence.step.tape.operations
    if anatomy.branches or not any(operations[node].name in ATTENTIONS for node in anatomy.flow.nodes):
        return None
    best: dict[int, tuple[float, int]] = {}
    for layer in anatomy.layers:
        numbers = evidence.numbers.get(layer.operation)
        if numbers is not None and numbers.place_spread is not None and numbers.rms and not layer.is_head:
            share = numbers.place_spread / numbers.rms
            best[layer.depth] = max(best.get(layer.depth, (share, layer.operation)), (share, layer.operation))
    points = [best[depth][1] for depth in sorted(best)]
    if len(points) < MIN_LAYERS:
        return None
    found = [evidence.numbers[point] for point in points]
    return SignalTrace(
        layers=tuple(_name(evidence, point) for point in points),
        rms=tuple(numbers.rms or 0.0 for numbers in found),
        spread=tuple(numbers.spread for numbers in found),
        place_spread=tuple(numbers.place_spread for numbers in found),
    )


def _largest_change(trace: SignalTrace) -> float:
    return max(abs(trace.total_growth), trace.total_collapse or 0.0, trace.place_collapse or 0.0)


def _hidden_trunks(evidence: Evidence) -> list[list[int]]:
    """Return the operations on each trunk before the head: layers and residual sums."""
    # Embeddings mix nothing: the gradient at one only says how small its rows are, which a norm makes up for.
    layers = evidence.anatomy.layers
    left_out = {layer.operation for layer in layers if layer.is_head or layer.kind.startswith("embedding")}
    left_out |= {use for uses in loops(evidence) for use in uses[:-1]}  # steps in time, which are no layers in depth
    return [
        [point for point in trunk if point not in left_out and point in evidence.numbers]
        for trunk in evidence.anatomy.trunks
    ]


def _gradients(evidence: Evidence) -> dict[int, float]:
    """Return the gradient at each operation; a layer used at every step of a sequence learns from the strongest."""
    found = {index: each.gradient_rms for index, each in evidence.numbers.items() if each.gradient_rms is not None}
    uses: dict[tuple[str, ...], list[int]] = {}
    for layer in evidence.anatomy.layers:
        if layer.operation in found:
            uses.setdefault(layer.weight, []).append(layer.operation)
    for each in uses.values():
        if len(each) > MIN_STEPS:
            found |= dict.fromkeys(each, max(found[use] for use in each))
    return found


def _name(evidence: Evidence, point: int) -> str:
    return evidence.step.tape.label(evidence.step.tape.operations[point])


def _collapse(sizes: tuple[float, ...], spread: tuple[float | None, ...]) -> float | None:
    """Return the fall of log10 of the share that differs, where it is known: not at a pool or in another stretch."""
    known = [part / max(size, SMALLEST) for size, part in zip(sizes, spread, strict=False) if part is not None]
    is_known = bool(spread) and spread[0] is not None
    return _decades(known[0], known[-1]) if is_known and len(known) >= MIN_LAYERS else None


def _decades(high: float, low: float) -> float:
    return math.log10(max(high, SMALLEST)) - math.log10(max(low, SMALLEST))
