"""The empirical neural tangent kernel in blocks of examples, within a bound on memory."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from isometry._errors import ModelError
from isometry.anatomy.preserve import preserved
from isometry.anatomy.task import call_model, map_tensors, tensors_in
from isometry.probes.tangent.layout import Cut, Group, Layout, cut_of, larger, layout_of
from isometry.probes.tangent.parts import Part, add_like_products, add_products
from isometry.probes.tangent.sight import gradient_rows, linear_parts, outputs_of

DEFAULT_BYTES = 2**30
CLOSE = 1e-3  # relative; sums over other numbers of rows round otherwise, batch norm differs by its whole self


def tangent_kernel(model: nn.Module, inputs: Any, others: Any = None, *, max_bytes: int = DEFAULT_BYTES) -> Tensor:
    """Return the inner products of the gradients of all outputs over all trainable parameters.

    Θ[i, c, j, d] = Σ_p ∂f_c(x_i)/∂p · ∂f_d(x_j)/∂p

    Args:
        model: The module; a norm over the batch must be in eval mode. Nothing in it is changed.
        inputs: n examples, in any form that the module is called with.
        others: m examples to pair them with; the same without.
        max_bytes: Memory that may be held beside the result, bytes.

    Returns:
        The kernel, (n, outputs, m, outputs), in the dtype of the outputs.

    Raises:
        ModelError: If the model fails, returns no row an example, or ties examples to one another.
        DomainError: If one output of one example over one module's parameters needs more than `max_bytes`.

    Source:
        Jacot, Gabriel, Hongler 2018, arXiv:1806.07572, section 4; by factors of the layers as in Novak, Sohl-Dickstein,
        Schoenholz 2022, arXiv:2206.08720, section 3.
    """
    first, second = _both(model, inputs, others)
    layout = larger(first.layout, second.layout)
    shape = (first.count, layout.num_outputs, second.count, layout.num_outputs)
    kernel = torch.zeros(shape, dtype=layout.dtype, device=layout.device)
    cut = cut_of(layout, max(first.count, second.count), max_bytes)
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
    layout = larger(first.layout, second.layout)
    kernel = torch.zeros((first.count, second.count), dtype=layout.dtype, device=layout.device)
    cut = cut_of(layout, max(first.count, second.count), max_bytes)
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


class _Examples:
    """One set of examples, of which blocks are taken."""

    def __init__(self, model: nn.Module, inputs: Any) -> None:
        self._model, self._inputs = model, inputs
        lengths = {len(tensor) for tensor in tensors_in(inputs) if tensor.ndim}
        if len(lengths) != 1 or 0 in lengths:
            raise ModelError(f"inputs of {sorted(lengths)} rows were given; all need the same number, one an example.")
        [self.count] = lengths
        alone, beside = self._outputs([0, 0], seed=0), self._outputs([0, min(1, self.count - 1)], seed=1)
        if not torch.allclose(alone[0], beside[0], rtol=CLOSE, atol=CLOSE):
            raise ModelError(
                "an example's outputs change with the examples beside it or with chance, as under batch norm or "
                "dropout in training mode, so that its gradients are not its own. Call model.eval() first."
            )
        self.layout: Layout = layout_of(model, self._rows([0]), self._rows([0, 0]))

    def parts(self, rows: slice, outputs: slice, strip: tuple[Group, ...]) -> list[Part]:
        linear = frozenset(name for group in strip if group.is_linear for name in group.names)
        others = [
            tensor
            for group in strip
            if not group.is_linear
            for name in sorted(group.names)
            for tensor in self.layout.parameters[name]
        ]
        parts = linear_parts(self._model, self._rows(rows), linear, outputs=outputs) if linear else []
        if others:
            examples = [self._rows([row]) for row in range(rows.start, rows.stop)]
            parts.append(gradient_rows(self._model, examples, others, outputs=outputs))
        return parts

    def _outputs(self, rows: list[int], *, seed: int) -> Tensor:
        with preserved(self._model, seed=seed), torch.no_grad():
            return outputs_of(call_model(self._model, self._rows(rows)), len(rows))

    def _rows(self, rows: slice | list[int]) -> Any:
        return map_tensors(self._inputs, lambda tensor: tensor[rows] if tensor.ndim else tensor)


def _both(model: nn.Module, inputs: Any, others: Any) -> tuple[_Examples, _Examples]:
    first = _Examples(model, inputs)
    return first, first if others is None else _Examples(model, others)


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
                        yield _Tile(
                            rows=rows,
                            outputs=outputs,
                            columns=columns,
                            others=others,
                            left=left,
                            right=left if is_same else second.parts(columns, others, strip),
                            is_mirrored=first is second and not is_same,
                        )


def _slices(count: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, count)) for start in range(0, count, size))
