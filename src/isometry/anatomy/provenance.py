"""Follows parameters and unit axes through views: which axis of an operand is which axis of its parameter."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from isometry.anatomy.operations import NORMS, PRODUCTS, RECURRENT, WEIGHTED
from isometry.anatomy.tape import ParameterRole, ParameterUse, Value

_MOVES_AXES = frozenset({"transpose", "permute", "movedim", "T", "mT", "t", "swapaxes", "adjoint"})
_MATRIX = 2


@dataclass(frozen=True, slots=True)
class ParameterView:
    """A tensor that is made of parameters alone: their names, and the parameter's axis behind each of its axes."""

    names: tuple[str, ...]
    axes: tuple[int | None, ...]


def derived_view(
    tensor: Tensor, inputs: Sequence[Tensor], views: Sequence[ParameterView | None]
) -> ParameterView | None:
    """Return what a tensor made of parameters and constants is, or None if no parameter is in it."""
    sources = [(source, view) for source, view in zip(inputs, views, strict=True) if view is not None]
    if not sources:
        return None
    names = tuple(dict.fromkeys(name for _, view in sources for name in view.names))
    for source, view in sources:
        if _shares_memory(tensor, source):
            moved = _moved_axes(tensor, source)
            return ParameterView(names, tuple(None if axis is None else view.axes[axis] for axis in moved))
    for source, view in sources:
        if source.shape == tensor.shape:
            return ParameterView(names, view.axes)
    return ParameterView(names, (None,) * tensor.ndim)


def parameter_use(
    name: str,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    *,
    tensor: Tensor,
    view: ParameterView,
    position: int,
) -> ParameterUse:
    """Return how a function called `name` uses one operand that is made of parameters."""
    role = _role(name, args, kwargs, tensor)
    return ParameterUse(view.names, role, position, tuple(tensor.shape), view.axes)


def unit_axis_of(name: str, output: Tensor, inputs: Sequence[Tensor], *, known: Sequence[Value | None]) -> int:
    """Return the axis along which the units of an operation's output lie.

    Convolutions put them before the places of a map, everything else last; views and elementwise operations keep
    the axis of their input.
    """
    last = max(output.ndim - 1, 0)
    if name.startswith("conv"):
        return max(output.ndim - 1 - int(name.removesuffix("d")[-1]), 0)
    if name in WEIGHTED or name in PRODUCTS or name in RECURRENT:
        return last
    for source, value in zip(inputs, known, strict=True):
        if value is None:
            continue
        if name in _MOVES_AXES and _shares_memory(output, source):
            moved = _moved_axes(output, source)
            return moved.index(value.unit_axis) if value.unit_axis in moved else last
        if output.ndim == source.ndim and output.ndim and output.shape[value.unit_axis] == value.num_units:
            return value.unit_axis
        return last
    return last


def _role(name: str, args: Sequence[Any], kwargs: Mapping[str, Any], tensor: Tensor) -> ParameterRole:
    if name in WEIGHTED:
        signature = WEIGHTED[name]
        if _argument(args, kwargs, signature.weight) is tensor:
            return "weight"
        return "bias" if signature.bias and _argument(args, kwargs, signature.bias) is tensor else "other"
    if name in RECURRENT:
        return "weight" if tensor.ndim == _MATRIX else "bias"
    if name in PRODUCTS:
        is_summand = name in {"addmm", "baddbmm"} and args[0] is tensor
        return "bias" if is_summand or tensor.ndim < _MATRIX else "weight"
    if name in NORMS:
        return "norm"
    if name in {"mul", "div"}:
        return "scale"
    return "bias" if name in {"add", "sub"} else "other"


def _argument(args: Sequence[Any], kwargs: Mapping[str, Any], place: tuple[int, str]) -> Any:
    position, keyword = place
    return args[position] if position < len(args) else kwargs.get(keyword)


def _shares_memory(first: Tensor, second: Tensor) -> bool:
    if first is second:
        return True
    if first.is_meta or second.is_meta:
        return first._base is not None and (first._base is second or first._base is second._base)
    return first.untyped_storage().data_ptr() == second.untyped_storage().data_ptr()


def _moved_axes(view: Tensor, source: Tensor) -> list[int | None]:
    """For each axis of a view the axis of its source with the same stride; None where none or several have it."""
    moved: list[int | None] = []
    for length, stride in zip(view.shape, view.stride(), strict=True):
        matches = [
            axis
            for axis, (of_length, of_stride) in enumerate(zip(source.shape, source.stride(), strict=True))
            if of_stride == stride and of_length >= length > 1
        ]
        moved.append(matches[0] if len(matches) == 1 else None)
    return moved
