"""Which layers follow each other with nothing nonlinear between them, so that the two are one linear map."""

from collections.abc import Mapping
from dataclasses import dataclass

from isometry.anatomy.operations import (
    ACTIVATIONS,
    ELEMENTWISE,
    LINEAR_ELEMENTWISE,
    PRODUCTS,
    RECURRENT,
    TRANSPARENT,
    WEIGHTED,
)
from isometry.anatomy.reading import Layer
from isometry.anatomy.tape import Operation, Tape
from isometry.probes.evidence import Evidence, NotMeasuredError, probe, structural

# Linear in their input; batch norm is an affine map as soon as the network is tested.
_POOLS = frozenset(
    {f"{kind}{n}d" for kind in ("avg_pool", "adaptive_avg_pool") for n in (1, 2, 3)}
    | {"mean", "sum", "cat", "stack", "interpolate", "upsample", "batch_norm", "hstack", "vstack", "index_select"}
)
_STREAMS = RECURRENT | {"scaled_dot_product_attention", "softmax", "opaque"}
_PAIR = 2


@structural
@dataclass(frozen=True, slots=True)
class LinearPair:
    """Two layers, the second of which reads what the first makes, through nothing nonlinear and nothing else.

    Attributes:
        first: Name of the first layer.
        second: Name of the second layer.
        is_redundant: Whether the two hold at least the numbers that the one map they make would hold, and the first
            narrows nothing: then the pair can express no more than one layer.
        is_inside: Whether the first layer reads what others made, the second makes no prediction, and neither a
            first layer without bias nor an embedding that is compared says that the pair is linear by intent.
    """

    first: str
    second: str
    is_redundant: bool
    is_inside: bool


@structural
@dataclass(frozen=True, slots=True)
class Linearity:
    """Where a network lacks a nonlinearity.

    Attributes:
        pairs: The linear pairs, in the order of execution.
        num_hidden: Layers before another layer, embeddings left out; counts.
        is_affine: Whether everything up to the prediction is one affine map of the data.
        narrows: Whether some hidden layer is narrower than both what goes in and what comes out.
        has_activation: Whether a nonlinear function of single numbers, attention or a recurrence comes before a layer.
        is_plain: Whether one stream runs through all layers: no residual branch, attention, recurrence or product.
        has_offsets: Whether a hidden layer has a bias or is batch-normalised, as layers of practice have by default.
        has_time: Of an affine network, whether one layer is used on what it made before, as in a linear recurrence.
        has_waste: The like, whether layers, and what bends behind them, work for nothing: no-gradient says so.
    """

    pairs: tuple[LinearPair, ...]
    num_hidden: int
    is_affine: bool
    narrows: bool
    has_activation: bool
    is_plain: bool
    has_offsets: bool
    has_time: bool = False
    has_waste: bool = False


@probe(Linearity)
def measure_linearity(evidence: Evidence) -> Linearity:
    """Read from the tape which layers have nothing nonlinear between them."""
    anatomy, tape = evidence.anatomy, evidence.step.tape
    layers = {layer.operation: layer for layer in anatomy.layers if _is_layer(tape.operations[layer.operation])}
    hidden = [layer for layer in layers.values() if not layer.is_head]
    if not hidden or not anatomy.heads:
        raise NotMeasuredError("no layer reads what another layer makes")
    readers, before = _readers_for_loss(tape, anatomy.readers), _before_a_layer(tape)
    is_affine = _is_affine(tape, [layer.operation for layer in anatomy.heads])
    followed = ((layer, _reader(tape, layer, layers, readers=readers)) for layer in hidden)
    is_embedding = _is_embedding(tape)
    return Linearity(
        pairs=tuple(
            _pair(tape, first, second, is_embedding=is_embedding) for first, second in followed if second is not None
        ),
        num_hidden=len(hidden),
        is_affine=is_affine,
        narrows=_narrows(tape, hidden, anatomy.heads),
        has_activation=any(_bends(operation) for operation in before),
        is_plain=not anatomy.branches and not any(_joins(operation) for operation in before),
        has_offsets=any(layer.biases for layer in hidden) or any(each.name == "batch_norm" for each in before),
        has_time=is_affine and _has_time(tape),
        has_waste=is_affine and _has_waste(tape),
    )


def _has_time(tape: Tape) -> bool:
    """Say whether a layer reads, directly or not, what it made itself."""
    made_by: dict[int, frozenset[str]] = {}  # value: the weights that it has gone through
    for operation in tape.operations:
        before = frozenset[str]().union(*(made_by.get(value, ()) for value in operation.inputs))
        names = {name for use in operation.weights for name in use.names}
        if not before.isdisjoint(names):
            return True
        made_by.update(dict.fromkeys(operation.outputs, before | names))
    return False


def _has_waste(tape: Tape) -> bool:
    """Say whether a layer works for nothing whose result is bent."""
    needed = _needed(tape)
    lost = {operation.index for operation in tape.operations if needed.isdisjoint(operation.outputs)}
    layers = {value for index in lost if _is_layer(tape.operations[index]) for value in tape.operations[index].outputs}
    return any(
        _bends(tape.operations[index]) and not layers.isdisjoint(tape.operations[index].inputs) for index in lost
    )


def _needed(tape: Tape) -> set[int]:
    """Return the values that lead to the loss."""
    needed = {tape.loss}
    for operation in reversed(tape.operations):
        if not needed.isdisjoint(operation.outputs):
            needed.update(operation.inputs)
    return needed


def _readers_for_loss(tape: Tape, readers: Mapping[int, tuple[int, ...]]) -> dict[int, tuple[int, ...]]:
    """Return who reads each value, without operations whose results nothing before the loss reads."""
    needed = _needed(tape)
    leads = {operation.index for operation in tape.operations if not needed.isdisjoint(operation.outputs)}
    return {value: tuple(index for index in found if index in leads) for value, found in readers.items()}


def _is_embedding(tape: Tape) -> bool:
    """Say whether a network makes embeddings that are compared: of several views, or with those of a teacher."""
    # What projects such an embedding ends in a linear layer by intent, and what predicts another's may begin with one.
    uses: dict[tuple[str, ...], int] = {}
    for operation in tape.operations:
        for use in operation.weights:
            uses[use.names] = uses.get(use.names, 0) + 1
    is_siamese = any(count > 1 for count in uses.values())
    return is_siamese or any(operation.is_blind and operation.weights for operation in tape.operations)


def _reader(
    tape: Tape, layer: Layer, layers: Mapping[int, Layer], *, readers: Mapping[int, tuple[int, ...]]
) -> Layer | None:
    """Return the layer that reads a layer's output alone, through linear operations; None where there is none."""
    value = tape.operations[layer.operation].outputs[0]
    while True:
        following = readers.get(value, ())
        if len(following) != 1 or not tape.operations[following[0]].outputs:
            return None
        operation = tape.operations[following[0]]
        if operation.index in layers:
            return layers[operation.index]
        if len(operation.inputs) != 1 or not _is_linear(operation):
            return None
        value = operation.outputs[0]


def _pair(tape: Tape, first: Layer, second: Layer, *, is_embedding: bool) -> LinearPair:
    between = tape.operations[first.operation + 1 : second.operation]
    has_offset = bool(first.biases) or any(operation.name == "batch_norm" for operation in between)
    return LinearPair(
        first=first.name,
        second=second.name,
        is_redundant=_is_redundant(tape, first, second),
        is_inside=first.depth > 1 and not second.is_head and has_offset and not is_embedding,
    )


def _is_redundant(tape: Tape, first: Layer, second: Layer) -> bool:
    """Say whether two layers could be one, which holds no more numbers than the two."""
    # Factors of a larger kernel, separable convolutions and low-rank pairs hold fewer numbers than the map they make,
    # or narrow the signal: that is what they are for.
    is_grouped = first.layout.groups > 1 or second.layout.groups > 1 or first.layout.stacked > 1
    kinds = {first.kind, second.kind}
    is_conv = {kind.startswith("conv") for kind in kinds}
    if is_grouped or len(is_conv) > 1 or any(kind.startswith("conv_transpose") for kind in kinds):
        return False
    into, between, out = _units_in(tape, first), _units_out(tape, first), _units_out(tape, second)
    if between < min(into, out):
        return False
    sizes = [_size(tape, layer) for layer in (first, second)]
    return sum(sizes) >= _composed_size(tape, first, second)


def _composed_size(tape: Tape, first: Layer, second: Layer) -> int:
    """Return how many numbers the one map holds that two layers make together."""
    shapes = [tape.operations[layer.operation].weights[0].shape for layer in (first, second)]
    into, out = _units_in(tape, first), _units_out(tape, second)
    if not first.kind.startswith("conv"):
        positions = max(_units_in(tape, second) // max(_units_out(tape, first), 1), 1)  # of tokens laid side by side
        return into * positions * out
    places = 1
    for one, two in zip(shapes[0][_PAIR:], shapes[1][_PAIR:], strict=True):
        places *= one + two - 1
    return into * places * out


def _size(tape: Tape, layer: Layer) -> int:
    size = 1
    for length in tape.operations[layer.operation].weights[0].shape:
        size *= length
    return size


def _units_out(tape: Tape, layer: Layer) -> int:
    return tape.values[tape.operations[layer.operation].outputs[0]].num_units


def _units_in(tape: Tape, layer: Layer) -> int:
    """Return how many units a layer reads at one place."""
    return _size(tape, layer) // max(_units_out(tape, layer) * _places(tape, layer), 1)


def _places(tape: Tape, layer: Layer) -> int:
    """Return the places of a layer's kernel; 1 for a matrix."""
    if not layer.kind.startswith("conv"):
        return 1
    places = 1
    for length in tape.operations[layer.operation].weights[0].shape[_PAIR:]:
        places *= length
    return places


def _narrows(tape: Tape, hidden: list[Layer], heads: tuple[Layer, ...]) -> bool:
    """Say whether the narrowest hidden layer is narrower than what enters the first and what leaves the last."""

    def numel(value: int) -> int:
        size = 1
        for length in tape.values[value].shape:
            size *= length if type(length) is int else 1  # the ragged length of nested tensors has no order
        return size

    inputs = [tape.operations[layer.operation].inputs for layer in hidden if layer.depth == 1]
    ins = [numel(values[0]) for values in inputs if values]
    outs = [numel(tape.operations[layer.operation].outputs[0]) for layer in heads]
    between = [numel(tape.operations[layer.operation].outputs[0]) for layer in hidden]
    return bool(ins) and min(between) < min(max(ins), max(outs))


def _is_affine(tape: Tape, heads: list[int]) -> bool:
    """Say whether all that the heads read is an affine function of the data."""
    affine = {value.index for value in tape.values if value.producer is None}
    for operation in tape.operations:
        is_map = _is_linear(operation) or _is_layer(operation) or operation.name.startswith("embedding")
        if is_map and affine.issuperset(operation.inputs):
            affine.update(operation.outputs)
    return all(affine.issuperset(tape.operations[head].inputs) for head in heads)


def _is_layer(operation: Operation) -> bool:
    """Say whether an operation multiplies one stream by a weight; a recurrence and a lookup do something else."""
    is_product = (operation.name in WEIGHTED and not operation.name.startswith("embedding")) or (
        operation.name in PRODUCTS
    )
    return is_product and bool(operation.weights) and len(operation.inputs) == 1


def _is_linear(operation: Operation) -> bool:
    """Say whether an operation without mixing weights is linear, or affine, in its inputs together."""
    if operation.name in {"mul", "div"}:
        return len(operation.inputs) == 1
    return operation.name in TRANSPARENT or operation.name in LINEAR_ELEMENTWISE or operation.name in _POOLS


def _before_a_layer(tape: Tape) -> list[Operation]:
    """Return the operations whose results reach a layer, that is those before the prediction."""
    needed: set[int] = set()
    found: list[Operation] = []
    for operation in reversed(tape.operations):
        leads = not needed.isdisjoint(operation.outputs)
        if leads:
            found.append(operation)
        if leads or operation.weights:
            needed.update(operation.inputs)
    return found[::-1]


def _bends(operation: Operation) -> bool:
    """Say whether an operation is an activation, or mixes streams in a way that is none of a linear map."""
    is_function = operation.name in ACTIVATIONS or (
        operation.name in ELEMENTWISE and operation.name not in LINEAR_ELEMENTWISE
    )
    return is_function or operation.name in _STREAMS or _joins(operation)


def _joins(operation: Operation) -> bool:
    """Say whether an operation multiplies streams with each other, or is a recurrence or an attention."""
    num_streams = len(set(operation.inputs))
    multiplies = operation.name in PRODUCTS or operation.name in {"mul", "div", "bilinear"}
    return operation.name in _STREAMS or (multiplies and num_streams > 1)
