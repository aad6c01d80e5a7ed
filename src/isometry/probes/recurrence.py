"""Signal and gradient through time: along the steps of a recurrence, be it one operation or a loop of cells."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor

from isometry.anatomy.listening import listen
from isometry.anatomy.operations import GATES, RECURRENT
from isometry.anatomy.recorder import Call
from isometry.anatomy.tape import Operation
from isometry.probes.evidence import Evidence, probe
from isometry.probes.statistics import has_floats

UNROLLED = frozenset({"lstm", "gru", "rnn_tanh", "rnn_relu"})  # torch's operations that run over all steps inside
MIN_STEPS = 8  # from one end to the other; a shorter chain of one weight loses little whatever its rate
NUM_ROWS = 4  # sequences that are run again; the rate differs by less between sequences than between steps
SMALLEST = 1e-45  # the least positive float32
CHOICES = frozenset({"getitem", "select", "narrow", "index_select", "gather", "take_along_dim"})
JOINS = frozenset({"add", "sub", "lerp", "cat", "stack"})  # what is multiplied, as by a graph's matrix, adds nothing
_IN_TESTING = (0.0, False)  # dropout between the layers, and whether it is on
_IS_BATCH_FIRST = False
_NUM_ARGUMENTS = 9  # of a recurrent operation, on packed sequences as on padded ones


@dataclass(frozen=True, slots=True)
class TimeTrace:
    """One recurrence.

    Attributes:
        name: The layer that is used at every step.
        gradient: Root mean square of the loss's gradient at each step, by the step's distance from where the loss
            reads the recurrence; loss per activation.
        signal: Root mean square of the state after each step, in the order of the steps.
        is_gated: Whether gates decide at each step how much of the state is kept, as in an LSTM or a GRU.
        weights: Canonical names of the weights that lead from one step's state to the next; none where unknown.
        biases: The like of the biases that hold its gates open or shut.
        gate: Which entries of such a bias belong to the gate that keeps the state: the first, and the one after the
            last; (0, 0) where there are none.
    """

    name: str
    gradient: tuple[float, ...]
    signal: tuple[float, ...]
    is_gated: bool
    weights: tuple[str, ...] = ()
    biases: tuple[str, ...] = ()
    gate: tuple[int, int] = (0, 0)

    @property
    def num_steps(self) -> int:
        """Steps that the gradient goes back before it is exactly zero, counts."""
        alive = [distance for distance, rms in enumerate(self.gradient) if rms > 0]
        return alive[-1] if alive else 0

    @property
    def total_decay(self) -> float:
        """Fall of log10 of the gradient over these steps; negative if it grows, decades."""
        if not self.num_steps or self.gradient[0] <= 0:
            return 0.0
        return math.log10(self.gradient[0]) - math.log10(self.gradient[self.num_steps])

    @property
    def decay_per_step(self) -> float:
        """The same for one step, decades."""
        return self.total_decay / max(self.num_steps, 1)

    @property
    def factor_per_step(self) -> float:
        """By what a step multiplies the gradient on its way back, geometric mean, dimensionless."""
        return 10**-self.decay_per_step

    @property
    def total_growth(self) -> float:
        """Growth of log10 of the state from its first steps to the last, decades."""
        early = max(self.signal[: MIN_STEPS // 2], default=0.0)
        return math.log10(max(self.signal[-1], SMALLEST)) - math.log10(max(early, SMALLEST)) if self.signal else 0.0

    def horizon(self, decades: float) -> int:
        """Return from how many steps back on the gradient is weaker by so many decades, counts."""
        floor = self.gradient[0] * 10**-decades
        return next((distance for distance, rms in enumerate(self.gradient) if rms < floor), len(self.gradient))


@dataclass(frozen=True, slots=True)
class Recurrences:
    """All recurrences of a task with enough steps, in the order of execution; none if there is none."""

    traces: tuple[TimeTrace, ...]


@dataclass(slots=True)
class RecurrentRun:
    """What is kept of one call of a recurrent operation: a few sequences, and the gradients at what it returned.

    Attributes:
        inputs: What it read: steps, sequences, features.
        states: The states it began with.
        weights: Its parameters, in torch's order.
        settings: Whether it has biases, its number of layers, and whether it runs both ways.
        signal: Root mean squares of its output by step.
        gradients: The loss's gradients at what it returned, by place.
    """

    inputs: Tensor
    states: tuple[Tensor, ...]
    weights: Sequence[Tensor]
    settings: tuple[bool, int, bool]
    signal: Tensor
    gradients: dict[int, Tensor] = field(default_factory=dict[int, Tensor])


@dataclass(slots=True)
class RecurrentRuns:
    """Observes the recurrent operations that run over all steps at once, of which a few sequences are kept."""

    runs: dict[int, RecurrentRun] = field(default_factory=dict[int, RecurrentRun])

    def __call__(self, operation: Operation, call: Call) -> None:
        """Keep what is needed to run some sequences of the operation again."""
        if operation.name not in UNROLLED or not all(has_floats(each) for each in call.outputs):
            return
        layout = _Layout.of(call)
        if layout is None or layout.num_steps < MIN_STEPS or not any(each.requires_grad for each in call.outputs):
            return
        output = layout.rows(call.outputs[0].detach())
        states = tuple(each.detach()[:, : layout.num_rows].clone() for each in _tensors(layout.state))
        signal = torch.linalg.vector_norm(output, dim=(1, 2), dtype=torch.float64) / output[0].numel() ** 0.5
        inputs = layout.rows(call.args[0].detach()).clone()
        self.runs[operation.index] = run = RecurrentRun(inputs, states, layout.weights, layout.settings, signal)
        for position, tensor in enumerate(call.outputs):
            if tensor.requires_grad:
                listen(tensor, _Keep(run, position, layout))


@dataclass(frozen=True, slots=True)
class _Layout:
    """How the sequences lie in the tensors of one call, padded to one length or packed step by step."""

    num_steps: int
    num_rows: int
    offsets: tuple[int, ...]  # of each step among packed rows; empty for padded sequences
    state: Any
    weights: Sequence[Tensor]
    settings: tuple[bool, int, bool]
    is_batch_first: bool = False

    @classmethod
    def of(cls, call: Call) -> "_Layout | None":
        """Read the arguments of `torch.lstm` and its like; None if they are not as expected."""
        packed = len(call.args) > 1 and isinstance(call.args[1], Tensor) and call.args[1].dtype == torch.int64
        if packed and len(call.args) == _NUM_ARGUMENTS:
            _, sizes, state, weights, biases, layers, _, _, both = call.args
            counts = [int(each) for each in sizes.tolist()]
            offsets = tuple(itertools.accumulate(counts[:-1], initial=0))
            num_rows, settings = min(NUM_ROWS, counts[-1]), (biases, layers, both)
            return cls(len(counts), num_rows, offsets, state=state, weights=weights, settings=settings)
        if not packed and len(call.args) == _NUM_ARGUMENTS:
            data, state, weights, biases, layers, _, _, both, first = call.args
            steps, rows = (data.shape[1], data.shape[0]) if first else (data.shape[0], data.shape[1])
            settings = (biases, layers, both)
            return cls(steps, min(NUM_ROWS, rows), (), state, weights, settings, is_batch_first=first)
        return None

    def rows(self, tensor: Tensor) -> Tensor:
        """Return some sequences of an input or output: steps, sequences, features."""
        if self.offsets:
            return torch.stack([tensor[start : start + self.num_rows] for start in self.offsets])
        return tensor[: self.num_rows].transpose(0, 1) if self.is_batch_first else tensor[:, : self.num_rows]


@dataclass(frozen=True, slots=True)
class _Keep:
    """A hook that keeps some rows of the gradient at one result of a call: all outputs, or the last states."""

    run: RecurrentRun
    position: int
    layout: _Layout

    def __call__(self, gradient: Tensor) -> None:
        rows = self.layout.rows(gradient) if self.position == 0 else gradient[:, : self.layout.num_rows]
        self.run.gradients[self.position] = rows.detach().clone()


@probe(Recurrences, RecurrentRuns)
def trace_recurrences(evidence: Evidence) -> Recurrences:
    """Follow signal and gradient through the steps of every recurrence."""
    runs = evidence.observer(RecurrentRuns).runs
    found = {index: _trace_run(evidence, index, run) for index, run in runs.items() if run.gradients}
    found |= {uses[0]: _trace_loop(evidence, uses) for uses in loops(evidence)}
    traces = (found[index] for index in sorted(found))
    return Recurrences(tuple(each for each in traces if each is not None and len(each.gradient) > MIN_STEPS))


def _trace_run(evidence: Evidence, index: int, run: RecurrentRun) -> TimeTrace | None:
    operation = evidence.step.tape.operations[index]
    found = _gradient_by_step(operation.name, run)
    sources = _sources(run)
    if found is None or not sources:
        return None
    by_step: list[float] = found.tolist()
    distances = [min(abs(step - source) for source in sources) for step in range(len(by_step))]
    if max(distances) < MIN_STEPS:  # the loss reads every step: only growth can be seen, back from the last
        distances = list(range(len(by_step)))[::-1]
    strongest = [0.0] * (max(distances) + 1)
    for distance, rms in zip(distances, by_step, strict=True):
        strongest[distance] = max(strongest[distance], rms)
    signal = tuple(cast("list[float]", run.signal.tolist()))
    if not _is_finite(strongest):
        return None
    is_gated, held = operation.name in GATES, _held(operation)
    return TimeTrace(evidence.step.tape.label(operation), tuple(strongest), signal, is_gated, *held)


def _held(operation: Operation) -> tuple[tuple[str, ...], tuple[str, ...], tuple[int, int]]:
    """Return the names of the recurrent weights and biases, and where the gate that keeps the state lies in these.

    Torch's operations read the weight of the input, the weight of the state, and a bias of each, layer by layer; the
    second gate of an LSTM forgets, the second of a GRU keeps.
    """
    uses = [each for each in operation.parameters if len(each.names) == 1 and each.part is None]
    weights, biases = ([each for each in uses if len(each.shape) == axes] for axes in (2, 1))
    if operation.name not in RECURRENT:
        return tuple(each.names[0] for each in weights if each.shape[0] == each.shape[1]), (), (0, 0)
    if len(weights) % 2 or len(biases) not in {0, len(weights)}:
        return (), (), (0, 0)  # an LSTM that projects its states
    names = tuple(each.names[0] for each in weights[1::2]), tuple(each.names[0] for each in biases[1::2])
    width = biases[0].shape[0] // GATES[operation.name] if biases and operation.name in GATES else 0
    return *names, (width, 2 * width)


def _gradient_by_step(name: str, run: RecurrentRun) -> Tensor | None:
    """Run the kept sequences again, and return the root mean square of the loss's gradient at each step's input."""
    has_biases, num_layers, is_both = run.settings
    state = run.states if name == "lstm" else run.states[0]
    weights = [each.detach() for each in run.weights]
    # In single precision: a float16 gradient is lost after a few steps, which is not the recurrence's fault.
    inputs = run.inputs.float().requires_grad_()
    state = tuple(each.float() for each in state) if isinstance(state, tuple) else state.float()
    weights = [each.float() for each in weights]
    with torch.enable_grad():
        outputs = getattr(torch, name)(
            inputs, state, weights, has_biases, num_layers, *_IN_TESTING, is_both, _IS_BATCH_FIRST
        )
        scale = max((float(each.abs().max()) for each in run.gradients.values()), default=0.0)
        if not scale or not math.isfinite(scale):
            return None
        total = sum((outputs[place] * (each.float() / scale)).sum() for place, each in run.gradients.items())
        (gradient,) = torch.autograd.grad(cast("Tensor", total), [inputs])
    return torch.linalg.vector_norm(gradient, dim=(1, 2), dtype=torch.float64) * (scale / gradient[0].numel() ** 0.5)


def run_first_layer(name: str, run: RecurrentRun) -> Tensor | None:
    """Return the states of the first layer, forward in time: steps, sequences, units; None if it projects them."""
    has_biases, num_layers, is_both = run.settings
    count = len(run.weights) // (num_layers * (1 + is_both))
    if count != (4 if has_biases else 2):
        return None
    states = tuple(each[:1].float() for each in run.states)
    weights = [each.detach().float() for each in run.weights[:count]]
    state, is_one_way = states if name == "lstm" else states[0], True
    with torch.no_grad():
        settings = (has_biases, 1, *_IN_TESTING, not is_one_way, _IS_BATCH_FIRST)
        return getattr(torch, name)(run.inputs.float(), state, weights, *settings)[0]


def _sources(run: RecurrentRun) -> list[int]:
    """Return the steps at which the loss reads the recurrence."""
    last, is_both = len(run.inputs) - 1, run.settings[2]
    found: set[int] = set()
    if 0 in run.gradients:
        found.update(int(step) for step in run.gradients[0].abs().amax(dim=(1, 2)).nonzero().flatten())
    for position in run.gradients.keys() - {0}:
        gets = run.gradients[position].abs().amax(dim=(1, 2)) > 0
        if is_both and bool(gets[1::2].any()):
            found.add(0)
        if bool(gets[:: 2 if is_both else 1].any()):
            found.add(last)
    return sorted(found)


def loops(evidence: Evidence) -> list[list[int]]:
    """Return the operations that use one weight again and again, each reading what the one before it has made."""
    uses: dict[tuple[str, ...], list[int]] = {}
    for layer in evidence.anatomy.layers:
        if layer.kind not in UNROLLED and layer.operation in evidence.anatomy.flow.before:
            uses.setdefault((layer.weight[0], layer.kind), []).append(layer.operation)
    long = (list(dict.fromkeys(each)) for each in uses.values() if len(each) > MIN_STEPS)
    return [each for each in long if _is_chain(evidence, each)]


def _is_chain(evidence: Evidence, uses: list[int]) -> bool:
    before = evidence.anatomy.flow.before
    for first, second in itertools.pairwise(uses):
        behind = {first}
        for node in range(first + 1, second + 1):
            if not behind.isdisjoint(before.get(node, ())):
                behind.add(node)
        if second not in behind:
            return False
    return True


def _trace_loop(evidence: Evidence, uses: list[int]) -> TimeTrace | None:
    numbers = [evidence.numbers[index] for index in uses if index in evidence.numbers]
    gradient = [each.gradient_rms or 0.0 for each in reversed(numbers)]
    signal = [each.rms or 0.0 for each in numbers]
    while gradient and not gradient[0]:
        gradient.pop(0)  # steps after the last that the loss reads
    operations = evidence.step.tape.operations
    between = {operations[index].name for index in range(uses[0], uses[1])}
    is_gated = not between.isdisjoint(GATES) or {"sigmoid", "mul"} <= between
    operation = operations[uses[0]]
    if not gradient or not _is_finite(gradient) or not _is_finite(signal):
        return None
    name = evidence.step.tape.label(operation)
    trace = TimeTrace(name, tuple(gradient), tuple(signal), is_gated, *_held(operation))
    return None if trace.total_decay > 0 and _is_given_one_value(evidence, uses) else trace


def _is_given_one_value(evidence: Evidence, uses: list[int]) -> bool:
    """Say whether each step adds the same to the state, as a search for a fixed point does: it may forget its start."""
    tape = evidence.step.tape
    outside = {value.index for value in tape.values if value.producer is None or value.producer < uses[0]}
    made: dict[int, frozenset[int]] = {index: frozenset({index}) for index in outside}  # from outside alone: from what
    given: list[frozenset[int]] = []
    for first, second in itertools.pairwise(uses):
        joined: set[int] = set()
        for operation in tape.operations[first + 1 : second + 1]:
            parts = [made[value] for value in operation.inputs if value in made]
            whole = frozenset[int]().union(*parts)
            if operation.name in CHOICES:
                whole = frozenset({~operation.index})  # a part of its own, which is not known
            if parts and len(parts) == len(operation.inputs):
                made.update(dict.fromkeys(operation.outputs, whole))
            elif operation.name in JOINS:
                joined |= whole
        given.append(frozenset(joined))
    return bool(given[-1]) and len(set(given[1:])) == 1  # to the first step the state itself comes from outside


def _is_finite(numbers: Sequence[float]) -> bool:
    return all(math.isfinite(each) for each in numbers)


def _tensors(state: Any) -> tuple[Tensor, ...]:
    return (state,) if isinstance(state, Tensor) else tuple(state)


assert UNROLLED < RECURRENT
