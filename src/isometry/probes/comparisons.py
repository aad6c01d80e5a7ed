"""What a loss compares: outputs beside targets, in torch's own losses and in differences that are written by hand."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor

from isometry.anatomy.operations import TRANSPARENT
from isometry.anatomy.preserve import has_numbers
from isometry.anatomy.recorder import Call
from isometry.anatomy.tape import Operation, Tape
from isometry.probes.evidence import Evidence, probe
from isometry.probes.losses import made_of_parameters

Family = Literal["classes", "log-classes", "binary", "distance", "rate", "divergence", "margin", "log-softmax"]

FAMILIES: dict[str, Family] = {
    "cross_entropy": "classes",
    "nll_loss": "log-classes",
    "binary_cross_entropy": "binary",
    "binary_cross_entropy_with_logits": "binary",
    "multilabel_soft_margin_loss": "binary",
    "mse_loss": "distance",
    "l1_loss": "distance",
    "smooth_l1_loss": "distance",
    "huber_loss": "distance",
    "gaussian_nll_loss": "distance",
    "poisson_nll_loss": "rate",
    "kl_div": "divergence",
    "soft_margin_loss": "margin",
    "hinge_embedding_loss": "margin",
    "margin_ranking_loss": "margin",
    "cosine_embedding_loss": "margin",
    "log_softmax": "log-softmax",
}
THIRD = frozenset({"margin_ranking_loss", "cosine_embedding_loss"})  # whose targets stand behind two inputs
MAX_ROWS = 256  # samples and places whose classes are looked at, counts; a language model has too many for all
MIN_AXES = 2
NORMALISED = 0.05  # logarithm of a sum of probabilities, off by no more than rounding and a constant for safety
BY_HAND = "difference"
MARGIN = "hinge loss"  # max(0, 1 - output * label), written by hand
CUTS = frozenset({"clamp", "clamp_min", "relu", "maximum", "max", "softplus"})
PRODUCTS_WITH_ITSELF = frozenset({"mul", "matmul", "dot"})
SQUARES = frozenset({"square", "pow"}) | PRODUCTS_WITH_ITSELF
MAGNITUDES = frozenset({"abs", "norm", "vector_norm"})
PASSED = TRANSPARENT | {"mul", "div", "neg"}  # between a difference and its square: weights and masks


@dataclass(frozen=True, slots=True)
class Comparison:
    """Outputs beside targets, as one operation compared them.

    Attributes:
        operation: Index of the loss function, or of the subtraction of one written by hand.
        name: The loss function; `squared difference` or `absolute difference` for a subtraction.
        family: What kind of targets it takes.
        outputs: What the network gave; of classes at most some rows, the classes last.
        targets: What it was to give, whole; None where there are none.
        labels: Of the same rows of classes, if the targets are labels.
        prediction: The outputs on the tape; None if they are not found there.
        target: The targets on the tape, likewise.
        class_axis: Axis of the classes in the outputs' own shape.
        shape: The outputs' own shape.
    """

    operation: int
    name: str
    family: Family
    outputs: Tensor
    targets: Tensor | None
    labels: Tensor | None
    prediction: int | None
    target: int | None
    class_axis: int
    shape: tuple[int, ...]

    @property
    def is_by_hand(self) -> bool:
        """Whether it is a subtraction and no loss function of torch."""
        return self.name.endswith(BY_HAND)


@dataclass(frozen=True, slots=True)
class ComparisonTable:
    """All comparisons of a step that reach the loss and whose targets no parameter moves."""

    comparisons: tuple[Comparison, ...]


@dataclass(frozen=True, slots=True)
class _Seen:
    operation: int
    name: str
    family: Family
    outputs: Tensor
    targets: Tensor | None
    class_axis: int
    shape: tuple[int, ...]
    labels: Tensor | None = None


@dataclass(slots=True)
class ComparedTensors:
    """Observes the losses of torch, and the subtractions behind the last layer with weights."""

    seen: list[_Seen] = field(default_factory=list)
    _by_hand: list[_Seen] = field(default_factory=list)

    def __call__(self, operation: Operation, call: Call) -> None:
        """Keep what a loss compares."""
        if operation.weights:
            self._by_hand.clear()  # what came before it is no loss, and would hold memory
        family = FAMILIES.get(operation.name)
        if family is None and operation.name not in {"sub", "mul"}:
            return
        if operation.is_blind or not all(has_numbers(tensor) for tensor in call.inputs):
            return
        outputs, targets = _pair(operation.name, call)
        if outputs is None or not outputs.numel() or not outputs.is_floating_point():
            return
        if family is None:
            self._note_by_hand(operation, outputs, targets)
        elif outputs.requires_grad or family == "margin":
            with torch.no_grad():
                self.seen.append(_noted(operation, family, outputs=outputs.detach(), targets=targets))

    def _note_by_hand(self, operation: Operation, outputs: Tensor, targets: Tensor | None) -> None:
        if targets is None or outputs.requires_grad == targets.requires_grad:
            return
        if targets.requires_grad:
            outputs, targets = targets, outputs
        if targets.is_floating_point() and targets.numel() > 1:
            shape = tuple(outputs.shape)
            name, family = (MARGIN, "margin") if operation.name == "mul" else (BY_HAND, "distance")
            self._by_hand.append(_Seen(operation.index, name, family, outputs.detach(), targets.detach(), -1, shape))

    def all(self) -> Iterator[_Seen]:
        """Yield what was seen, in no special order."""
        yield from self.seen
        yield from self._by_hand


@probe(ComparisonTable, ComparedTensors)
def find_comparisons(evidence: Evidence) -> ComparisonTable:
    """Return what the losses of a step compare."""
    tape, flow = evidence.step.tape, set(evidence.anatomy.flow.nodes)
    moved = made_of_parameters(tape)
    found: list[Comparison] = []
    for seen in evidence.observer(ComparedTensors).all():
        operation = tape.operations[seen.operation]
        if seen.operation not in flow:
            continue
        prediction, target = _on_tape(tape, operation, seen)
        name = seen.name
        if name == BY_HAND:
            name = _error_made(evidence, operation.outputs[0])
        elif name == MARGIN and not _is_hinge(evidence, operation.outputs[0]):
            name = ""
        if name and (target is None or target not in moved):
            found.append(_comparison(replace(seen, name=name), prediction, target))
    return ComparisonTable(tuple(sorted(found, key=lambda each: each.operation)))


def _comparison(seen: _Seen, prediction: int | None, target: int | None) -> Comparison:
    return Comparison(
        operation=seen.operation,
        name=seen.name,
        family=seen.family,
        outputs=seen.outputs,
        targets=seen.targets,
        labels=seen.labels,
        prediction=prediction,
        target=target,
        class_axis=seen.class_axis,
        shape=seen.shape,
    )


def _pair(name: str, call: Call) -> tuple[Tensor | None, Tensor | None]:
    """Return the outputs and the targets of a loss; regressions are called with both in either order."""

    def argument(position: int, *keys: str) -> Any:
        if position < len(call.args):
            return call.args[position]
        return next((call.kwargs[key] for key in keys if key in call.kwargs), None)

    outputs = argument(0, "input", "input1")
    targets = argument(2 if name in THIRD else 1, "target", "other")
    outputs, targets = (each if isinstance(each, Tensor) else None for each in (outputs, targets))
    if FAMILIES.get(name) == "distance" and outputs is not None and targets is not None:
        is_swapped = targets.requires_grad and not outputs.requires_grad
        return (targets, outputs) if is_swapped else (outputs, targets)
    return outputs, targets


def _noted(operation: Operation, family: Family, *, outputs: Tensor, targets: Tensor | None) -> _Seen:
    shape, axis = tuple(outputs.shape), -1
    targets = None if targets is None else targets.detach()
    labels = None
    if family in {"classes", "log-classes", "divergence", "log-softmax"}:
        axis = _axis_of_classes(operation, family, outputs)
        is_index = targets is not None and not targets.is_floating_point() and outputs.ndim == targets.ndim + 1
        places = _some_places(outputs, axis)
        outputs = outputs.movedim(axis, -1).reshape(-1, shape[axis]) if places is None else _rows(outputs, axis, places)
        if is_index and targets is not None and family != "divergence":
            labels = targets.reshape(-1) if places is None else _flat(targets)[places]
    return _Seen(operation.index, operation.name, family, outputs, targets, axis, shape, labels)


def _axis_of_classes(operation: Operation, family: Family, outputs: Tensor) -> int:
    if family == "log-softmax":
        return axis_of_softmax(operation, outputs.ndim)
    if family == "divergence":
        return _axis_of_probabilities(outputs)
    return min(1, outputs.ndim - 1)


def _axis_of_probabilities(outputs: Tensor) -> int:
    """Return the axis along which logarithms of probabilities lie; the last if they lie along none."""
    for axis in reversed(range(outputs.ndim)):
        if float(outputs.float().logsumexp(axis).median().abs()) < NORMALISED:
            return axis
    return outputs.ndim - 1


def axis_of_softmax(operation: Operation, num_axes: int) -> int:
    """Return the axis that a softmax normalises over; without one torch takes axis 0 of one or three, else axis 1."""
    given = operation.settings.get("dim", operation.settings.get("1"))
    axis = given if isinstance(given, int) and not isinstance(given, bool) else int(num_axes not in {0, 1, 3})
    return axis % max(num_axes, 1)


def _some_places(outputs: Tensor, axis: int) -> Tensor | None:
    """Return which rows of classes to look at, evenly spread; None for all."""
    count = outputs.numel() // max(outputs.shape[axis], 1)
    return torch.linspace(0, count - 1, MAX_ROWS).long() if count > MAX_ROWS else None


def _rows(outputs: Tensor, axis: int, places: Tensor) -> Tensor:
    """Return rows of classes without a copy of all of them."""
    moved = outputs.movedim(axis, -1)
    where: list[Tensor] = []
    rest = places.to(outputs.device)
    for dim in reversed(moved.shape[:-1]):
        where.insert(0, rest % dim)
        rest = rest // dim
    return moved[tuple(where)]


def _flat(targets: Tensor) -> Tensor:
    return targets.reshape(-1)


def _on_tape(tape: Tape, operation: Operation, seen: _Seen) -> tuple[int | None, int | None]:
    """Return the values of the outputs and the targets of a comparison."""
    values = [tape.values[index] for index in operation.inputs]
    prediction = next((each.index for each in values if each.has_gradient and each.shape == seen.shape), None)
    if seen.targets is None:
        return prediction, None
    shape = tuple(seen.targets.shape)
    matching = (each.index for each in values if each.index != prediction and each.shape == shape)
    return prediction, next(matching, None)


def _error_made(evidence: Evidence, value: int) -> str:
    """Say which error a difference becomes on its way to the loss; empty if it becomes none."""
    operations, readers = evidence.step.tape.operations, evidence.anatomy.readers
    waiting, seen = [value], {value}
    while waiting:
        for reader in (operations[index] for index in readers.get(waiting.pop(), ())):
            if reader.name in MAGNITUDES:
                return f"absolute {BY_HAND}"
            if reader.name in SQUARES and (reader.name not in PRODUCTS_WITH_ITSELF or _is_own_square(reader)):
                return f"squared {BY_HAND}"
            if reader.name in PASSED and reader.outputs[0] not in seen:
                seen.add(reader.outputs[0])
                waiting.append(reader.outputs[0])
    return ""


def _is_hinge(evidence: Evidence, value: int) -> bool:
    """Say whether a product is taken from a number and cut off at zero next."""
    operations, readers = evidence.step.tape.operations, evidence.anatomy.readers
    first = [operations[index] for index in readers.get(value, ())]
    if len(first) != 1 or first[0].name != "sub" or len(first[0].inputs) != 1:
        return False
    return any(operations[index].name in CUTS for index in readers.get(first[0].outputs[0], ()))


def _is_own_square(operation: Operation) -> bool:
    return len(operation.inputs) == MIN_AXES and len(set(operation.inputs)) == 1
