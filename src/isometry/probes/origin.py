"""Search for the first operation that makes a NaN or an infinity, told apart from those that pass it on."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from isometry.anatomy.names import ParameterNames
from isometry.anatomy.operations import RESHAPES
from isometry.anatomy.record import record_step
from isometry.anatomy.recorder import Call
from isometry.anatomy.tape import Operation, Tape
from isometry.anatomy.task import Batch, Task, tensors_in
from isometry.probes.backward_origin import (
    OUT_OF_SIGHT,
    BackwardWatch,
    Breakage,
    Leaves,
    leaves_behind,
    name_of,
    nodes_behind,
)
from isometry.probes.operands import Operand, can_be_read, count_bad, is_inexact, summarise

Pass = Literal["batch", "parameter", "forward", "backward", "update"]
MASKS = frozenset({"masked_fill", "where", "full", "full_like", "triu", "tril", "setitem"})
SELECTIONS = RESHAPES | {"gather", "index_select", "masked_select", "take_along_dim"}  # their numbers are the input's
# Functions of parameters alone that are named before what else was done to them.
POINTED = frozenset(
    {"log", "log2", "log10", "log1p", "sqrt", "rsqrt", "pow", "div", "reciprocal", "exp", "acos", "logit"}
)
MIN_SCALE = 128.0  # loss scales of mixed precision are powers of two from here on; dimensionless


@dataclass(frozen=True, slots=True)
class NonFiniteOrigin:
    """Where the first NaN or infinity came from.

    Attributes:
        during: `batch` or `parameter` if it was there before the step, else the pass it was made in; None if loss
            and gradients are finite. `update` if the optimiser made it of finite gradients.
        where: The layer, parameter or part of the batch.
        operation: The operation that made it; "" for batch and parameters.
        count: Numbers that are not finite there, counts.
        total: Numbers there, counts.
        largest_input: Largest absolute finite number that the operation read; None if unknown.
        operands: What the operation read, tensor by tensor.
        settings: What it was given beside tensors.
        dtype: Type of its result, such as `float32`.
        upstream: The nearest layers before it.
        readers: Operations that read its result, by name.
        is_custom: Whether it is a user's own `autograd.Function`.
        index: The operation's place on the tape; None if it has none.
        steps: Steps of the optimiser that were made on a copy until then; 0 for the model as it is.
    """

    during: Pass | None
    where: str = ""
    operation: str = ""
    count: int = 0
    total: int = 0
    largest_input: float | None = None
    operands: tuple[Operand, ...] = ()
    settings: Mapping[str, object] = field(default_factory=dict[str, object])
    dtype: str = ""
    upstream: tuple[str, ...] = ()
    readers: tuple[str, ...] = ()
    is_custom: bool = False
    index: int | None = None
    steps: int = 0


def origin_in(task: Task, *, seed: int) -> NonFiniteOrigin:
    """Return where a task's first NaN or infinity comes from, found in a step that is watched for it alone."""
    watch, nodes = OperandWatch(), BackwardWatch()
    step = record_step(task, [watch, nodes], seed=seed)
    search = _Search(step.tape, watch, step.names, task, nodes)
    breakages = nodes.breakages()
    try:
        return _origin_of(search, breakages, is_forward=bool(count_bad(step.loss)))
    finally:
        nodes.clear()


def _origin_of(search: "_Search", breakages: list[Breakage], *, is_forward: bool) -> NonFiniteOrigin:
    if is_forward:
        return search.forward() or search.outside() or search.backward(breakages)
    if not breakages:
        return search.outside() or NonFiniteOrigin(None)
    return NonFiniteOrigin(None) if search.overflows_by_scale(breakages[0]) else search.backward(breakages)


@dataclass(frozen=True, slots=True)
class Seen:
    """What one operation read and made; a stray is what it read though no operation on data had made it."""

    output: Operand
    inputs: tuple[Operand, ...]
    stray_name: str = ""
    stray_leaves: Leaves | None = None


@dataclass(slots=True)
class OperandWatch:
    """Observes what each operation reads and makes; dear, so only for passes that are known to be ill."""

    seen: dict[int, Seen] = field(default_factory=dict[int, Seen])
    _source: WeakTensorKeyDictionary = field(default_factory=WeakTensorKeyDictionary)
    _state: WeakTensorKeyDictionary = field(default_factory=WeakTensorKeyDictionary)  # before they were overwritten

    def __call__(self, operation: Operation, call: Call) -> None:
        """Reduce the operands, and the worst of the results."""
        written = {id(tensor) for tensor in call.outputs}
        readable = [tensor for tensor in call.inputs if can_be_read(tensor)]
        inputs = tuple(
            self._state.get(tensor) or self._summary(tensor) if id(tensor) in written else self._summary(tensor)
            for tensor in readable
        )
        source = (
            self._source.get(call.inputs[0], "") if operation.name in SELECTIONS and call.inputs else operation.name
        )
        outputs: list[Operand] = []
        for tensor in call.outputs:
            self._source[tensor] = source
            if is_inexact(tensor):
                self._state[tensor] = self._summary(tensor)
                outputs.append(self._state[tensor])
        if not outputs:
            return
        worst = max(outputs, key=lambda each: (each.nan, each.infinite))
        stray = next((each for each in readable if count_bad(each) and self._is_stray(each)), None)
        self.seen[operation.index] = Seen(worst, inputs) if stray is None else self._with_stray(worst, inputs, stray)

    def _summary(self, tensor: Tensor) -> Operand:
        return summarise(tensor, str(self._source.get(tensor) or ""))

    def _is_stray(self, tensor: Tensor) -> bool:
        """Say whether a tensor was computed, but by no operation on data: of parameters alone, or by autograd.grad."""
        return tensor.grad_fn is not None and tensor not in self._source

    @staticmethod
    def _with_stray(worst: Operand, inputs: tuple[Operand, ...], stray: Tensor) -> Seen:
        nodes = nodes_behind(stray.grad_fn)
        pointed = [node for node in nodes if name_of(node) in POINTED]
        node = (pointed or nodes[:1])[-1]
        return Seen(worst, inputs, name_of(node), leaves_behind(node))


@dataclass(frozen=True, slots=True)
class _Search:
    tape: Tape
    watch: OperandWatch
    names: ParameterNames
    task: Task
    nodes: BackwardWatch

    def forward(self) -> NonFiniteOrigin | None:
        """Walk back from the loss through what is not finite, to the operation that read only finite numbers."""
        producer = self.tape.values[self.tape.loss].producer
        while producer is not None:
            bad = [maker for maker in self._makers(producer) if self._is_bad(maker)]
            if not bad:
                break
            # NaN before infinities: what a NaN was made of explains it, an infinity beside it may be harmless.
            producer = max(bad, key=lambda maker: (self.watch.seen[maker].output.nan > 0, maker))
        if producer is None or producer not in self.watch.seen:
            return None
        seen = self.watch.seen[producer]
        broken = self.nodes.breakage_before(producer)
        if seen.stray_leaves is not None and not any(count_bad(leaf) for leaf in seen.stray_leaves.all):
            if broken is not None:
                return self.backward([broken])
            found = self._made_of_leaves(seen.stray_leaves, seen.stray_name, during="forward")
            return replace(found, count=seen.output.bad, total=seen.output.total)
        if any(each.nan or not each.only_negative for each in seen.inputs):
            # It came from outside, perhaps from where the batch is not searched, such as a graph of its own class.
            count = sum(each.bad for each in seen.inputs)
            found = self.outside() or NonFiniteOrigin("batch", "batch", "", count, sum(e.total for e in seen.inputs))
            is_constant = found.during == "batch" and found.where == "batch" and not self._reads_batch(producer)
            return self._origin(producer, during="forward") if is_constant else found
        return self._origin(producer, during="forward")

    def backward(self, breakages: list[Breakage]) -> NonFiniteOrigin:
        """Return the operation whose derivative broke first."""
        if not breakages:
            last = next((each for each in self.tape.operations if each.parameters), self.tape.operations[-1])
            return self._origin(last.index, during="backward")
        first = breakages[0]
        if first.operation == OUT_OF_SIGHT or first.operation not in self.watch.seen:
            found = self._made_of_leaves(first.leaves, first.node, during="backward")
            return replace(found, count=first.count, total=first.count, is_custom=first.is_custom)
        return self._origin(first.operation, during="backward", breakage=first)

    def overflows_by_scale(self, breakage: Breakage) -> bool:
        """Say whether gradients overflow a narrow type because the loss was scaled: the scaler skips such steps."""
        producer = self.tape.values[self.tape.loss].producer
        while producer is not None and self.tape.operations[producer].name in RESHAPES:
            producer = next(iter(self._makers(producer)), None)
        if producer is None or self.tape.operations[producer].name != "mul":
            return False
        scales = [each.high for each in self.watch.seen[producer].inputs if each.total == 1]
        scales += [value for value in self.tape.operations[producer].settings.values() if isinstance(value, float)]
        is_scaled = any(scale >= MIN_SCALE and scale.hex().startswith("0x1.0000000000000p") for scale in scales)
        seen = self.watch.seen.get(breakage.operation)
        return is_scaled and seen is not None and "float16" in {each.dtype for each in (seen.output, *seen.inputs)}

    def outside(self) -> NonFiniteOrigin | None:
        """Look at the batch, the parameters and the buffers."""
        batch = self.task.batch
        parts = {"inputs": batch.inputs, "targets": batch.targets} if isinstance(batch, Batch) else {"batch": batch}
        for part, tensor in ((part, tensor) for part, things in parts.items() for tensor in tensors_in(things)):
            if count_bad(tensor) and not _is_mask(tensor):
                return NonFiniteOrigin("batch", part, "", count_bad(tensor), tensor.numel())
        held = [(name, tensor) for name, tensors in self.names.parameters.items() for tensor in tensors]
        for name, tensor in (*held, *self.task.model.named_buffers()):
            if count_bad(tensor) and not _is_mask(tensor):
                return NonFiniteOrigin("parameter", name, "", count_bad(tensor), tensor.numel())
        return None

    def _made_of_leaves(self, leaves: Leaves | None, operation: str, *, during: Pass) -> NonFiniteOrigin:
        """Return the origin of what was computed of parameters alone, where no operation on data was recorded."""
        leaves = leaves or Leaves((), ())
        names = [self.names.of_tensor[id(leaf)] for leaf in leaves.all if id(leaf) in self.names.of_tensor]
        read = tuple(summarise(leaf) for leaf in leaves.read)
        where, *others = names or [operation]
        largest = max((each.largest for each in read), default=None)
        dtype = read[0].dtype if read else ""
        return NonFiniteOrigin(
            during, where, operation, largest_input=largest, operands=read, dtype=dtype, upstream=tuple(others)
        )

    def _reads_batch(self, index: int) -> bool:
        return any(self.tape.values[value].producer is None for value in self.tape.operations[index].inputs)

    def _makers(self, index: int) -> list[int]:
        makers = (self.tape.values[value].producer for value in self.tape.operations[index].inputs)
        return [maker for maker in makers if maker is not None]

    def _is_bad(self, index: int) -> bool:
        """Say whether an output holds what a reader must not see: a mask of -inf before a softmax is meant."""
        seen = self.watch.seen.get(index)
        if seen is None or not seen.output.bad:
            return False
        return not (seen.output.nan == 0 and seen.output.only_negative and self._comes_from_mask(index))

    def _comes_from_mask(self, index: int) -> bool:
        name = self.tape.operations[index].name
        if name in MASKS or name == "add":
            return True
        known = [maker for maker in self._makers(index) if maker in self.watch.seen]
        return any(self.watch.seen[maker].output.infinite and self._comes_from_mask(maker) for maker in known)

    def _origin(self, index: int, *, during: Pass, breakage: Breakage | None = None) -> NonFiniteOrigin:
        operation, seen = self.tape.operations[index], self.watch.seen.get(index)
        own = breakage is not None and breakage.is_custom
        return NonFiniteOrigin(
            during,
            where=self.tape.label(operation),
            operation=breakage.node if breakage is not None and own else operation.name,
            count=breakage.count if breakage else 0 if seen is None else seen.output.bad,
            total=0 if seen is None else seen.output.total,
            largest_input=None if seen is None else max((each.largest for each in seen.inputs), default=0.0),
            operands=() if seen is None else seen.inputs,
            settings=operation.settings,
            dtype="" if seen is None else seen.output.dtype,
            upstream=layers_before(self.tape, index),
            readers=self._readers(index),
            is_custom=own,
            index=index,
        )

    def _readers(self, index: int) -> tuple[str, ...]:
        made = set(self.tape.operations[index].outputs)
        return tuple(each.name for each in self.tape.operations[index + 1 :] if not made.isdisjoint(each.inputs))


def layers_before(tape: Tape, index: int) -> tuple[str, ...]:
    """Return the names of the nearest layers that an operation reads from, without its own."""
    waiting, seen, found = list(tape.operations[index].inputs), set[int](), list[str]()
    while waiting:
        maker = tape.values[waiting.pop()].producer
        if maker is None or maker in seen:
            continue
        seen.add(maker)
        if tape.operations[maker].weights:
            found.append(tape.label(tape.operations[maker]))
        else:
            waiting.extend(tape.operations[maker].inputs)
    own = tape.label(tape.operations[index])
    return tuple(name for name in dict.fromkeys(found) if name != own)


def _is_mask(tensor: Tensor) -> bool:
    """Say whether a tensor holds zeros and negative infinities alone, as what is added to the scores of attention."""
    return bool(((tensor == 0) | tensor.isneginf()).all()) if tensor.is_floating_point() else False
