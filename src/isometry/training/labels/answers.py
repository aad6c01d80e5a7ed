"""What a model answers, beside what it should: of classes, of labels that are on or off, or of numbers."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from isometry._errors import BuilderError, ModelError
from isometry.anatomy.task import tensors_in

Kind = Literal["classes", "labels", "numbers"]
CUTS = (0.0, 0.5)  # between off and on: of logits, and of probabilities
ROUNDING = 1e-3  # of shares that should sum to 1
MAX_VALUES = 2  # of labels that are on or off


def answers_in(outputs: Any) -> Tensor:
    """Return the tensor of answers in what a model returns: itself, its logits, or its first floating tensor.

    Args:
        outputs: What the model returned.

    Raises:
        ModelError: If there is none.
    """
    if isinstance(outputs, Tensor):
        return outputs
    logits = outputs.get("logits") if isinstance(outputs, Mapping) else getattr(outputs, "logits", None)
    floating = (tensor for tensor in tensors_in(outputs) if tensor.is_floating_point())
    found = logits if isinstance(logits, Tensor) else next(floating, None)
    if found is None:
        raise ModelError(
            f"the model returned {type(outputs).__name__} without a floating tensor, so its answers cannot be read. "
            "Return its outputs, or an object with `logits`."
        )
    return found


def kind_of(answers: Tensor, targets: Tensor) -> Kind:
    """Return what kind of targets a model is given.

    Args:
        answers: The model's outputs.
        targets: What they are held against.

    Raises:
        BuilderError: If their shapes do not fit each other.
    """
    if not targets.is_floating_point() and targets.dtype != torch.bool and _class_axis(answers, targets) is not None:
        return "classes"
    if answers.numel() == targets.numel():
        if _are_shares(answers, targets):
            return "classes"
        values = set(targets.unique().tolist()) if targets.numel() else set()
        return "labels" if len(values) <= MAX_VALUES and values <= {-1, 0, 1} else "numbers"
    raise BuilderError(
        f"outputs of shape {tuple(answers.shape)} do not answer targets of shape {tuple(targets.shape)} one to one. "
        "Give integer targets for outputs with an axis of classes, or targets of the outputs' own shape."
    )


def class_of(answers: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return logits with the classes last, and the given class of each place, below 0 where it is left out."""
    axis = _class_axis(answers, targets)
    if axis is None or targets.is_floating_point():  # shares of classes
        return answers.movedim(1, -1), targets.movedim(1, -1).argmax(-1)
    logits = answers.movedim(axis, -1)
    return logits.reshape(*targets.shape, logits.shape[-1]), targets


def error_of(answers: Tensor, targets: Tensor, kind: Kind) -> float:
    """Return the share of wrong answers, or the mean square of what numbers are off by."""
    if kind == "classes":
        logits, given = class_of(answers, targets)
        wrong = logits.argmax(-1) != given
        return float(wrong[given >= 0].double().mean())
    if kind == "labels":
        is_on = targets.reshape(answers.shape) > 0
        return min(float(((answers > cut) != is_on).double().mean()) for cut in CUTS)
    return float((answers.double() - targets.reshape(answers.shape).double()).square().mean())


def error_of_constant(answers: Tensor, targets: Tensor, kind: Kind) -> float:
    """Return the least such error of answers that are the same for every example."""
    if kind == "classes":
        given = class_of(answers, targets)[1]
        counts = given[given >= 0].flatten().bincount().double()
        return 1 - float(counts.max() / counts.sum())
    wide = (targets > 0).double() if kind == "labels" else targets.double()
    if kind == "labels":
        share = wide.reshape(len(wide), -1).mean(0)
        return float(torch.minimum(share, 1 - share).mean())
    return float((wide - wide.mean(0)).square().mean())


def _class_axis(answers: Tensor, targets: Tensor) -> int | None:
    """Return the axis of classes; None if there is none."""
    if answers.ndim < MAX_VALUES or targets.is_floating_point():
        return None
    for axis in (1, answers.ndim - 1):  # torch's losses have the classes second, language models last
        rest = [*answers.shape[:axis], *answers.shape[axis + 1 :]]
        if answers.shape[axis] > 1 and rest == list(targets.shape):
            return axis
    is_flat = answers.ndim == MAX_VALUES and len(answers) == targets.numel() and answers.shape[1] > 1
    return 1 if is_flat else None


def _are_shares(answers: Tensor, targets: Tensor) -> bool:
    is_table = targets.is_floating_point() and targets.ndim > 1 and answers.shape == targets.shape
    if not is_table or targets.shape[1] < MAX_VALUES or bool((targets < 0).any()):
        return False
    return bool(((targets.sum(1) - 1).abs() < ROUNDING).all())
