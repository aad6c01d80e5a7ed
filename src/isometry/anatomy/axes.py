"""The only place that knows how layers store their weights: from an operation and its operand to axes and true fans."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from isometry.anatomy.operations import GATES, PRODUCTS, RECURRENT
from isometry.anatomy.tape import Operation, ParameterUse
from isometry.theory.fans import Fans


@dataclass(frozen=True, slots=True)
class Layout:
    """How a weight is stored.

    Attributes:
        fans: Connections of one unit in and of one input out, counts; strides make them fractions.
        out_axis: The parameter's axis along which its units lie; None where views hide it.
        in_axis: The parameter's axis along which its inputs lie, like `out_axis`.
        parts: Matrices side by side along `out_axis`, such as the four gates of an LSTM; counts.
        groups: Independent groups of channels, counts.
        stacked: Independent matrices along the leading axes, such as experts; counts.
    """

    fans: Fans
    out_axis: int | None
    in_axis: int | None
    parts: int = 1
    groups: int = 1
    stacked: int = 1

    @property
    def is_matrix(self) -> bool:
        """Whether the weight is one matrix, or several side by side along its rows or columns."""
        return self.out_axis is not None and self.in_axis is not None and self.groups == 1 and self.stacked == 1


def layout_of(operation: Operation, use: ParameterUse, *, parts: int = 1) -> Layout:
    """Return the layout of a weight as an operation uses it.

    fan_in = inputs of a group x kernel places, over the stride for a transposed convolution;
    fan_out = outputs of a group x kernel places, over the stride for a convolution.

    Args:
        operation: The operation that uses the weight.
        use: The operand.
        parts: Into how many equal parts the operation's output is split along its units, counts.

    Returns:
        Axes of the stored parameter and fans of the operand.

    Source:
        He, Zhang, Ren, Sun 2015, arXiv:1502.01852, section 2.2, for convolutions without stride; with a stride an
        input takes part in a fraction of the products, which tests measure.
    """
    name = operation.name
    if name.startswith("conv_transpose"):
        return _of_transposed(operation, use)
    if name.startswith("conv"):
        return _of_convolution(operation, use)
    if name in RECURRENT:
        return _of_matrix(use, out_axis=0, in_axis=1, parts=GATES.get(name, 1))
    if name.startswith("embedding"):
        return Layout(Fans(1, use.shape[1]), out_axis=use.axes[1], in_axis=use.axes[0])
    if name == "bilinear":
        return Layout(Fans(math.prod(use.shape[1:]), use.shape[0]), out_axis=use.axes[0], in_axis=None)
    if name == "einsum":
        return _of_einsum(operation, use, parts)
    if name in PRODUCTS:
        left = use.position == (1 if name in {"addmm", "baddbmm"} else 0)
        last = len(use.shape) - 1
        axes = (last - 1, last) if left else (last, last - 1)
        return _of_matrix(use, out_axis=axes[0], in_axis=axes[1], parts=parts)
    return _of_matrix(use, out_axis=0, in_axis=1, parts=parts)


def _of_matrix(use: ParameterUse, *, out_axis: int, in_axis: int, parts: int) -> Layout:
    fans = Fans(use.shape[in_axis], use.shape[out_axis] / parts)
    stacked = math.prod(use.shape) // (use.shape[in_axis] * use.shape[out_axis])
    return Layout(fans, use.axes[out_axis], use.axes[in_axis], parts=parts, stacked=stacked)


def _of_convolution(operation: Operation, use: ParameterUse) -> Layout:
    out, into, *kernel = use.shape
    groups = cast("int", operation.settings.get("groups", 1))
    fan_out = out / groups * math.prod(kernel) / _product(operation.settings, "stride", len(kernel))
    return Layout(Fans(into * math.prod(kernel), fan_out), use.axes[0], use.axes[1], groups=groups)


def _of_transposed(operation: Operation, use: ParameterUse) -> Layout:
    into, out, *kernel = use.shape
    groups = cast("int", operation.settings.get("groups", 1))
    fan_in = into / groups * math.prod(kernel) / _product(operation.settings, "stride", len(kernel))
    return Layout(Fans(fan_in, out * math.prod(kernel)), use.axes[1], use.axes[0], groups=groups)


def _of_einsum(operation: Operation, use: ParameterUse, parts: int) -> Layout:
    equation = str(operation.settings.get("equation", "")).replace(" ", "").replace("...", "")
    operands, _, result = equation.partition("->")
    terms = operands.split(",")
    own = terms[use.position] if use.position < len(terms) else ""
    contracted = [axis for axis, letter in enumerate(own) if letter not in result]
    rest = "".join(term for position, term in enumerate(terms) if position != use.position)
    new = [axis for axis, letter in enumerate(own) if letter in result and letter not in rest]
    fan_in = math.prod(use.shape[axis] for axis in contracted)
    fan_out = math.prod(use.shape[axis] for axis in new)
    return Layout(
        Fans(fan_in, fan_out / parts if parts else fan_out),
        out_axis=use.axes[new[0]] if len(new) == 1 else None,
        in_axis=use.axes[contracted[0]] if len(contracted) == 1 else None,
        parts=parts,
        stacked=math.prod(use.shape) // (fan_in * fan_out),
    )


def _product(settings: Mapping[str, Any], key: str, count: int) -> int:
    value = settings.get(key, 1)
    if isinstance(value, Sequence):
        items = cast("Sequence[int]", value)
        return math.prod(items) if len(items) == count else items[0] ** count
    return int(value) ** count
