"""How the gradients of a module are cut into pieces that fit into memory: by examples, parameters and outputs."""

import math
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from isometry._errors import DomainError, ModelError
from isometry.anatomy.names import ParameterNames, names_of
from isometry.anatomy.record import recorded
from isometry.probes.tangent.sight import Parameters, Seen, kernel_dtype, names_in, task_of

COPIES = 4  # of a block's gradients alive at once: of both blocks, of the one that is made, and on the way
# Of what a pass keeps for its backward: itself, what the layers read and gave, the gradients there, and what the walk
# back through a recurrent layer has under way; an LSTM of thirty steps took 3.2.
GRAPHS = 4
STATE = 8_192  # bytes: the random generator's state, 5,056, which is put back after a pass, and small sums
TILES = 3  # of the products of two blocks: their sum, one part's, and room for the next


@dataclass(frozen=True, slots=True)
class Group:
    """The parameters of one module, whose gradients are taken together.

    Attributes:
        names: Their canonical names.
        is_linear: Whether they are those of a plain linear layer, which has a part of its own.
        fixed: Numbers that an example takes whatever its outputs, counts.
        each: Numbers that one output of an example takes, counts.
    """

    names: frozenset[str]
    is_linear: bool
    fixed: int
    each: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What one example's gradients are made of.

    Attributes:
        parameters: Canonical name of each trainable parameter to its tensors.
        groups: All of them, a group a module.
        num_outputs: Of an example, counts.
        graph_bytes: What one example's forward pass keeps for the backward pass.
        dtype: Of the kernel: that of the outputs, at least float32.
        device: Of the outputs.
    """

    parameters: Parameters
    groups: tuple[Group, ...]
    num_outputs: int
    graph_bytes: int
    dtype: torch.dtype
    device: torch.device

    def without_parts(self, names: frozenset[str]) -> "Layout":
        """Return the same with the gradients of some linear layers as they are.

        Args:
            names: Of parameters of those layers.
        """
        kept = tuple(group for group in self.groups if not group.is_linear or not group.names & names)
        freed = sorted(name for group in self.groups if group not in kept for name in group.names)
        return replace(self, groups=(*kept, *(_other_group(name, self.parameters) for name in freed)))


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
    names = names_of(model)
    parameters = {
        name: tuple(tensor for tensor in tensors if tensor.requires_grad)
        for name, tensors in names.parameters.items()
        if any(tensor.requires_grad for tensor in tensors)
    }
    if not parameters:
        raise ModelError(
            f"no parameter of {type(model).__name__} is trained, and the kernel is one of gradients. "
            "Set requires_grad of those that are to count."
        )
    once, twice = Seen(), Seen()
    with recorded(task_of(model, double, twice), [twice]):
        both = {names_in(operation) for operation in twice.plain_layers(2)}
    with _counted(model) as held, recorded(task_of(model, single, once), [once]):
        plain = [operation for operation in once.plain_layers(1) if names_in(operation) in both]
    if not once.outputs.requires_grad:
        raise ModelError(
            f"no trained parameter of {type(model).__name__} reaches its outputs, and the kernel is one of gradients. "
            "Check requires_grad, and that nothing in forward is detached or under torch.no_grad()."
        )
    linear = [
        _linear_group(frozenset(names_in(operation)), *once.linear[operation.index])
        for operation in plain
        if all(_is_free(names, name, parameters) for name in names_in(operation))
    ]
    done = {name for group in linear for name in group.names}
    others = [name for name in parameters if name not in done]
    return Layout(
        parameters=parameters,
        groups=(*linear, *(_other_group(name, parameters) for name in others)),
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
    other = {group.names: group for group in second.groups}
    groups = tuple(
        replace(group, fixed=max(group.fixed, other[group.names].fixed), each=max(group.each, other[group.names].each))
        for group in first.groups
        if group.names in other
    )
    if len(groups) < len(first.groups):  # a layer meets one row an example in one set alone
        raise ModelError("the two sets pass the model in different ways. Give both in the same form.")
    return replace(first, groups=groups, graph_bytes=max(first.graph_bytes, second.graph_bytes))


def cut_of(layout: Layout, count: int, max_bytes: int) -> Cut:
    """Return the largest pieces that fit, those with the fewest passes.

    Args:
        layout: Of one example.
        count: Examples of the larger set, counts.
        max_bytes: Memory that may be held.

    Returns:
        The cut; outputs are cut only where a single example is too large.

    Raises:
        DomainError: If one output of one example over one module's parameters does not fit.
    """
    whole = [_cut(layout, rows, layout.num_outputs, max_bytes=max_bytes) for rows in _halved(count)]
    fitting = [cut for cut in whole if cut is not None]
    if fitting:
        return min(fitting, key=lambda cut: _num_passes(cut, count))
    for outputs in _halved(layout.num_outputs):
        cut = _cut(layout, 1, outputs, max_bytes=max_bytes)
        if cut is not None:
            return cut
    least = _bytes(layout, 1, 1) + COPIES * layout.dtype.itemsize * max(_size(each, 1) for each in layout.groups)
    raise DomainError(
        f"the gradients of one output of one example take {least:,} bytes, and max_bytes is {max_bytes:,}. Allow more."
    )


def _linear_group(names: frozenset[str], read: Tensor, given: Tensor) -> Group:
    if read.numel() == read.shape[-1]:  # one row an example
        return Group(names, is_linear=True, fixed=read.numel() + 1, each=given.numel())
    gradient = (read.shape[-1] + 1) * given.shape[-1]
    return Group(
        names, is_linear=True, fixed=read.numel() + read.numel() // read.shape[-1], each=given.numel() + gradient
    )


def _other_group(name: str, parameters: Parameters) -> Group:
    numbers = sum(tensor.numel() for tensor in parameters[name])
    return Group(frozenset({name}), is_linear=False, fixed=0, each=numbers)


def _is_free(names: ParameterNames, name: str, parameters: Parameters) -> bool:
    return name in parameters and name not in names.parametrised


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


def _cut(layout: Layout, rows: int, outputs: int, *, max_bytes: int) -> Cut | None:
    item = layout.dtype.itemsize
    allowed = (max_bytes - _bytes(layout, rows, outputs)) / (COPIES * item * rows)
    strips: list[list[Group]] = [[]]
    room = allowed
    for group in layout.groups:
        size = _size(group, outputs)
        if size > allowed:
            return None
        if size > room:
            strips.append([])
            room = allowed
        strips[-1].append(group)
        room -= size
    return Cut(tuple(tuple(strip) for strip in strips), rows, outputs)


def _bytes(layout: Layout, rows: int, outputs: int) -> int:
    """Return what is held beside the gradients: graphs, tiles and the random state."""
    return STATE + rows * GRAPHS * layout.graph_bytes + TILES * layout.dtype.itemsize * (rows * outputs) ** 2


def _size(group: Group, outputs: int) -> int:
    return group.fixed + outputs * group.each


def _num_passes(cut: Cut, count: int) -> tuple[int, int]:
    blocks = math.ceil(count / cut.rows)
    return len(cut.strips) * blocks * (blocks + 1), cut.rows


def _halved(count: int) -> Sequence[int]:
    """Return a count and its halves down to 1."""
    return list(dict.fromkeys(max(1, math.ceil(count / 2**power)) for power in range(count.bit_length() + 1)))
