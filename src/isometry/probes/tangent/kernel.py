"""The empirical neural tangent kernel in blocks of examples, within a bound on memory."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from isometry._errors import ModelError
from isometry.anatomy.task import map_tensors, tensors_in
from isometry.probes.tangent.blocks import MixedRowsError, block_parts
from isometry.probes.tangent.independence import require_own_outputs
from isometry.probes.tangent.layout import Cut, Group, Layout, Way, cut_of, larger, layout_of
from isometry.probes.tangent.parts import Part, add_like_products, add_products
from isometry.probes.tangent.sight import gradient_rows, plain_outputs

DEFAULT_BYTES = 2**30
PIECES = 8  # of a block with itself, of whose products the mirror images are not taken again
LEAST_PIECE = 128  # rows and columns of the products of two pieces; smaller ones take longer


def tangent_kernel(model: nn.Module, inputs: Any, others: Any = None, *, max_bytes: int = DEFAULT_BYTES) -> Tensor:
    """Return the inner products of the gradients of all outputs over all trainable parameters.

    Θ[i, c, j, d] = Σ_p ∂f_c(x_i)/∂p · ∂f_d(x_j)/∂p

    The outputs are the first floating tensor that the module returns with a row an example, such as the first of a
    mapping; wrap the module to choose another. Each example is the one that it is alone, however it is batched inside.

    Args:
        model: The module; a norm over the batch must be in eval mode. Nothing in it is changed.
        inputs: n examples, in any form that the module is called with.
        others: m examples to pair them with; the same without.
        max_bytes: Memory that may be held beside the result, bytes; what a single operation of torch takes while it
            runs is not counted beyond convolutions, such as the powers of a matrix exponential.

    Returns:
        The kernel, (n, outputs, m, outputs), in the dtype of the outputs, at least float32.

    Raises:
        ModelError: If the model fails, returns no row an example, or ties examples to one another.
        DomainError: If one output of one example over one module's parameters needs more than `max_bytes`.

    Source:
        Jacot, Gabriel, Hongler 2018, arXiv:1806.07572, section 4; by factors of the layers as in Novak, Sohl-Dickstein,
        Schoenholz 2022, arXiv:2206.08720, section 3.
    """
    first, second = _both(model, inputs, others)
    return _with_own_rows(lambda: _whole(first, second, max_bytes=max_bytes), first, second)


def _whole(first: "_Examples", second: "_Examples", *, max_bytes: int) -> Tensor:
    layout = larger(first.layout, second.layout)
    shape = (first.count, layout.num_outputs, second.count, layout.num_outputs)
    kernel = torch.zeros(shape, dtype=layout.dtype, device=layout.device)
    cut = cut_of(layout, _counts(first, second), max_bytes)
    for tile in _tiles(first, second, cut):
        sums = torch.zeros(tile.shape, dtype=layout.dtype, device=layout.device)
        for one, other in zip(tile.left, tile.right, strict=True):
            add_products(sums, one, other)
        kernel[tile.rows, tile.outputs, tile.columns, tile.others] += sums
        if tile.is_mirrored:
            kernel[tile.columns, tile.others, tile.rows, tile.outputs] += sums.permute(2, 3, 0, 1)
    return kernel


def mean_tangent_kernel(model: nn.Module, inputs: Any, others: Any = None, *, max_bytes: int = DEFAULT_BYTES) -> Tensor:
    """Return the mean over outputs c of Θ[i, c, j, c], which is all of it for a wide network with random outputs.

    Args:
        model: As for `tangent_kernel`.
        inputs: As for `tangent_kernel`.
        others: As for `tangent_kernel`.
        max_bytes: As for `tangent_kernel`.

    Returns:
        The kernel, (n, m).

    Raises:
        ModelError: As for `tangent_kernel`.
        DomainError: As for `tangent_kernel`.

    Source:
        Novak, Sohl-Dickstein, Schoenholz 2022, arXiv:2206.08720, appendix on the pseudo-kernel ("trace").
    """
    first, second = _both(model, inputs, others)
    return _with_own_rows(lambda: _mean(first, second, max_bytes=max_bytes), first, second)


def _mean(first: "_Examples", second: "_Examples", *, max_bytes: int) -> Tensor:
    layout = larger(first.layout, second.layout)
    kernel = torch.zeros((first.count, second.count), dtype=layout.dtype, device=layout.device)
    cut = cut_of(layout, _counts(first, second), max_bytes)
    for tile in _tiles(first, second, cut, like_outputs=True):
        sums = torch.zeros((tile.shape[0], tile.shape[2]), dtype=layout.dtype, device=layout.device)
        for one, other in zip(tile.left, tile.right, strict=True):
            add_like_products(sums, one, other)
        kernel[tile.rows, tile.columns] += sums
        if tile.is_mirrored:
            kernel[tile.columns, tile.rows] += sums.T
    return kernel.div_(layout.num_outputs)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Tile:
    """Two blocks of gradients whose products belong into one rectangle of the kernel."""

    rows: slice
    outputs: slice
    columns: slice
    others: slice
    left: list[Part]
    right: list[Part]
    is_mirrored: bool

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(each.stop - each.start for each in (self.rows, self.outputs, self.columns, self.others))

    def pieces(self, least: int) -> Iterator["_Tile"]:
        """Yield those on and below the diagonal of a block with itself; the others are their mirror images."""
        count = self.rows.stop - self.rows.start
        pieces = list(_slices(count, max(least, math.ceil(count / PIECES))))
        for number, rows in enumerate(pieces):
            left = [each.of(rows) for each in self.left]
            for columns in pieces[: number + 1]:
                yield replace(
                    self,
                    rows=_shifted(rows, self.rows.start),
                    columns=_shifted(columns, self.rows.start),
                    left=left,
                    right=[each.of(columns) for each in self.right],
                    is_mirrored=rows != columns,
                )


class _Examples:
    """One set of examples, of which blocks are taken."""

    def __init__(self, model: nn.Module, inputs: Any) -> None:
        self._model, self._inputs = model, inputs
        self.count = _count(inputs)
        self._tolerance = require_own_outputs(model, self._rows, other=self._other_row())
        self._compared: set[tuple[int, int]] = set()  # first row of a block and the one behind its last
        self.layout: Layout = layout_of(model, self._rows([0]), self._rows([self._other_row(), 0]))

    def parts(self, rows: slice, outputs: slice, strip: tuple[Group, ...]) -> list[Part]:
        ways = {way: [group.weights for group in strip if group.way is way] for way in Way}
        singly, blocks = ([weight for (weight,) in ways[way]] for way in (Way.SINGLY, Way.BLOCKS))
        examples = [self._rows([row]) for row in range(rows.start, rows.stop)]
        alone = [blocks, singly] if len(examples) == 1 else [singly]  # of one example both give the same
        together = [] if len(examples) == 1 else blocks
        parts: list[Part] = []
        if ways[Way.FACTORS] or together:
            inputs = self._rows(rows)
            if len(examples) > 1 and (rows.start, rows.stop) not in self._compared:
                self._compare(inputs, examples)
                self._compared.add((rows.start, rows.stop))
            parts += block_parts(self._model, inputs, linear=ways[Way.FACTORS], others=together, outputs=outputs)
        parts += [gradient_rows(self._model, examples, each, outputs=outputs) for each in alone if each]
        return parts

    def _compare(self, block: Any, examples: list[Any]) -> None:
        """Refuse to take by blocks what gives other outputs for a block than for its examples alone.

        The pair that every model is tried with may be too few, as where sentences are cut to the longest beside them.

        Raises:
            MixedRowsError: If it does.
        """
        together, alone = (plain_outputs(self._model, batches) for batches in ([block], examples))
        if not self._tolerance.allows(together, alone):
            raise MixedRowsError(key for group in self.layout.groups for key in group.key)

    def _other_row(self) -> int:
        """Return the first example that differs from the one with number 0, else 0."""
        tensors = [tensor for tensor in tensors_in(self._inputs) if tensor.ndim]
        rows = (row for row in range(1, self.count) if any(not torch.equal(each[0], each[row]) for each in tensors))
        return next(rows, 0)

    def _rows(self, rows: slice | list[int]) -> Any:
        return map_tensors(self._inputs, lambda tensor: tensor[rows] if tensor.ndim else tensor)


def _count(inputs: Any) -> int:
    """Return the number of examples.

    Raises:
        ModelError: If there is no one number.
    """
    lengths = sorted({len(tensor) for tensor in tensors_in(inputs) if tensor.ndim})
    if not lengths:
        raise ModelError(
            f"inputs are a {type(inputs).__name__} without a tensor that has rows. Give tensors with a row an example; "
            "torch.from_numpy makes them of arrays."
        )
    if len(lengths) != 1 or not lengths[0]:
        raise ModelError(
            f"inputs of {lengths} rows were given; all need the same number, one an example. What all examples share, "
            "such as a mask, goes into a module around the model."
        )
    return lengths[0]


def _with_own_rows(make: Callable[[], Tensor], *examples: _Examples) -> Tensor:
    """Return what is made, once what mixes examples inside a block is taken by one example at a time."""
    while True:
        try:
            return make()
        except MixedRowsError as error:
            for each in examples:
                each.layout = each.layout.without_blocks(error.weights)


def _both(model: nn.Module, inputs: Any, others: Any) -> tuple[_Examples, _Examples]:
    first = _Examples(model, inputs)
    return first, first if others is None else _Examples(model, others)


def _counts(first: _Examples, second: _Examples) -> tuple[int, ...]:
    return (first.count,) if first is second else (first.count, second.count)


def _tiles(first: _Examples, second: _Examples, cut: Cut, *, like_outputs: bool = False) -> Iterator[_Tile]:
    """Yield all pairs of blocks, or those of like outputs; of one set with itself each pair of different ones once."""
    num_outputs = first.layout.num_outputs
    for strip in cut.strips:
        for rows in _slices(first.count, cut.rows):
            for outputs in _slices(num_outputs, cut.outputs):
                left = first.parts(rows, outputs, strip)
                for columns in _slices(second.count, cut.rows):
                    for others in _slices(num_outputs, cut.outputs):
                        here, there = (rows.start, outputs.start), (columns.start, others.start)
                        if (first is second and there < here) or (like_outputs and others != outputs):
                            continue
                        is_same = first is second and here == there
                        tile = _Tile(
                            rows=rows,
                            outputs=outputs,
                            columns=columns,
                            others=others,
                            left=left,
                            right=left if is_same else second.parts(columns, others, strip),
                            is_mirrored=first is second and not is_same,
                        )
                        least = math.ceil(LEAST_PIECE / (1 if like_outputs else num_outputs))
                        yield from tile.pieces(least) if is_same else (tile,)


def _shifted(rows: slice, start: int) -> slice:
    return slice(rows.start + start, rows.stop + start)


def _slices(count: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, count)) for start in range(0, count, size))
