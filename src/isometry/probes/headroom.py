"""How far the result of every operation is from the largest number of a narrow type of floats."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from isometry.anatomy.operations import RESHAPES
from isometry.anatomy.record import record
from isometry.anatomy.recorder import Call
from isometry.anatomy.tape import Operation, Tape
from isometry.probes.domains import is_at_edge
from isometry.probes.evidence import Evidence, measure, probe
from isometry.probes.operands import Operand, can_be_read, count_bad, is_inexact, summarise
from isometry.probes.origin import MASKS, NonFiniteOrigin, layers_before
from isometry.probes.statistics import has_floats, to_floats

NARROW = frozenset({torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2})
_NARROW_NAMES = frozenset(str(each).removeprefix("torch.") for each in NARROW)
LARGE = 1e4  # what is added to scores to mask them is at least as far below zero
HIDES_MASKS = frozenset({"softmax", "log_softmax", "logsumexp", "max", "amax", "exp", "sigmoid"})


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one operation, beside the largest number of a type.

    Attributes:
        where: Name of its layer.
        operation: Its name.
        dtype: Its type, such as `float16`.
        largest: Largest absolute finite number, in its own unit.
        infinite: Numbers that are infinite or NaN though the operation read finite ones, counts.
        total: Numbers, counts.
        vanished: The constant that was added or clamped to and that is 0 in this type; None if there is none.
        is_edge: Whether it left the numbers in a way that no wider type can cure.
        upstream: The nearest layers before it.
        only_negative: Whether all of them are -inf, as a mask is.
        is_gradient: Whether these are not its results but the gradients that its derivative makes.
    """

    where: str
    operation: str
    dtype: str
    largest: float
    infinite: int = 0
    total: int = 0
    vanished: float | None = None
    is_edge: bool = False
    upstream: tuple[str, ...] = ()
    only_negative: bool = False
    is_gradient: bool = False

    @property
    def share(self) -> float:
        """Its largest number over that of its type, dimensionless."""
        return self.largest / limit_of(self.dtype)


@dataclass(frozen=True, slots=True)
class Headroom:
    """The results of a step that are nearest to the end of float16, or of the narrow types it runs in.

    Attributes:
        results: Those that are not finite in the order of execution, then the others, the largest first. None where
            a step in wider types makes no number beyond float16.
        is_narrow: Whether these are results in a narrow type; else they are what they would be in float16.
        does_harm: Whether the loss or a gradient is not finite.
    """

    results: tuple[Result, ...]
    is_narrow: bool
    does_harm: bool = False


@dataclass(slots=True)
class NarrowResults:
    """Observes the results in narrow types, and what the operations that made them read."""

    results: dict[int, tuple[Operand, tuple[Operand, ...]]] = field(
        default_factory=dict[int, tuple[Operand, tuple[Operand, ...]]]
    )
    vanished: dict[int, float] = field(default_factory=dict[int, float])

    def __call__(self, operation: Operation, call: Call) -> None:
        """Reduce the first output of an operation."""
        output = call.outputs[0]
        if output.dtype not in NARROW or not output.numel() or not can_be_read(output):
            return
        if operation.name in RESHAPES and all(each.dtype == output.dtype for each in call.inputs):
            return
        found = summarise(output)
        inputs = tuple(summarise(each) for each in call.inputs if is_inexact(each) and each is not output)
        constant = _lost_constant(operation, output)
        if constant is not None and found.zeros:
            self.vanished[operation.index] = constant
        self.results[operation.index] = (found, inputs)


@dataclass(slots=True)
class Extremes:
    """Observes the smallest and the largest number of each result."""

    _pending: list[tuple[int, Tensor, Tensor]] = field(default_factory=list[tuple[int, Tensor, Tensor]])

    def __call__(self, operation: Operation, call: Call) -> None:
        """Reduce the first output of an operation."""
        output = call.outputs[0]
        if operation.name not in RESHAPES and has_floats(output):
            low, high = torch.aminmax(_largest_inside(operation, call))
            self._pending.append((operation.index, low, high))

    def extremes(self) -> dict[int, tuple[float, float]]:
        """Return the smallest and the largest number by the operation's index; NaN where a result holds one."""
        pending, self._pending = self._pending, []
        values = to_floats([number for _, low, high in pending for number in (low, high)])
        return {index: (values[2 * place], values[2 * place + 1]) for place, (index, _, _) in enumerate(pending)}


@probe(Headroom, NarrowResults)
def measure_headroom(evidence: Evidence) -> Headroom:
    """Sort the results by how near they are to the end of the numbers."""
    observer, tape = evidence.observer(NarrowResults), evidence.step.tape
    if observer.results:
        found = [_narrow(tape, observer, index) for index in observer.results]
        is_ill = _is_ill(evidence)
        if is_ill and not any(each.infinite for each in found):
            found.extend(_in_backward_pass(measure(evidence, NonFiniteOrigin)))
        found.sort(key=lambda each: (not each.infinite, 0 if each.infinite else -each.share))
        return Headroom(tuple(found), is_narrow=True, does_harm=is_ill)
    if _is_ill(evidence) or not _may_be_large(evidence):
        return Headroom((), is_narrow=False)
    exact = Extremes()
    tape = record(evidence.task, [exact], seed=evidence.seed)
    extremes = exact.extremes()
    masked = _masked(tape, extremes)
    found = [
        Result(tape.label(tape.operations[index]), tape.operations[index].name, "float16", largest)
        for index, (low, high) in extremes.items()
        if math.isfinite(largest := high if index in masked else max(abs(low), abs(high)))
    ]
    return Headroom(tuple(sorted(found, key=lambda each: -each.share)), is_narrow=False)


def limit_of(dtype: str) -> float:
    """Return the largest number of a type."""
    return float(torch.finfo(getattr(torch, dtype)).max)


def _is_ill(evidence: Evidence) -> bool:
    gradients = (each for group in evidence.step.gradients.values() for each in group if each is not None)
    return not evidence.is_finite or any(count_bad(each) for each in gradients)


def _may_be_large(evidence: Evidence) -> bool:
    """Say whether a result can hold a number beyond float16: no square exceeds the sum of squares, which is known."""
    tape = evidence.step.tape
    for index, numbers in evidence.numbers.items():
        operation = tape.operations[index]
        count = math.prod(tape.values[operation.outputs[0]].shape)
        is_mask = operation.name in MASKS or _adds_a_mask(tape, index)
        if (numbers.rms or 0.0) * math.sqrt(count) > limit_of("float16") and not is_mask:
            return True
    return False


def _largest_inside(operation: Operation, call: Call) -> Tensor:
    """Return an operation's result, or the larger numbers that it makes on the way and that its own type must hold.

    torch sums the squares inside of its norms in float32, whatever the type of its input; those of a mean square loss
    it does not.
    """
    with torch.no_grad():
        if operation.name == "mse_loss" and len(call.inputs) > 1:
            return (call.inputs[0] - call.inputs[1]).square()
        return call.outputs[0].detach()


def _narrow(tape: Tape, observer: NarrowResults, index: int) -> Result:
    operation = tape.operations[index]
    output, inputs = observer.results[index]
    is_mask = operation.name in MASKS or (output.nan == 0 and output.only_negative and _adds_a_mask(tape, index))
    makers = (tape.values[value].producer for value in operation.inputs)
    lost = next((observer.vanished[maker] for maker in makers if maker in observer.vanished), None)
    own = 0 if is_mask or any(each.bad for each in inputs) else output.bad
    return Result(
        tape.label(operation),
        operation.name,
        output.dtype,
        output.largest if not is_mask else max(output.high, 0.0),
        infinite=own,
        total=output.total,
        vanished=lost if own else None,
        is_edge=lost is None and (is_at_edge(operation.name, operation.settings, inputs)),
        upstream=layers_before(tape, index) if own else (),
        only_negative=output.nan == 0 and output.only_negative,
    )


def _in_backward_pass(origin: NonFiniteOrigin) -> Iterator[Result]:
    """Yield the gradient that does not fit into a narrow type, if that is what went wrong."""
    types = [origin.dtype, *(each.dtype for each in origin.operands)]
    narrow = next((each for each in types if each in _NARROW_NAMES), None)
    at_edge = is_at_edge(origin.operation, origin.settings, origin.operands, is_backward=True) or origin.is_custom
    if origin.during == "backward" and narrow is not None and not at_edge:
        yield Result(
            origin.where,
            origin.operation,
            narrow,
            origin.largest_input or 0.0,
            infinite=origin.count,
            total=max(origin.total, origin.count),
            upstream=origin.upstream,
            is_gradient=True,
        )


def _adds_a_mask(tape: Tape, index: int) -> bool:
    """Say whether an operation adds something to scores that a softmax reads next."""
    made = set(tape.operations[index].outputs)
    readers = (each.name for each in tape.operations[index + 1 :] if not made.isdisjoint(each.inputs))
    return tape.operations[index].name in {"add", "sub", "mul"} and bool(HIDES_MASKS.intersection(readers))


def _masked(tape: Tape, extremes: dict[int, tuple[float, float]]) -> set[int]:
    """Return the operations whose smallest numbers are a mask's: very negative ones, until a softmax hides them."""
    found: set[int] = set()
    for operation in tape.operations:
        low, high = extremes.get(operation.index, (0.0, 0.0))
        makers = {tape.values[value].producer for value in operation.inputs}
        is_new = operation.name in MASKS or (operation.name in {"add", "sub", "mul"} and low < -LARGE < high < LARGE)
        if operation.name not in HIDES_MASKS and (is_new or not found.isdisjoint(makers - {None})):
            found.add(operation.index)
    return found


def _lost_constant(operation: Operation, output: Tensor) -> float | None:
    """Return the small constant that was to keep a result from zero, if it is zero itself in the result's type."""
    if operation.name not in {"add", "clamp", "clamp_min"}:
        return None
    for value in operation.settings.values():
        if isinstance(value, float) and value > 0 and float(torch.tensor(value, dtype=output.dtype)) == 0:
            return value
    return None
