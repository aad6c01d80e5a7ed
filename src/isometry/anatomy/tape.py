"""The tape: every operation of one real forward pass, in order, with its parameters, inputs, outputs and module."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch

ParameterRole = Literal["weight", "bias", "norm", "scale", "other"]


@dataclass(frozen=True, slots=True)
class ParameterUse:
    """A parameter as one operation used it.

    Attributes:
        names: Canonical names of the parameters that the operand is made of; several for a sum or product of them.
        role: What the operation does with it; `weight` means that it mixes the units of its input.
        position: Which operand it is: the index among the operation's tensors.
        shape: Shape of the operand, which may be a view or a part of the parameter.
        whole: Shape of the parameter; of W + A @ B that of W, the first name; () if it is made of several otherwise.
        axes: For each axis of the operand the axis of the parameter it is; None where that is unknown.
        part: Which part of the parameter it is, counted in its own size; None if it is the whole.
        shift: Number that the model adds to the parameter first, as in the (1 + weight) of Gemma's norm.
    """

    names: tuple[str, ...]
    role: ParameterRole
    position: int
    shape: tuple[int, ...]
    whole: tuple[int, ...]
    axes: tuple[int | None, ...]
    part: int | None = None
    shift: float = 0.0


@dataclass(frozen=True, slots=True)
class Value:
    """One state of one tensor of the forward pass.

    Attributes:
        index: Its number on the tape.
        producer: Index of the operation that made it; None for what came from outside.
        shape: Its shape.
        dtype: Its type.
        has_gradient: Whether a gradient can flow into it.
        unit_axis: The axis along which its units lie, such as 1 for the channels of an image.
        first_unit: Which of a layer's units its first number belongs to, where it is a view of the layer's output.
        unit_steps: For each of its axes, how many units one step along it goes.
    """

    index: int
    producer: int | None
    shape: tuple[int, ...]
    dtype: torch.dtype
    has_gradient: bool
    unit_axis: int
    first_unit: int = 0
    unit_steps: tuple[int, ...] = ()

    @property
    def num_units(self) -> int:
        """Length of the axis of units; 1 for a scalar."""
        return self.shape[self.unit_axis] if self.shape else 1


@dataclass(frozen=True, slots=True)
class Operation:
    """One call of a tensor function that touched data.

    Attributes:
        index: Its place on the tape.
        name: The function's plain name, such as `linear`, `relu` or `add`; operators and in-place forms share it.
        module: Canonical path of the innermost module it ran in; "" for the root and for the loss outside of it.
        inputs: Indices of the values it read, without its parameters.
        outputs: Indices of the values it made.
        parameters: The parameters it used.
        settings: What matters beside tensors, such as `stride` or `groups`.
        unit_axis: The axis of its first output along which the units lie.
        is_blind: Whether it ran with gradients switched off.
    """

    index: int
    name: str
    module: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    parameters: tuple[ParameterUse, ...]
    settings: Mapping[str, object]
    unit_axis: int
    is_blind: bool

    @property
    def weights(self) -> tuple[ParameterUse, ...]:
        """The parameters that mix the units of its input."""
        return tuple(use for use in self.parameters if use.role == "weight")


@dataclass(frozen=True, slots=True)
class Elementwise:
    """How to repeat an operation that acts on each number by itself; a Reference stands for a value of the tape."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Reference:
    """Stands for a value of the tape among the arguments of an Elementwise."""

    value: int


@dataclass(frozen=True, slots=True)
class Tape:
    """The record of one real forward pass.

    Attributes:
        operations: In the order of execution.
        elementwise: For the operations that act on each number by itself, how to repeat them.
        values: Every state of every tensor that the operations read or made.
        loss: Index of the value that is the loss.
        unused: Canonical names of trainable parameters that no operation used.
        batch: Indices of the values that are tensors of the batch.
        crowded: Paths of modules whose weights serve several layers, so that their name is none of a layer.
        alive: Indices of the values that something held when the model's call ended, and of those that one of its
            modules returned beside others, of which its caller need not want all.
    """

    operations: tuple[Operation, ...]
    elementwise: Mapping[int, Elementwise]
    values: tuple[Value, ...]
    loss: int
    unused: tuple[str, ...]
    batch: frozenset[int] = frozenset()
    crowded: frozenset[str] = frozenset()
    alive: frozenset[int] = frozenset()

    def label(self, operation: Operation) -> str:
        """Return the name of a layer for people: its weight's module or name, its module, or the function at its place.

        Operations share a name only if they share their weight.
        """
        for use in operation.weights:
            owner, _, _ = use.names[0].rpartition(".")
            if use.part is not None:
                return f"{use.names[0]}[{use.part}]"
            return use.names[0] if not owner or owner in self.crowded else owner
        return operation.module or f"{operation.name} (operation {operation.index})"
