"""Records the operations of a forward pass on an unmodified model; observers see each one as it returns."""

import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from isometry.anatomy.names import ParameterNames
from isometry.anatomy.operations import ELEMENTWISE, RESHAPES, WEIGHTED, is_in_place, plain_name, settings_of
from isometry.anatomy.preserve import Guard
from isometry.anatomy.provenance import ParameterView, derived_view, parameter_use, role_of_operand
from isometry.anatomy.tape import Elementwise, Operation, ParameterUse, Reference, Tape, Value
from isometry.anatomy.task import tensors_in
from isometry.anatomy.units import Units, unit_axis_of, units_of_view

MAKES_CONSTANTS = ("_like", "new_")
MAKES_NOISE = frozenset({"randn", "normal"})  # data of their own, as the input of a generator is


@dataclass(frozen=True, slots=True)
class Call:
    """What an observer sees beside the operation: the real arguments and results, not to be kept."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


Observer = Callable[[Operation, Call], Tensor | None]


class Recorder(TorchFunctionMode):
    """Sees the tensor functions a user would name, in order, while it is entered.

    `calls` of the attention function are entered, so that its projections are seen. What runs out of sight (custom
    autograd functions, scripted modules) is put on the tape as one `opaque` operation of its module.
    """

    def __init__(self, names: ParameterNames, *, guard: Guard, observers: tuple[Observer, ...]) -> None:
        super().__init__()
        self._names = names
        self._guard = guard
        self._observers = observers
        self._operations: list[Operation] = []
        self._elementwise: dict[int, Elementwise] = {}
        self._values: list[Value] = []
        self._value_of = WeakTensorKeyDictionary()
        self._view_of = WeakTensorKeyDictionary()
        self._constants = WeakTensorKeyDictionary()
        self._batch: frozenset[int] = frozenset()
        self._modules: list[tuple[nn.Module, tuple[int, ...]]] = []
        self.strays: list[Tensor] = []
        self._alive: set[int] = set()
        self.last_call: tuple[str, tuple[Tensor, ...]] | None = None

    def __torch_function__(  # noqa: PLR0917 - torch's signature
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if is_transformed():
            return func(*args, **kwargs)
        if func is functional.multi_head_attention_forward:
            with self:
                return ENTERED_ATTENTION(*args, **kwargs)
        name = plain_name(func)
        if name in _ATTRIBUTES:  # also sets `.grad` or `.requires_grad`, which the guard keeps anyway
            return func(*args, **kwargs)
        operands = tuple(tensors_in((args, kwargs)))
        self._guard_writes(func, args, kwargs)
        self.last_call = (name, operands)
        result = func(*args, **kwargs)
        self.last_call = None  # it returned; what fails later is something else
        outputs = (args[0],) if name == "setitem" else tuple(tensors_in(result))
        if not outputs or (name in RESHAPES and outputs[0] is args[0]):
            return result
        if name in MAKES_NOISE and not operands:
            return result
        call = Call(args, kwargs, operands, outputs)
        # A recorder around this one shall see what the model does and what observers put in place, not the bookkeeping.
        with torch._C.DisableTorchFunction():  # pyright: ignore[reportPrivateUsage] - its only name, and documented
            operation = self._note(func, name, call)
        replaced = None if operation is None else self._ask_observers(operation, call)
        return result if replaced is None else replaced

    def enter_module(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        """Hear that a module is called."""
        inputs = tuple(self._value_of[tensor].index for tensor in tensors_in(args) if tensor in self._value_of)
        self._modules.append((module, inputs))

    def leave_module(self, module: nn.Module, output: Any) -> None:
        """Hear that a module returned; a caught error may have hidden the return of those inside it."""
        given = list(tensors_in(output))
        for tensor in given:
            if self._is_unseen(tensor):
                self._adopt(tensor)
            elif tensor in self._value_of:
                self._value(tensor)
        if len(given) > 1:  # who calls it need not want all of them
            self._alive.update(self._value_of[each].index for each in given if each in self._value_of)
        while self._modules and self._modules.pop()[0] is not module:
            pass
        if not self._modules:  # its own names are gone: what it neither returned nor keeps is no more
            self._alive.update(value.index for value in self._value_of.values())

    def expect(self, batch: Iterable[Tensor]) -> None:
        """Hear which tensors come from outside; others that no operation made leave and enter torch on the way."""
        tensors = [tensor for tensor in batch if not isinstance(tensor, nn.Parameter)]
        self._batch = frozenset(self._value(tensor).index for tensor in tensors)

    @property
    def operations(self) -> tuple[Operation, ...]:
        """What has returned so far."""
        return tuple(self._operations)

    @property
    def innermost_module(self) -> nn.Module | None:
        """The module whose forward pass is running."""
        return self._modules[-1][0] if self._modules else None

    @property
    def innermost_path(self) -> str:
        """Canonical path of the innermost module of the model whose forward pass is running."""
        return self._module_path()

    def finish(self, loss: Tensor) -> Tape:
        """Return the tape of a finished forward pass."""
        used = {name for operation in self._operations for use in operation.parameters for name in use.names}
        trainable = (
            name for name, tensors in self._names.parameters.items() if any(tensor.requires_grad for tensor in tensors)
        )
        value = self._value_of.get(loss) or self._new_value(loss, producer=None, units=Units.along(loss, 0))
        return Tape(
            operations=tuple(self._operations),
            elementwise=self._elementwise,
            values=tuple(self._values),
            loss=value.index,
            unused=tuple(name for name in trainable if name not in used),
            batch=self._batch,
            crowded=_crowded(self._operations),
            alive=frozenset(self._alive),
        )

    def _note(self, function: Callable[..., Any], name: str, call: Call) -> Operation | None:
        views = [self._parameter_view(tensor) for tensor in call.inputs]
        # What the operation wrote into looks like its result by now.
        written = call.outputs[0]
        is_data = [
            view is None and not self._is_constant(tensor, is_written=tensor is written)
            for tensor, view in zip(call.inputs, views, strict=True)
        ]
        makes_constants = name.endswith(MAKES_CONSTANTS[0]) or name.startswith(MAKES_CONSTANTS[1])
        has_parameters = any(view is not None for view in views)
        if makes_constants or not (any(is_data) or (has_parameters and name in WEIGHTED)):
            self._note_without_data(name, call, views)
            return None
        inputs = tuple(
            self._value_before(tensor) if tensor is written else self._value(tensor)
            for tensor, data in zip(call.inputs, is_data, strict=True)
            if data
        )
        uses = tuple(
            parameter_use(
                role_of_operand(name, call.args, call.kwargs, tensor=tensor),
                view,
                tensor,
                position=position,
            )
            for position, (tensor, view) in enumerate(zip(call.inputs, views, strict=True))
            if view is not None
        )
        elementwise = self._elementwise_of(function, name, call)
        operation = self._append(name, call, inputs=inputs, uses=uses)
        if elementwise is not None:
            self._elementwise[operation.index] = elementwise
        return operation

    def _ask_observers(self, operation: Operation, call: Call) -> Tensor | None:
        """Show an operation to all observers, each seeing what the last one put in its output's place."""
        replaced = None
        for observer in self._observers:
            answer = observer(operation, call)
            if answer is not None:
                replaced = answer
                call = replace(call, outputs=(answer, *call.outputs[1:]))
                self._put_in_place(answer, operation)
        return replaced

    def _put_in_place(self, answer: Tensor, operation: Operation) -> None:
        """Take what an observer put in an output's place for that output; of another shape it is another value."""
        value = self._values[operation.outputs[0]]
        if tuple(answer.shape) == value.shape:
            self._value_of[answer] = value
        else:
            units = Units.along(answer, max(answer.ndim - 1, 0))
            self._new_value(answer, producer=operation.index, units=units)

    def _guard_writes(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Tell the guard what an operation is about to overwrite."""
        name = plain_name(function)
        if name.startswith("embedding") and kwargs.get("max_norm", args[3] if len(args) > _MAX_NORM else None):
            self._guard.before_write(args[1])
        # `functional.leaky_relu(x, 0.01, True)`: a True among the arguments may mean that.
        may_write = is_in_place(function) or kwargs.get("inplace") or any(each is True for each in args)
        for target in tensors_in((args[:1] if may_write else (), kwargs.get("out"))):
            if self._is_new(target):
                self._guard.watch(target)
            self._guard.before_write(target)

    def _append(self, name: str, call: Call, *, inputs: tuple[Value, ...], uses: tuple[ParameterUse, ...]) -> Operation:
        index = len(self._operations)
        outputs: list[int] = []
        for tensor in call.outputs:
            value = self._new_value(tensor, producer=index, units=self._units_of(name, tensor, call.inputs))
            outputs.append(value.index)
            base = tensor._base
            if base is not None and any(tensor is each for each in call.args[:1]):
                self._value_of[base] = value  # what is written into a part is written into the whole
        operation = Operation(
            index=index,
            name=name,
            module=self._module_path(),
            inputs=tuple(value.index for value in inputs),
            outputs=tuple(outputs),
            parameters=uses,
            settings=settings_of(name, call.args, call.kwargs),
            unit_axis=self._values[outputs[0]].unit_axis,
            is_blind=not torch.is_grad_enabled(),
        )
        self._operations.append(operation)
        return operation

    def _elementwise_of(self, function: Callable[..., Any], name: str, call: Call) -> Elementwise | None:
        """Return how to repeat an operation on other numbers, if it acts on each number by itself."""
        if name not in ELEMENTWISE or not all(self._is_repeatable(tensor) for tensor in call.inputs):
            return None
        refer = self._refer
        args = tuple(refer(each) for each in call.args)
        return Elementwise(function, args, {key: refer(each) for key, each in call.kwargs.items()})

    def _is_repeatable(self, tensor: Tensor) -> bool:
        return tensor in self._value_of or isinstance(tensor, nn.Parameter) or tensor.numel() == 1

    def _refer(self, argument: Any) -> Any:
        value = self._value_of.get(argument) if isinstance(argument, Tensor) else None
        return argument if value is None else Reference(value.index)

    def _note_without_data(self, name: str, call: Call, views: list[ParameterView | None]) -> None:
        numbers = [each for each in call.args if isinstance(each, int | float)] if name == "add" else []
        for tensor in call.outputs:
            view = derived_view(name, tensor, call.inputs, views=views)
            if view is not None:
                self._view_of[tensor] = replace(view, shift=view.shift + sum(numbers))
            elif tensor not in self._value_of:
                self._constants[tensor] = True

    def _parameter_view(self, tensor: Tensor) -> ParameterView | None:
        name = self._names.of_tensor.get(id(tensor))
        if name is not None:
            return ParameterView((name,), tuple(tensor.shape), tuple(range(tensor.ndim)))
        return None if tensor in self._value_of else self._view_of.get(tensor)

    def _is_constant(self, tensor: Tensor, *, is_written: bool) -> bool:
        known = tensor in self._constants or id(tensor) in self._names.buffers
        return known and tensor not in self._value_of and (is_written or tensor.grad_fn is None)

    def _is_new(self, tensor: Tensor) -> bool:
        known = tensor in self._value_of or tensor in self._view_of or tensor in self._constants
        return not known and not isinstance(tensor, nn.Parameter)

    def _is_unseen(self, tensor: Tensor) -> bool:
        is_known = tensor in self._value_of or not (self._is_new(tensor) or tensor in self._constants)
        return tensor.grad_fn is not None and not is_known

    def _value(self, tensor: Tensor) -> Value:
        if self._is_unseen(tensor):
            return self._adopt(tensor)
        known = self._value_of.get(tensor)
        if known is not None and tensor.grad_fn is not None and not known.has_gradient:
            return self._reveal(tensor, known)
        return self._value_before(tensor)

    def _value_before(self, tensor: Tensor) -> Value:
        """Return the value that a tensor was before it was written into."""
        known = self._value_of.get(tensor)
        if known is not None:
            return known
        self._guard.watch(tensor)
        if tensor.requires_grad and tensor.is_leaf and torch.is_grad_enabled() and self._is_inside_model():
            self.strays.append(tensor)
        return self._new_value(tensor, producer=None, units=Units.along(tensor, max(tensor.ndim - 1, 0)))

    def _reveal(self, tensor: Tensor, value: Value) -> Value:
        """Enter that a gradient flows where a custom autograd function ran its forward pass with gradients off."""
        waiting = [value.index]
        while waiting:
            each = self._values[waiting.pop()]
            maker = None if each.producer is None else self._operations[each.producer]
            if maker is not None and maker.is_blind and not each.has_gradient and each.dtype.is_floating_point:
                self._values[each.index] = replace(each, has_gradient=True)
                waiting.extend(maker.inputs)
        self._value_of[tensor] = self._values[value.index]
        return self._values[value.index]

    def _adopt(self, tensor: Tensor) -> Value:
        """Put a tensor that was made out of sight on the tape, as made from the inputs and parameters of its module."""
        module, indices = self._modules[-1] if self._modules else (None, ())
        inputs = tuple(self._values[index] for index in indices)
        own = () if module is None else module.parameters(recurse=isinstance(module, torch.jit.ScriptModule))
        views = ((parameter, self._parameter_view(parameter)) for parameter in own)
        uses = tuple(
            parameter_use("other", view, parameter, position=position)
            for position, (parameter, view) in enumerate(views)
            if view is not None
        )
        operation = self._append("opaque", Call((), {}, (), (tensor,)), inputs=inputs, uses=uses)
        return self._values[operation.outputs[0]]

    def _units_of(self, name: str, output: Tensor, inputs: tuple[Tensor, ...]) -> Units:
        known = [self._value_of.get(each) for each in inputs]
        axis = unit_axis_of(name, output, inputs, known=known)
        data = [(source, value) for source, value in zip(inputs, known, strict=True) if value is not None]
        return units_of_view(output, *data[0], axis=axis) if name in RESHAPES and data else Units.along(output, axis)

    def _new_value(self, tensor: Tensor, *, producer: int | None, units: Units) -> Value:
        value = Value(
            index=len(self._values),
            producer=producer,
            shape=tuple(tensor.shape),
            dtype=tensor.dtype,
            has_gradient=tensor.requires_grad,
            unit_axis=units.axis,
            first_unit=units.first,
            unit_steps=units.steps,
        )
        self._values.append(value)
        self._value_of[tensor] = value
        return value

    def _is_inside_model(self) -> bool:
        return any(id(module) in self._names.of_module for module, _ in self._modules)

    def _module_path(self) -> str:
        for module, _ in reversed(self._modules):
            path = self._names.of_module.get(id(module))
            if path is not None:
                return path
        return ""


_ATTRIBUTES = frozenset({"shape", "dtype", "device", "grad_fn", "requires_grad", "dim", "size", "is_meta", "grad"})
_MAX_NORM = 3  # position of the argument by which an embedding's rows are shortened in place


def is_transformed() -> bool:
    """Say whether this is inside vmap or grad of torch.func, where tensors stand for others that nobody may keep."""
    return torch._C._functorch.peek_interpreter_stack() is not None  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue] - there is no public way to ask


def _crowded(operations: Sequence[Operation]) -> frozenset[str]:
    """Return the modules whose own weights are used by several operations under several names."""
    weights: dict[str, set[str]] = {}
    for operation in operations:
        for use in operation.weights[:1]:
            weights.setdefault(use.names[0].rpartition(".")[0], set()).add(use.names[0])
    return frozenset(owner for owner, names in weights.items() if len(names) > 1)


def _entered(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a copy of a torch function that does its work instead of offering itself to the mode again."""

    def is_never_overridden(_: object) -> bool:
        return False

    globals_ = {**function.__globals__, "has_torch_function": is_never_overridden}
    copy = types.FunctionType(
        function.__code__, globals_, function.__name__, function.__defaults__, function.__closure__
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy


ENTERED_ATTENTION = _entered(functional.multi_head_attention_forward)
