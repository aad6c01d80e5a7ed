"""The empirical neural tangent kernel in blocks of examples, within a bound on memory."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from isometry._errors import DomainError, ModelError
from isometry.anatomy.names import names_of
from isometry.anatomy.preserve import preserved
from isometry.anatomy.task import call_model, map_tensors, tensors_in
from isometry.probes.tangent.parts import Part, add_mean_products, add_products
from isometry.probes.tangent.sight import outputs_of, parts_of

DEFAULT_BYTES = 2**30
COPIES = 4  # of a block's gradients and of a tile's products that are alive at once, of both blocks and on the way

CLOSE = 1e-3  # relative; sums over other numbers of rows round otherwise, batch norm differs by its whole self

Add = Callable[[Tensor, Part, Part], None]


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
        DomainError: If one example needs more than `max_bytes`.

    Source:
        Jacot, Gabriel, Hongler 2018, arXiv:1806.07572, section 4; by factors of the layers as in Novak, Sohl-Dickstein,
        Schoenholz 2022, arXiv:2206.08720, section 3.
    """
    return _kernel(model, inputs, others, add=add_products, max_bytes=max_bytes)


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
    return _kernel(model, inputs, others, add=add_mean_products, max_bytes=max_bytes)


def _kernel(model: nn.Module, inputs: Any, others: Any, *, add: Add, max_bytes: int) -> Tensor:
    names = names_of(model)
    trainable = {name: tensors[0] for name, tensors in names.parameters.items() if tensors[0].requires_grad}
    first = _Examples(model, inputs, trainable)
    second = first if others is None else _Examples(model, others, trainable)
    if second.num_outputs != first.num_outputs:
        raise ModelError(f"the two sets give {first.num_outputs} and {second.num_outputs} outputs an example.")
    size = min(each.block_size(max_bytes) for each in (first, second))
    is_full = add is add_products
    shape = (
        (first.count, first.num_outputs, second.count, first.num_outputs) if is_full else (first.count, second.count)
    )
    kernel = torch.zeros(shape, dtype=first.dtype, device=first.device)
    for rows in first.blocks(size):
        left = first.parts(rows)
        for columns in second.blocks(size):
            if first is second and columns.start < rows.start:
                continue
            right = left if first is second and rows == columns else second.parts(columns)
            tile = kernel[rows, :, columns] if is_full else kernel[rows, columns]
            sums = torch.zeros_like(tile, memory_format=torch.contiguous_format)
            for one, other in zip(left, right, strict=True):
                add(sums, one, other)
            tile.copy_(sums)
            if first is second and columns != rows:
                mirrored = kernel[columns, :, rows] if is_full else kernel[columns, rows]
                mirrored.copy_(sums.permute(2, 3, 0, 1) if is_full else sums.T)
    return kernel


class _Examples:
    """One set of examples, of which blocks are taken."""

    def __init__(self, model: nn.Module, inputs: Any, trainable: dict[str, nn.Parameter]) -> None:
        self._model, self._inputs, self._trainable = model, inputs, trainable
        lengths = {len(tensor) for tensor in tensors_in(inputs) if tensor.ndim}
        if len(lengths) != 1 or 0 in lengths:
            raise ModelError(f"inputs of {sorted(lengths)} rows were given; all need the same number, one an example.")
        [self.count] = lengths
        rows = [0, min(1, self.count - 1)]
        alone, beside = self._outputs([0, 0], seed=0), self._outputs(rows, seed=1)
        if not torch.allclose(alone[0], beside[0], rtol=CLOSE, atol=CLOSE):
            raise ModelError(
                "an example's outputs change with the examples beside it or with chance, as under batch norm or "
                "dropout in training mode, so that its gradients are not its own. Call model.eval() first."
            )
        self.num_outputs, self.dtype, self.device = alone.shape[1], alone.dtype, alone.device

    def blocks(self, size: int) -> Iterator[slice]:
        return (slice(start, min(start + size, self.count)) for start in range(0, self.count, size))

    def parts(self, rows: slice) -> list[Part]:
        return parts_of(self._model, self._rows(rows), rows.stop - rows.start, trainable=self._trainable)

    def block_size(self, max_bytes: int) -> int:
        """Return how many examples fit, by what one example's parts take."""
        single = self.parts(slice(0, 1))
        numbers = sum(tensor.numel() for part in single for tensor in tensors_in(part))
        numbers = max(numbers, sum(parameter.numel() for parameter in self._trainable.values()) // COPIES)
        item = self.dtype.itemsize
        allowed = max_bytes / (COPIES * item)
        # Two blocks of gradients, and a tile of products: b · numbers + (b · outputs)² numbers.
        outputs = self.num_outputs**2
        size = int((-numbers + (numbers**2 + 4 * outputs * allowed) ** 0.5) / (2 * outputs))
        if size < 1:
            raise DomainError(
                f"one example's gradients take {COPIES * item * (numbers + outputs):,} bytes, and max_bytes is "
                f"{max_bytes:,}. Allow more, or ask for fewer outputs."
            )
        return min(size, self.count)

    def _outputs(self, rows: list[int], *, seed: int) -> Tensor:
        with preserved(self._model, seed=seed), torch.no_grad():
            return outputs_of(call_model(self._model, self._rows(rows)), len(rows))

    def _rows(self, rows: slice | list[int]) -> Any:
        return map_tensors(self._inputs, lambda tensor: tensor[rows] if tensor.ndim else tensor)
