"""Finds the activation behind a value and repeats it on other numbers, whether one call or composed of many."""

import math
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor, nn

from isometry.anatomy.operations import ACTIVATIONS, ELEMENTWISE, LINEAR_ELEMENTWISE
from isometry.anatomy.tape import Elementwise, Operation, Reference, Tape

CASTS = frozenset({"to", "float", "half", "bfloat16", "double", "type_as"})
MAX_OPERATIONS = 24  # of one activation; longer runs of elementwise operations are no activation


@dataclass(frozen=True, slots=True)
class Activation:
    """A function of each number by itself, between two layers.

    Attributes:
        name: The function's name, or `composed` with the names of its parts.
        entry: Value it reads.
        exit: Value it makes.
        operations: Indices of its operations.
        tape: Where they stand.
    """

    name: str
    entry: int
    exit: int
    operations: tuple[int, ...]
    tape: Tape

    def __call__(self, numbers: Float64[np.ndarray, "*shape"]) -> Float64[np.ndarray, "*shape"]:
        """Return the activation of each number, in double precision.

        Raises:
            KeyError: If a part of it was too large to keep, such as a mask.
        """
        values: dict[int, Tensor] = {self.entry: torch.from_numpy(np.ascontiguousarray(numbers))}
        with torch.no_grad():
            for index in self.operations:
                values[self.tape.operations[index].outputs[0]] = _repeat(self.tape.elementwise[index], values)
        return values[self.exit].double().numpy()  # a comparison makes truth values

    @property
    def formula(self) -> tuple[Hashable, ...] | None:
        """What it computes, equal for two uses of one function; None if a tensor takes part beside what it reads."""
        places, parts = {self.entry: 0}, list[Hashable]()
        for index in self.operations:
            step = self.tape.elementwise.get(index)
            if step is None:
                return None
            arguments = [("", each) for each in step.args] + sorted(step.kwargs.items())
            for key, each in arguments:
                if isinstance(each, Reference) and each.value in places:
                    parts.append((key, "value", places[each.value]))
                elif each is None or isinstance(each, bool | int | float | str):
                    parts.append((key, type(each), each))
                else:
                    return None
            parts.append(step.function)
            places[self.tape.operations[index].outputs[0]] = len(places)
        return tuple(parts)

    @property
    def is_repeatable(self) -> bool:
        """Whether every part of it can be repeated on other numbers."""
        return all(index in self.tape.elementwise for index in self.operations)


def activation_from(tape: Tape, value: int, readers: Mapping[int, tuple[int, ...]]) -> Activation | None:
    """Return the activation that reads a value, or None if a layer, a sum or the end comes first.

    The elementwise operations that depend on nothing but this value are one activation, so that
    `x * sigmoid(1.702 * x)` is found as well as `silu(x)`.
    """
    inside = {value}
    region: list[Operation] = []
    waiting = sorted(readers.get(value, ()))
    while waiting and len(region) < MAX_OPERATIONS:
        operation = tape.operations[waiting.pop(0)]
        if any(operation is each for each in region) or not _belongs(operation, inside):
            continue
        region.append(operation)
        inside.update(operation.outputs)
        waiting = sorted({*waiting, *(reader for out in operation.outputs for reader in readers.get(out, ()))})
    exits = _exits(tape, region, value, readers=readers)
    while region and len(exits) > 1:
        # Values that leave early (a residual path that reads the entry) shorten the region to its first way out.
        region.pop()
        exits = _exits(tape, region, value, readers=readers)
    if not region or len(exits) != 1 or exits[0] == value or not _is_nonlinear(region):
        return None
    names = [operation.name for operation in region if operation.name not in LINEAR_ELEMENTWISE]
    name = region[0].name if len(region) == 1 else f"composed ({', '.join(names) or 'mul'})"
    return Activation(name, value, exits[0], tuple(operation.index for operation in region), tape)


def _belongs(operation: Operation, inside: set[int]) -> bool:
    only_scalars = all(use.role == "other" or math.prod(use.shape) == 1 for use in operation.parameters)
    is_elementwise = operation.name in ELEMENTWISE and only_scalars
    return is_elementwise and bool(operation.inputs) and all(each in inside for each in operation.inputs)


def _exits(tape: Tape, region: list[Operation], entry: int, *, readers: Mapping[int, tuple[int, ...]]) -> list[int]:
    """Return the values of a region, its entry included, that others read."""
    own = {operation.index for operation in region}
    inside = {entry, *(out for operation in region for out in operation.outputs)}
    return sorted(
        each for each in inside if each == tape.loss or any(reader not in own for reader in readers.get(each, ()))
    )


def _is_nonlinear(region: list[Operation]) -> bool:
    def multiplies_itself(operation: Operation) -> bool:
        return operation.name in {"mul", "div"} and len(operation.inputs) > 1

    return any(
        each.name in ACTIVATIONS or each.name not in LINEAR_ELEMENTWISE or multiplies_itself(each) for each in region
    )


def _repeat(step: Elementwise, values: Mapping[int, Tensor]) -> Tensor:
    name = getattr(step.function, "__name__", "")
    args = [_fill_in(argument, values) for argument in step.args]
    if name in CASTS:
        return args[0]
    kwargs = {key: _fill_in(argument, values) for key, argument in step.kwargs.items() if key != "inplace"}
    function: Callable[..., Any] = step.function
    first = args[0].clone() if args and isinstance(args[0], Tensor) else None
    return function(*([first, *args[1:]] if first is not None else args), **kwargs)


def _fill_in(argument: Any, values: Mapping[int, Tensor]) -> Any:
    if isinstance(argument, Reference):
        return values[argument.value]
    if isinstance(argument, nn.Parameter):
        return argument.detach().mean().double().cpu().reshape(1)
    return argument.detach().double().cpu() if isinstance(argument, Tensor) else argument
