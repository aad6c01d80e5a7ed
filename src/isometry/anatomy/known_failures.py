"""Failures of a forward pass that a rule has a name for, read from torch's messages and from what torch was given."""

from collections.abc import Callable

import torch
from torch import Tensor

from isometry._errors import Refusal
from isometry._phrases import Phrase
from isometry.anatomy.recorder import Recorder

MIN_NUMBERS = 3  # that a norm takes its mean of, as the rule on norms wants
NO_LABEL = -100  # what cross_entropy and nll_loss leave out by default


def known_failure(error: BaseException, recorder: Recorder) -> Refusal | None:
    """Return what a rule says of a failure; None if none knows it.

    Args:
        error: What the model or its loss raised.
        recorder: What watched it.
    """
    message = str(error)
    for words, read in _KNOWN.items():
        if words in message:
            with torch.no_grad():
                return read(recorder)
    return None


def _lonely_norm(recorder: Recorder) -> Refusal:
    path = recorder.innermost_path
    return Refusal(
        code="DAT104",
        where=(path,) if path else (),
        cause=Phrase("it takes mean and deviation of one number, its own, and torch refuses to"),
        remedy=Phrase("Use larger batches (drop_last=True), fewer groups, or a norm that fits the shape."),
        measured=1.0,
        allowed=float(MIN_NUMBERS),
        unit="numbers",
    )


def _no_probabilities(recorder: Recorder) -> Refusal | None:
    outputs, _ = _compared(recorder)
    if outputs is None:
        return None
    if not bool(outputs.isfinite().all()):
        return _not_finite(recorder)
    outside = (outputs < 0) | (outputs > 1)
    return Refusal(
        code="LOS102",
        where=_last_layer(recorder),
        cause=Phrase(
            "binary_cross_entropy takes probabilities and is given numbers in [{low:.3g}, {high:.3g}]",
            low=float(outputs.min()),
            high=float(outputs.max()),
        ),
        remedy=Phrase("Use binary_cross_entropy_with_logits, or end the model with a sigmoid."),
        measured=float(outside.double().mean()),
        allowed=0.0,
        unit="share of outputs",
    )


def _no_shares(recorder: Recorder) -> Refusal | None:
    _, targets = _compared(recorder)
    wanted = Phrase("numbers in [0, 1]")
    return (
        None
        if targets is None
        else _wrong_targets(recorder, targets, wanted=wanted, outside=(targets < 0) | (targets > 1))
    )


def _no_class(recorder: Recorder) -> Refusal | None:
    outputs, targets = _compared(recorder)
    if outputs is None or targets is None or targets.is_floating_point() or not outputs.ndim:
        return None
    count = outputs.shape[min(1, outputs.ndim - 1)]
    outside = ((targets < 0) | (targets >= count)) & (targets != NO_LABEL)
    wanted = Phrase("labels from 0 to {last}", last=count - 1)
    return _wrong_targets(recorder, targets, wanted=wanted, outside=outside)


def _wrong_targets(recorder: Recorder, targets: Tensor, *, wanted: Phrase, outside: Tensor) -> Refusal | None:
    if targets.is_floating_point() and not bool(targets.isfinite().all()):
        return _not_finite(recorder, where=("targets",))
    return Refusal(
        code="LOS103",
        where=("targets",),
        cause=Phrase(
            "{loss} takes {wanted}; the targets lie in [{low:.3g}, {high:.3g}]",
            loss=recorder.last_call[0] if recorder.last_call else "",
            wanted=wanted,
            low=float(targets.min()),
            high=float(targets.max()),
        ),
        remedy=Phrase("Give it {wanted}, or take another loss.", wanted=wanted),
        measured=float(outside.double().mean()),
        allowed=0.0,
        unit="share of targets",
    )


def _not_finite(recorder: Recorder, where: tuple[str, ...] = ()) -> Refusal | None:
    given = recorder.last_call[1] if recorder.last_call else ()
    numbers = [each for each in given if each.is_floating_point()]
    count = sum(int(each.isfinite().logical_not().sum()) for each in numbers)
    if not count:
        return None
    return Refusal(
        code="NUM101",
        where=where or _last_layer(recorder),
        cause=Phrase("torch refuses to go on with numbers that are NaN or infinite"),
        remedy=Phrase(
            "Look for the first operation that makes them, from there on backwards, and for NaN in the data."
        ),
        measured=float(count),
        allowed=0.0,
        unit="numbers",
    )


def _compared(recorder: Recorder) -> tuple[Tensor | None, Tensor | None]:
    """Return the outputs and the targets that a loss of torch refused."""
    outputs, targets, *_ = (*(recorder.last_call[1] if recorder.last_call else ()), None, None)
    is_empty = any(each is None or not each.numel() for each in (outputs, targets))
    return (None, None) if is_empty else (outputs, targets)


def _last_layer(recorder: Recorder) -> tuple[str, ...]:
    """Return the last layer with weights, by its module or by the weight's name."""
    for operation in reversed(recorder.operations):
        if operation.weights:
            return (operation.module or operation.weights[0].names[0],)
    return ()


_KNOWN: dict[str, Callable[[Recorder], Refusal | None]] = {  # by words of torch's own messages
    "more than 1 value per channel": _lonely_norm,
    "more than 1 spatial element": _lonely_norm,
    "all elements of input should be between 0 and 1": _no_probabilities,
    "all elements of target should be between 0 and 1": _no_shares,
    "is out of bounds.": _no_class,
    "contains either `inf`, `nan` or element < 0": _not_finite,
    "contained non-finite values": _not_finite,
}
