"""Observer of the loss function: its value beside that of the best constant predictor."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from isometry.anatomy.operations import LOSSES
from isometry.anatomy.preserve import has_numbers
from isometry.anatomy.recorder import Call
from isometry.anatomy.tape import Operation, Tape

SHAPED_AS_ANOTHER = frozenset({"expand_as", "view_as", "reshape_as", "type_as"})  # read no number of their second input
MIN_AXES = 2  # examples and classes
MIN_CHOICES = 2  # classes, or targets: with one alone there is nothing to predict


@dataclass(frozen=True, slots=True)
class LossReading:
    """One call of a loss function.

    Attributes:
        operation: Index of the operation.
        name: The loss function.
        value: Its mean over the examples, loss units.
        constant: The same loss for a predictor that ignores its input: all classes alike, or the targets' mean.
        num_classes: Classes of a classification; None for a regression.
        target_mean: Mean of the targets of a regression, target units.
        prior: Share of each class among the targets, for a classification.
        target_means: Mean of each column of the targets of a regression, if they are a table; target units.
        num_targets: Labels, or rows of targets, that the loss is a mean over; counts.
    """

    operation: int
    name: str
    value: float
    constant: float
    num_classes: int | None = None
    target_mean: float | None = None
    prior: tuple[float, ...] = ()
    target_means: tuple[float, ...] = ()
    num_targets: int = 0


@dataclass(slots=True)
class LossInputs:
    """Observes calls of the losses whose best constant predictor is known in closed form."""

    readings: list[LossReading] = field(default_factory=list)

    def __call__(self, operation: Operation, call: Call) -> None:
        """Compute the constant predictor's loss from the targets."""
        if operation.name not in LOSSES or not all(has_numbers(tensor) for tensor in call.inputs):
            return
        prediction, target = _both(call)
        if prediction is None or target is None or prediction.numel() == 0 or not _is_plain(operation.settings):
            return
        with torch.no_grad():
            reading = _READ[operation.name](operation, prediction.detach(), target.detach())
        if reading is not None:
            self.readings.append(reading)


def made_of_parameters(tape: Tape) -> set[int]:
    """Return the values that depend on a parameter: a target among them moves, as a codebook's or a teacher's does."""
    found: set[int] = set()
    for operation in tape.operations:
        inputs = operation.inputs[:1] if operation.name in SHAPED_AS_ANOTHER else operation.inputs
        if operation.parameters or not found.isdisjoint(inputs):
            found.update(operation.outputs)
    return found


def _both(call: Call) -> tuple[Tensor | None, Tensor | None]:
    def argument(position: int, key: str) -> Any:
        return call.args[position] if position < len(call.args) else call.kwargs.get(key)

    prediction, target = argument(0, "input"), argument(1, "target")
    return (prediction if isinstance(prediction, Tensor) else None), (target if isinstance(target, Tensor) else None)


def _is_plain(settings: Mapping[str, object]) -> bool:
    return not settings.get("label_smoothing")


def _classes(operation: Operation, logits: Tensor, target: Tensor) -> LossReading | None:
    if target.is_floating_point() or logits.ndim < MIN_AXES:
        return None
    count = logits.shape[1]
    inside = (target >= 0) & (target < count) & (target != operation.settings.get("ignore_index", -100))
    labels = target[inside]
    if not labels.numel() or count < MIN_CHOICES:
        return None
    loss = functional.cross_entropy if operation.name == "cross_entropy" else functional.nll_loss
    value = loss(logits.float(), torch.where(inside, target, -100), ignore_index=-100)
    prior = torch.bincount(labels.flatten(), minlength=count).double() / labels.numel()
    # The uniform predictor, not the prior's entropy: a batch of few labels has an entropy far below the data's.
    uniform = math.log(count)
    return LossReading(
        operation.index,
        operation.name,
        float(value),
        uniform,
        count,
        prior=tuple(prior.tolist()),
        num_targets=labels.numel(),
    )


def _binary(operation: Operation, prediction: Tensor, target: Tensor) -> LossReading:
    with_logits = operation.name.endswith("with_logits")
    loss = functional.binary_cross_entropy_with_logits if with_logits else functional.binary_cross_entropy
    value = loss(prediction.float(), target.float())
    prior = tuple(target.double().reshape(-1, target.shape[-1] if target.ndim > 1 else 1).mean(0).tolist())
    return LossReading(
        operation.index,
        operation.name,
        float(value),
        math.log(2),
        num_classes=2,
        prior=prior,
        num_targets=target.numel() // max(len(prior), 1),
    )


def _squares(operation: Operation, prediction: Tensor, target: Tensor) -> LossReading | None:
    if prediction.shape != target.shape or target.numel() < MIN_CHOICES:
        return None
    value = float((prediction.double() - target.double()).square().mean())
    columns = target.double().reshape(target.shape[0], -1)
    variance = float(columns.var(dim=0, correction=0).mean())
    if variance == 0:
        return None
    return LossReading(
        operation.index,
        operation.name,
        value,
        variance,
        target_mean=float(target.double().mean()),
        target_means=tuple(columns.mean(0).tolist()) if target.ndim <= MIN_AXES else (),
        num_targets=len(columns),
    )


_READ = {
    "cross_entropy": _classes,
    "nll_loss": _classes,
    "binary_cross_entropy": _binary,
    "binary_cross_entropy_with_logits": _binary,
    "mse_loss": _squares,
}
