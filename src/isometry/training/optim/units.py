"""Adaptive clipping: the gradient of each unit is kept below a share of the unit's own weights."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from isometry._errors import DomainError
from isometry.anatomy.task import Task, make_task
from isometry.planning.roles import Slot
from isometry.planning.subject import subject_of
from isometry.training.optim.foreach import FOREACH, buckets, dense, listed
from isometry.training.optim.structure import is_vector

TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


@dataclass(frozen=True, slots=True)
class Units:
    """Where the units of a weight lie.

    Attributes:
        shape: The weight's shape, that of a grouped transposed convolution with its groups as an axis of their own.
        inside: The axes of it along which one unit lies.
    """

    shape: tuple[int, ...]
    inside: tuple[int, ...]


@torch.no_grad()
def clip_by_unit_norm_(
    parameters: Iterable[Tensor],
    clipping: float = 0.01,
    eps: float = 1e-3,
    *,
    units: Mapping[Tensor, Units] | None = None,
) -> None:
    """Shorten in place the gradients of single units that are long beside the units' weights.

    g ← g · clipping · max(|w|, eps) / |g|  where  |g| > clipping · max(|w|, eps)

    with the norms of one unit: a row of a matrix, a kernel of a convolution, a token of a table, a whole vector.
    A unit whose gradient is not finite is left as it is. The paper leaves out the head: do not give its parameters.

    Args:
        parameters: Those whose gradients are clipped.
        clipping: Largest norm of a gradient over that of its unit, dimensionless.
        eps: Least norm that a unit counts with, so that zeros can grow, in the unit of weights.
        units: Where the units lie, as `units_of` reads it from a model; without it they lie along axis 0, which
            is wrong for transposed convolutions and for matrices stored by their inputs.

    Raises:
        BuilderError: If a module was given.
        DomainError: If clipping or eps is not positive, or a gradient is sparse.

    Source:
        Brock, De, Smith, Simonyan 2021, arXiv:2102.06171, eq. 3.
    """
    if not (clipping > 0 and eps > 0):
        raise DomainError(f"clipping={clipping!r} and eps={eps!r} were given; both take a number above 0.")
    places = units or {}
    weights = [each for each in listed(parameters) if each.grad is not None]
    for alike in buckets((weight, None) for weight in weights).values():
        _clip([(weight, places.get(weight) or _along_first_axis(weight.shape)) for weight in alike], clipping, eps)


def units_of(model: nn.Module | Task, inputs: Any = None) -> dict[Tensor, Units]:
    """Read where the units of a model's weights lie.

    Args:
        model: A module, or a Task.
        inputs: A batch of it. With one, or a Task, the axes are read from what the forward pass does with each weight,
            also of matrices stored by their inputs and stacked experts; without, from the layers of torch alone.

    Returns:
        The units of every weight whose units do not lie along axis 0 alone; a vector is one unit, whatever its axes.

    Raises:
        ModelError: If the model fails on its batch.
    """
    if isinstance(model, nn.Module) and inputs is None:
        transposed = (
            layer for layer in model.modules() if isinstance(layer, TRANSPOSED) and not is_vector(layer.weight)
        )
        return {layer.weight: _of_transposed(tuple(layer.weight.shape), layer.groups) for layer in transposed}
    subject = subject_of(model if isinstance(model, Task) else make_task(model, inputs))
    found: dict[Tensor, Units] = {}
    for slot in subject.slots:
        tensors, units = subject.names.parameters[slot.name], _of_slot(slot)
        if (
            len(tensors) == 1
            and not is_vector(tensors[0])
            and units is not None
            and units != _along_first_axis(slot.shape)
        ):
            found[tensors[0]] = units
    return found


def _clip(pairs: list[tuple[Tensor, Units]], clipping: float, eps: float) -> None:
    """Clip the gradients of parameters of one device and type; their norms are compared all at once."""
    gradients = [dense(weight, "the clipping").view(units.shape) for weight, units in pairs]
    places = [units.inside for _, units in pairs]
    sizes = [_norms(weight.view(units.shape), units.inside) for weight, units in pairs]
    slopes = [_norms(gradient, inside) for gradient, inside in zip(gradients, places, strict=True)]
    allowed = clipping * torch.cat([each.flatten() for each in sizes]).clamp_(min=eps)
    lengths = torch.cat([each.flatten() for each in slopes])
    factors = torch.where((lengths > allowed) & lengths.isfinite(), allowed / lengths, 1.0)
    parts = factors.split([each.numel() for each in slopes])  # in float32 at least: float16 has few digits below 6e-5
    FOREACH._foreach_mul_(gradients, [part.view(each.shape) for part, each in zip(parts, slopes, strict=True)])


def _norms(tensor: Tensor, inside: tuple[int, ...]) -> Tensor:
    wide = torch.promote_types(tensor.dtype, torch.float32)
    return torch.linalg.vector_norm(tensor, dim=inside, keepdim=True, dtype=wide)


def _along_first_axis(shape: tuple[int, ...]) -> Units:
    """Return the units of torch's own linear maps, convolutions, tables and vectors."""
    is_one = math.prod(shape) == max(shape, default=1)
    return Units(tuple(shape), tuple(range(0 if is_one else 1, len(shape))))


def _of_transposed(shape: tuple[int, ...], groups: int) -> Units:
    into, *rest = shape
    return Units((groups, into // groups, *rest), (1, *range(3, len(shape) + 1)))


def _of_slot(slot: Slot) -> Units | None:
    """Return the units of a weight that mixes units; None for other parameters, and where the axes are hidden."""
    layer = slot.layer
    if layer is None or slot.fans is None or layer.kind.startswith("embedding"):
        return None
    into, out = layer.layout.in_axis, layer.layout.out_axis
    if layer.kind.startswith("conv_transpose"):
        return _of_transposed(slot.shape, layer.layout.groups)
    if into is not None and not layer.kind.startswith("conv"):
        return Units(slot.shape, (into,))
    return None if out is None else Units(slot.shape, tuple(axis for axis in range(len(slot.shape)) if axis != out))
