"""Rules on the numbers of a run that are none, and on the scale that keeps them in range (NUM)."""

from collections.abc import Iterator

from isometry._phrases import Phrase
from isometry.findings.places import place_of
from isometry.findings.rule import WATCH_RULES, Draft, rule
from isometry.findings.watched.training import latest
from isometry.probes.running.readings import Fault, History
from isometry.report.finding import Remedy
from isometry.report.run.words import ACTIONS, DURING

MIN_LOSS_SCALE = 1.0  # below it the scale makes gradients smaller, the opposite of what it is for


@rule("NUM101", severity="error", explained_by=("TRN101", "BWD102"), table=WATCH_RULES)
def nan_inf(history: History) -> Iterator[Draft]:
    """A step of the run came to NaN or infinity.

    Why:
        One NaN reaches every weight with the step that it is made in.

    Measured:
        The loss and the gradients of every step. The step is made again on the same batch and the same weights, and
        the first operation is named whose result is not finite though what it read was. An error where the training was
        stopped, a warning where it went on. What a gradient scaler skips is no fault.

    Remedy:
        For the batch: clean the data. For an operation: keep its input away from the edge of its domain. To go on
        meanwhile: on_nan="skip" or on_nan="rollback".

    Source:
        PyTorch documentation, torch.autograd.detect_anomaly, which names the backward node only; design of the
        search: producer told from those who pass it on, pytorch/pytorch#182156.
    """
    readings = latest(history)
    since = readings[0].step if readings else 0
    recent = [fault for fault in history.faults if fault.step >= since]
    if not recent:
        return
    last = recent[-1]
    yield Draft(
        where=(last.where,) if last.where else (),
        measured=float(len(recent)),
        allowed=0.0,
        unit="steps that are not finite",
        cause=_cause(last),
        remedy=_remedy(last),
        severity=None if last.action == "stop" else "warning",
        message=Phrase(
            "Step {step} came to NaN or infinity {during}.", step=last.step, during=Phrase(DURING[last.during])
        ),
    )


def _cause(fault: Fault) -> Phrase:
    place = place_of(fault.operation, fault.where) if fault.operation and fault.where else fault.operation
    first = (
        Phrase("{place} is the first to make one", place=place)
        if place
        else Phrase("the first operation is not known: {reason}", reason=fault.reason or Phrase("nobody looked"))
    )
    return Phrase("{first}; {action}", first=first, action=Phrase(ACTIONS[fault.action]))


def _remedy(fault: Fault) -> Remedy:
    if fault.operation == "input":
        return Remedy("data", Phrase("Clean the data: a batch holds NaN or infinity."))
    return Remedy(
        "model",
        Phrase("Keep the input of that operation away from the edge of its domain; isometry check names the edge."),
    )


@rule("NUM103", severity="error", explained_by=("NUM101",), table=WATCH_RULES)
def gradient_underflow(history: History, *, min_loss_scale: float = MIN_LOSS_SCALE) -> Iterator[Draft]:
    """The gradient scaler's scale has collapsed.

    Why:
        A scaler halves its scale whenever a gradient is not finite, and skips the step. If it does so at every scale,
        infinities come from the forward pass, no step is made, and below 1 the scale drives gradients into underflow.

    Measured:
        The scale of the last reading: below 1, and below that of the first; or zero. Where no step is made at all, the
        scale is read every 32 batches.

    Remedy:
        Find the operation that overflows and compute it in float32, or run in bfloat16, which needs no scaler.

    Source:
        Micikevicius et al. 2018, arXiv:1710.03740, section 3.2; PyTorch documentation, torch.amp.GradScaler.
    """
    scales = [(each.step, each.loss_scale) for each in (history.readings[0], history.readings[-1])]
    (start, first), (step, last) = scales
    if first is None or last is None or last >= min(min_loss_scale, first) > 0:
        return
    yield Draft(
        where=(),
        measured=last,
        allowed=min_loss_scale,
        unit="loss scale",
        cause=Phrase("no step was made since step {step}: the gradients are not finite whatever the scale", step=step)
        if start == step
        else Phrase(
            "from step {start} to {step} the scale went from {first:.3g} to {last:.3g}: the gradients are not finite "
            "whatever the scale",
            start=start,
            step=step,
            first=first,
            last=last,
        ),
        remedy=Remedy(
            "precision",
            Phrase("Compute what overflows in float32, or run in bfloat16, which needs no scaler."),
        ),
        message=Phrase("The gradient scaler's scale has fallen to {measured:.2g}.", measured=last),
    )
