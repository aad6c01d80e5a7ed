"""The first operation that makes a NaN or an infinity, told apart from those that pass it on."""

from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from isometry.anatomy.record import record_step
from isometry.anatomy.recorder import Call
from isometry.anatomy.tape import Operation, Tape
from isometry.anatomy.task import Batch, tensors_in
from isometry.probes.evidence import Evidence, probe
from isometry.probes.statistics import has_floats

Pass = Literal["batch", "parameter", "forward", "backward"]
MASKS = frozenset({"masked_fill", "where", "full", "full_like", "triu", "tril", "setitem"})


@dataclass(frozen=True, slots=True)
class NonFiniteOrigin:
    """Where the first NaN or infinity came from.

    Attributes:
        during: `batch` or `parameter` if it was there before the step, else the pass it was made in; None if loss
            and gradients are finite.
        where: The layer, parameter or part of the batch.
        operation: The operation that made it; "" for batch and parameters.
        count: Numbers that are not finite there, counts.
        total: Numbers there, counts.
        largest_input: Largest absolute finite number that the operation read; None if unknown.
    """

    during: Pass | None
    where: str = ""
    operation: str = ""
    count: int = 0
    total: int = 0
    largest_input: float | None = None


@probe(NonFiniteOrigin)
def find_origin(evidence: Evidence) -> NonFiniteOrigin:
    """Look for the origin in a second pass, made only if the loss or a gradient is not finite."""
    gradients = [gradient for group in evidence.step.gradients.values() for gradient in group if gradient is not None]
    if evidence.is_finite and all(bool(gradient.isfinite().all()) for gradient in gradients):
        return NonFiniteOrigin(None)
    outside = _outside(evidence)
    if outside is not None:
        return outside
    watch = _Watch()
    tape = record_step(evidence.task, [watch], seed=evidence.seed).tape
    origin = _forward_origin(tape, watch) if not evidence.is_finite else None
    return origin or _backward_origin(tape, watch)


@dataclass(frozen=True, slots=True)
class _Seen:
    nan: int
    infinite: int
    only_negative: bool
    total: int
    nan_inputs: int
    largest_input: float


@dataclass(slots=True)
class _Watch:
    """Observes how many numbers of each output and of each gradient are not finite."""

    outputs: dict[int, _Seen] = field(default_factory=dict)
    gradients: dict[int, int] = field(default_factory=dict)

    def __call__(self, operation: Operation, call: Call) -> None:
        output = call.outputs[0]
        if not has_floats(output):
            return
        if output.requires_grad:

            def keep(gradient: Tensor) -> None:
                self.gradients[operation.index] = _count(gradient)

            output.register_hook(keep)
        values = output.detach()
        infinite = values.isinf()
        self.outputs[operation.index] = _Seen(
            nan=int(values.isnan().sum()),
            infinite=int(infinite.sum()),
            only_negative=not bool((infinite & (values > 0)).any()),
            total=values.numel(),
            nan_inputs=sum(int(tensor.isnan().sum()) for tensor in call.inputs if has_floats(tensor)),
            largest_input=max((_largest(tensor) for tensor in call.inputs), default=0.0),
        )


def _outside(evidence: Evidence) -> NonFiniteOrigin | None:
    """Look at the batch, the parameters and the buffers."""
    batch = evidence.task.batch
    parts = {"inputs": batch.inputs, "targets": batch.targets} if isinstance(batch, Batch) else {"batch": batch}
    for part, tensor in ((part, tensor) for part, things in parts.items() for tensor in tensors_in(things)):
        if _count(tensor) and not _is_mask(tensor):
            return NonFiniteOrigin("batch", part, "", _count(tensor), tensor.numel())
    held = [(name, tensor) for name, tensors in evidence.step.names.parameters.items() for tensor in tensors]
    for name, tensor in (*held, *evidence.task.model.named_buffers()):
        if _count(tensor) and not _is_mask(tensor):
            return NonFiniteOrigin("parameter", name, "", _count(tensor), tensor.numel())
    return None


def _is_mask(tensor: Tensor) -> bool:
    """Say whether a tensor holds zeros and negative infinities alone, as what is added to the scores of attention."""
    return bool(((tensor == 0) | tensor.isneginf()).all())


def _forward_origin(tape: Tape, watch: _Watch) -> NonFiniteOrigin | None:
    """Walk back from the loss through what is not finite, to the operation that read only finite numbers."""
    producer = tape.values[tape.loss].producer
    while producer is not None:
        bad = [maker for maker in _makers(tape, producer) if _is_bad(tape, watch, maker)]
        if not bad:
            break
        # NaN before infinities: what a NaN was made of explains it, an infinity beside it may be harmless.
        producer = max(bad, key=lambda maker: (watch.outputs[maker].nan > 0, maker))
    if producer is None or producer not in watch.outputs:
        return None
    seen = watch.outputs[producer]
    if seen.nan_inputs and not any(_is_bad(tape, watch, maker) for maker in _makers(tape, producer)):
        # It came from outside, but not from where the batch was searched, such as a graph of its own class.
        return NonFiniteOrigin("batch", "batch", "", seen.nan_inputs, seen.total)
    return _origin(tape, watch, producer, during="forward")


def _makers(tape: Tape, index: int) -> list[int]:
    makers = (tape.values[value].producer for value in tape.operations[index].inputs)
    return [maker for maker in makers if maker is not None]


def _is_bad(tape: Tape, watch: _Watch, index: int) -> bool:
    """Say whether an output holds what a reader must not see: a mask of -inf before a softmax is meant."""
    seen = watch.outputs.get(index)
    if seen is None or (seen.nan == 0 and seen.infinite == 0):
        return False
    is_mask = seen.nan == 0 and seen.only_negative and _comes_from_mask(tape, watch, index)
    return not is_mask


def _comes_from_mask(tape: Tape, watch: _Watch, index: int) -> bool:
    operation = tape.operations[index]
    if operation.name in MASKS or operation.name == "add":
        return True
    known = [maker for maker in _makers(tape, index) if maker in watch.outputs]
    return any(watch.outputs[maker].infinite and _comes_from_mask(tape, watch, maker) for maker in known)


def _backward_origin(tape: Tape, watch: _Watch) -> NonFiniteOrigin:
    """Return the last operation in the forward order whose own gradient is finite and whose inputs' are not."""
    for operation in reversed(tape.operations):
        count = max((watch.gradients.get(maker, 0) for maker in _makers(tape, operation.index)), default=0)
        if count and not watch.gradients.get(operation.index, 0):
            return replace(_origin(tape, watch, operation.index, during="backward"), count=count)
    last = next((operation for operation in tape.operations if operation.parameters), tape.operations[-1])
    return _origin(tape, watch, last.index, during="backward")


def _origin(tape: Tape, watch: _Watch, index: int, *, during: Pass) -> NonFiniteOrigin:
    operation, seen = tape.operations[index], watch.outputs.get(index)
    count = 0 if seen is None else seen.nan + seen.infinite
    return NonFiniteOrigin(
        during,
        where=tape.label(operation),
        operation=operation.name,
        count=count,
        total=0 if seen is None else seen.total,
        largest_input=None if seen is None else seen.largest_input,
    )


def _count(tensor: Tensor) -> int:
    return int((~tensor.isfinite()).sum()) if has_floats(tensor) else 0


def _largest(tensor: Tensor) -> float:
    if not has_floats(tensor):
        return 0.0
    return float(torch.nan_to_num(tensor.detach(), nan=0.0, posinf=0.0, neginf=0.0).abs().max())
