"""How the gradients of a module are cut into pieces that fit into memory: by examples, parameters and outputs."""

import math
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Any

import torch
from torch import Tensor, nn

from isometry._errors import DomainError, ModelError
from isometry.probes.tangent.blocks import plain_layers, unseen
from isometry.probes.tangent.crossings import Crossing, leaves_of
from isometry.probes.tangent.sight import Seen, kernel_dtype, passed, size_of

COPIES = 4  # of a block's gradients alive at once: of both blocks, of the one that is made, and on the way
COPIES_ALONE = 2  # where one block is the whole set: it, and what is made of other parameters next
# Of what a pass keeps for its backward: itself, what the layers read and gave, the gradients there, and what the walk
# back through a recurrent layer has under way; an LSTM of thirty steps took 3.2.
GRAPHS = 4
STATE = 8_192  # bytes: the random generator's state, 5,056, which is put back after a pass, and small sums
SLOPES = 3  # of an output at a layer, as they are found, summed and compared
# Of what an operation reads and gives, as it is repeated with weights of each example and back again, or as the walk
# back from one example alone goes through it; a transposed convolution took 4.7.
REPEATS = 5
COLUMNS = 2  # of the patches of a convolution, where torch makes a matrix of them: one of seven by seven took 1.1
TILES = 3  # of the products of two blocks: their sum, one part's, and room for the next


class Way(Enum):
    """How the gradients of some weights are taken.

    Attributes:
        FACTORS: A block of examples at a time, as factors.
        BLOCKS: A block of examples at a time, as they are.
        SINGLY: An example at a time.
    """

    FACTORS = auto()
    BLOCKS = auto()
    SINGLY = auto()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Group:
    """Weights whose gradients are taken together.

    Attributes:
        weights: A layer's weight and bias, or a single parameter.
        way: How their gradients are taken.
        fixed: Numbers that an example takes whatever its outputs, counts.
        each: Numbers that one output of an example takes, counts.
        passing: Numbers that an example takes while its gradients are made, counts.
    """

    weights: tuple[Tensor, ...]
    way: Way
    fixed: int
    each: int
    passing: int

    @property
    def key(self) -> tuple[int, ...]:
        """Which weights they are."""
        return tuple(id(weight) for weight in self.weights)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What one example's gradients are made of.

    Attributes:
        groups: All weights that are trained.
        num_outputs: Of an example, counts.
        graph_bytes: What one example's forward pass keeps for the backward pass.
        dtype: Of the kernel: that of the outputs, at least float32.
        device: Of the outputs.
    """

    groups: tuple[Group, ...]
    num_outputs: int
    graph_bytes: int
    dtype: torch.dtype
    device: torch.device

    def without_blocks(self, weights: frozenset[int]) -> "Layout":
        """Return the same with the gradients of some weights taken an example at a time.

        Args:
            weights: The identities of the weights.
        """
        kept = tuple(group for group in self.groups if not weights & {*group.key})
        freed = [(weight, group) for group in self.groups if group not in kept for weight in group.weights]
        return replace(self, groups=(*kept, *(_single_group(weight, group.passing) for weight, group in freed)))


@dataclass(frozen=True, slots=True)
class Cut:
    """How much is taken at once.

    Attributes:
        strips: Groups whose gradients are held together; each strip takes passes of its own.
        rows: Examples of a block, counts.
        outputs: Of each example, counts.
    """

    strips: tuple[tuple[Group, ...], ...]
    rows: int
    outputs: int


def layout_of(model: nn.Module, single: Any, double: Any) -> Layout:
    """Read what the gradients of one example are made of.

    Args:
        model: The module.
        single: One example.
        double: Two, different where there are any: what has a row an example has two rows here, and one in `single`.

    Returns:
        The layout.

    Raises:
        ModelError: If the model fails, or nothing that is trained reaches its outputs.
    """
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not weights:
        raise ModelError(
            f"no parameter of {type(model).__name__} is trained, and the kernel is one of gradients. "
            "Set requires_grad of those that are to count."
        )
    with passed(model, double) as twice:
        plain = {id(layer.shared[0]) for layer in plain_layers(twice)}
        mixed = unseen(twice)
    with _counted(model) as held, passed(model, single) as once:
        if not once.outputs.requires_grad:
            raise ModelError(
                f"no trained parameter of {type(model).__name__} reaches its outputs, and the kernel is one of "
                "gradients. Check requires_grad, and that nothing in forward is detached or under torch.no_grad()."
            )
        layers = [layer for layer in plain_layers(once) if id(layer.shared[0]) in plain]
        linear = [_linear_group(layer) for layer in layers]
        done = {key for group in linear for key in group.key}
        mixed |= unseen(once)
        others = [_group(weight, once, mixed) for weight in weights if id(weight) not in done]
    return Layout(
        groups=(*linear, *others),
        num_outputs=once.outputs.shape[1],
        graph_bytes=sum(held.values()),
        dtype=kernel_dtype(once.outputs),
        device=once.outputs.device,
    )


def larger(first: Layout, second: Layout) -> Layout:
    """Return a layout in which examples of both sets have room, such as sentences of two lengths.

    Raises:
        ModelError: If they have different outputs.
    """
    if second.num_outputs != first.num_outputs:
        raise ModelError(f"the two sets give {first.num_outputs} and {second.num_outputs} outputs an example.")
    other = {group.key: group for group in second.groups}
    groups = tuple(_larger(group, other[group.key]) for group in first.groups if group.key in other)
    if len(groups) < len(first.groups):  # a layer meets one row an example in one set alone
        raise ModelError("the two sets pass the model in different ways. Give both in the same form.")
    return replace(first, groups=groups, graph_bytes=max(first.graph_bytes, second.graph_bytes))


def cut_of(layout: Layout, counts: Sequence[int], max_bytes: int) -> Cut:
    """Return the largest pieces that fit, those with the fewest passes.

    Args:
        layout: Of one example.
        counts: Examples of the one set or of both, counts.
        max_bytes: Memory that may be held.

    Returns:
        The cut; outputs are cut only where a single example is too large.

    Raises:
        DomainError: If one output of one example over one module's parameters does not fit.
    """
    count = max(counts)
    whole = [_cut(layout, rows, layout.num_outputs, max_bytes=max_bytes) for rows in _halved(count)]
    if len(counts) == 1:
        whole[0] = _cut(layout, count, layout.num_outputs, max_bytes=max_bytes, copies=COPIES_ALONE)
    fitting = [cut for cut in whole if cut is not None]
    if fitting:
        return min(fitting, key=lambda cut: _num_passes(cut, count))
    for outputs in _halved(layout.num_outputs):
        cut = _cut(layout, 1, outputs, max_bytes=max_bytes)
        if cut is not None:
            return cut
    least = _bytes(layout, 1, 1) + layout.dtype.itemsize * math.ceil(
        max(_size(each, 1, 1, copies=COPIES) for each in layout.groups)
    )
    raise DomainError(
        f"the gradients of one output of one example take {least:,} bytes, and max_bytes is {max_bytes:,}. Allow more."
    )


def _larger(first: Group, second: Group) -> Group:
    return replace(
        first,
        way=max(first.way, second.way, key=lambda way: way.value),
        fixed=max(first.fixed, second.fixed),
        each=max(first.each, second.each),
        passing=max(first.passing, second.passing),
    )


def _linear_group(layer: Crossing) -> Group:
    read, given = layer.rows[0].numel(), layer.output.numel()
    return Group(weights=layer.shared, way=Way.FACTORS, fixed=read + 1, each=given, passing=SLOPES * given)


def _group(weight: Tensor, once: Seen, mixed: set[int]) -> Group:
    passing = 0
    for crossing in once.crossings.found:
        if any(leaf is weight for shared in crossing.shared for leaf in leaves_of(shared)):
            numbers = sum(each.numel() for each in (*crossing.rows, *crossing.shared))
            passing += REPEATS * (numbers + crossing.output.numel()) + COLUMNS * _patches(crossing)
    if id(weight) in mixed or weight.is_complex():
        return _single_group(weight, passing)
    return Group(weights=(weight,), way=Way.BLOCKS, fixed=0, each=weight.numel(), passing=passing)


def _patches(crossing: Crossing) -> int:
    """Return the numbers of all patches that a convolution reads, or gives if it is a transposed one; else 0."""
    name = getattr(crossing.function, "__name__", "")
    if not name.startswith("conv"):
        return 0
    ends = (crossing.rows[0], crossing.output)
    wide, places = reversed(ends) if "transpose" in name else ends
    weight = max(crossing.shared, key=lambda each: each.ndim)
    return math.prod((*wide.shape[:2], *weight.shape[2:], *places.shape[2:]))


def _single_group(weight: Tensor, passing: int) -> Group:
    return Group(weights=(weight,), way=Way.SINGLY, fixed=0, each=size_of(weight), passing=passing)


@contextmanager
def _counted(model: nn.Module) -> Generator[dict[int, int]]:
    """Give the bytes that autograd keeps while a block runs, by their address; parameters are there anyway."""
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    held: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            held[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield held


def _cut(layout: Layout, rows: int, outputs: int, *, max_bytes: int, copies: int = COPIES) -> Cut | None:
    item = layout.dtype.itemsize
    allowed = (max_bytes - _bytes(layout, rows, outputs)) / item
    strips: list[list[Group]] = [[]]
    room = allowed
    for group in layout.groups:
        size = _size(group, rows, outputs, copies=copies)
        if size > allowed:
            return None
        if size > room:
            strips.append([])
            room = allowed
        strips[-1].append(group)
        room -= size
    return Cut(tuple(tuple(strip) for strip in strips), rows, outputs)


def _bytes(layout: Layout, rows: int, outputs: int) -> int:
    """Return what is held beside the gradients: graphs, tiles, the random state, and an example that is taken alone."""
    item = layout.dtype.itemsize
    alone = [group.passing for group in layout.groups if _is_alone(group, rows)]
    tiles = TILES * item * (rows * outputs) ** 2
    return STATE + rows * GRAPHS * layout.graph_bytes + tiles + item * max(alone, default=0)


def _size(group: Group, rows: int, outputs: int, *, copies: int) -> int:
    """Return the numbers that a block's gradients over some weights take."""
    passing = 0 if _is_alone(group, rows) else group.passing
    return rows * (copies * (group.fixed + outputs * group.each) + passing)


def _is_alone(group: Group, rows: int) -> bool:
    """Say whether gradients are taken of one example after the other."""
    return group.way is Way.SINGLY or (group.way is Way.BLOCKS and rows == 1)


def _num_passes(cut: Cut, count: int) -> tuple[int, int]:
    blocks = math.ceil(count / cut.rows)
    return len(cut.strips) * blocks * (blocks + 1), cut.rows


def _halved(count: int) -> Sequence[int]:
    """Return a count and its halves down to 1."""
    return list(dict.fromkeys(max(1, math.ceil(count / 2**power)) for power in range(count.bit_length() + 1)))
