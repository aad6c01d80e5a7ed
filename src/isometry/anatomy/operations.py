"""What the tensor functions mean: which operand is a weight, which are activations, norms or mere changes of shape."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from torch.overrides import resolve_name


@dataclass(frozen=True, slots=True)
class Signature:
    """Where the operands of a function with weights stand, by position and keyword."""

    weight: tuple[int, str]
    bias: tuple[int, str] | None = None
    settings: Mapping[str, int] = field(default_factory=dict[str, int])


_CONVOLUTION = {"stride": 3, "padding": 4, "dilation": 5, "groups": 6}
_TRANSPOSED = {"stride": 3, "padding": 4, "output_padding": 5, "groups": 6, "dilation": 7}

WEIGHTED: dict[str, Signature] = {
    "linear": Signature((1, "weight"), (2, "bias")),
    "bilinear": Signature((2, "weight"), (3, "bias")),
    "embedding": Signature((1, "weight")),
    "embedding_bag": Signature((1, "weight")),
    **{f"conv{n}d": Signature((1, "weight"), (2, "bias"), _CONVOLUTION) for n in (1, 2, 3)},
    **{f"conv_transpose{n}d": Signature((1, "weight"), (2, "bias"), _TRANSPOSED) for n in (1, 2, 3)},
}
PRODUCTS = frozenset(
    {
        "matmul",
        "mm",
        "bmm",
        "mv",
        "dot",
        "addmm",
        "addmv",
        "baddbmm",
        "einsum",
        "tensordot",
        "grouped_mm",
        "_grouped_mm",
    }
)
WITH_SUMMAND = frozenset({"addmm", "addmv", "baddbmm"})
RECURRENT = frozenset(
    {"lstm", "gru", "rnn_tanh", "rnn_relu", "lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell"}
)
GATES = {"lstm": 4, "lstm_cell": 4, "gru": 3, "gru_cell": 3}

NORMS = frozenset(
    {
        "batch_norm",
        "layer_norm",
        "group_norm",
        "instance_norm",
        "local_response_norm",
        "normalize",
        "rms_norm",
    }
)
RECTIFIERS = frozenset({"relu", "relu6", "threshold", "clamp_min"})
ACTIVATIONS = RECTIFIERS | frozenset(
    {
        "celu",
        "cos",
        "elu",
        "erf",
        "exp",
        "gelu",
        "hardsigmoid",
        "hardswish",
        "hardtanh",
        "leaky_relu",
        "hardshrink",
        "log_sigmoid",
        "mish",
        "prelu",
        "rrelu",
        "selu",
        "sigmoid",
        "silu",
        "sin",
        "softplus",
        "softshrink",
        "softsign",
        "tanh",
        "tanhshrink",
    }
)
LOSSES = frozenset(
    {"cross_entropy", "nll_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits", "mse_loss"}
)
# Operations that move numbers without changing them, so that a layer behind one is still the next layer.
RESHAPES = frozenset(
    {
        "T",
        "adjoint",
        "broadcast_to",
        "chunk",
        "clone",
        "contiguous",
        "detach",
        "data",
        "expand",
        "expand_as",
        "flatten",
        "flip",
        "float",
        "getitem",
        "half",
        "bfloat16",
        "double",
        "mT",
        "movedim",
        "narrow",
        "permute",
        "pixel_shuffle",
        "pixel_unshuffle",
        "repeat",
        "repeat_interleave",
        "reshape",
        "roll",
        "select",
        "split",
        "split_with_sizes",
        "squeeze",
        "swapaxes",
        "tensor_split",
        "to",
        "transpose",
        "t",
        "type",
        "type_as",
        "unbind",
        "unflatten",
        "unfold",
        "unsqueeze",
        "view",
        "view_as",
    }
)
# Operations that keep the meaning of their input for a reader of the anatomy: reshapes, and what training adds.
TRANSPARENT = RESHAPES | frozenset(
    {"alpha_dropout", "dropout", "dropout1d", "dropout2d", "dropout3d", "feature_alpha_dropout", "pad", "masked_fill"}
)
SUMS = frozenset({"add"})
LINEAR_ELEMENTWISE = frozenset(
    {"add", "sub", "mul", "div", "neg", "float", "half", "bfloat16", "double", "to", "type_as"}
)
# Functions of one number that a composed activation, such as 0.5 * x * (1 + tanh(...)), may be made of.
ELEMENTWISE = (
    ACTIVATIONS
    | LINEAR_ELEMENTWISE
    | frozenset(
        {
            "abs",
            "atan",
            "clamp",
            "clip",
            "cosh",
            "eq",
            "expm1",
            "ge",
            "gt",
            "le",
            "log",
            "log1p",
            "logical_and",
            "logical_not",
            "logical_or",
            "lt",
            "maximum",
            "minimum",
            "ne",
            "pow",
            "reciprocal",
            "rsqrt",
            "sign",
            "sinh",
            "sqrt",
            "square",
            "where",
        }
    )
)

# Operations with one meaning and several names.
_SAME = {
    "absolute": "abs",
    "clip": "clamp",
    "concat": "cat",
    "concatenate": "cat",
    "divide": "div",
    "multiply": "mul",
    "negative": "neg",
    "special_erf": "erf",
    "special_expit": "sigmoid",
    "subtract": "sub",
    "true_divide": "div",
    "truediv": "div",
}
_DIMS = 2  # position of tensordot's axes, and by default their number
_OPERATORS = frozenset({"add", "sub", "mul", "div", "truediv", "floordiv", "matmul", "pow", "and", "or", "xor", "mod"})


@cache
def plain_name(function: Callable[..., Any]) -> str:
    """Return the name a user would call a tensor function by.

    Operators, methods, in-place and reflected forms of one function share a name.

    Example:
        >>> import torch
        >>> plain_name(torch.Tensor.add_), plain_name(torch.nn.functional.relu)
        ('add', 'relu')
    """
    name = str(getattr(function, "__name__", "") or resolve_name(function) or "unknown")
    if name in {"__get__", "__set__"}:
        name = (resolve_name(function) or f"unknown.{name}").split(".")[-2]
    if name.startswith("__") and name.endswith("__"):
        name = name.strip("_")
        name = name[1:] if name[0] in "ir" and name[1:] in _OPERATORS else name
    name = name.rstrip("_") or name
    return _SAME.get(name, name)


@cache
def is_in_place(function: Callable[..., Any]) -> bool:
    """Say whether a tensor function writes into its first operand."""
    name = str(getattr(function, "__name__", ""))
    if name.startswith("__"):
        return name in {"__setitem__", "__set__"} or (name[2] == "i" and name[3:-2] in _OPERATORS)
    return name.endswith("_") and name != "requires_grad_"


def settings_of(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, object]:
    """Return the arguments of a call that are no tensors, by keyword or by position as a word.

    Args:
        name: The function's plain name.
        args: Its positional arguments.
        kwargs: Its keyword arguments.
    """
    if name in WEIGHTED:
        where = WEIGHTED[name].settings
        return {
            key: args[position] if position < len(args) else kwargs[key]
            for key, position in where.items()
            if position < len(args) or key in kwargs
        }
    if name in PRODUCTS and args and isinstance(args[0], str):
        return {"equation": args[0]}
    if name == "tensordot":
        return {"dims": kwargs.get("dims", args[_DIMS] if len(args) > _DIMS else _DIMS)}
    plain = (bool, int, float, str)
    given: dict[str, object] = {f"{place}": value for place, value in enumerate(args) if isinstance(value, plain)}
    return given | {key: value for key, value in kwargs.items() if isinstance(value, plain)}
