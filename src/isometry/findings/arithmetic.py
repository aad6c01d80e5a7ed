"""Rules on numbers that are none (NUM)."""

from collections.abc import Iterator

from isometry._phrases import Phrase
from isometry.findings.edges import advice_on
from isometry.findings.places import place_of
from isometry.findings.rule import Draft, rule
from isometry.probes.nonfinite import NonFiniteOrigin
from isometry.report.finding import Remedy


@rule("NUM101", severity="error", explained_by=("NUM102", "INI103", "INI105", "LOS103", "LOS104"))
def nan_inf(origin: NonFiniteOrigin) -> Iterator[Draft]:
    """The loss or a gradient is NaN or infinite.

    Why:
        One NaN reaches every weight with the first step.

    Measured:
        The first operation whose result is not finite though what it read was; for a gradient that breaks in the
        backward pass only (a root at zero) the operation whose derivative breaks. Where an optimiser is given, also
        what breaks within the first steps on a copy. Masks of -inf before a softmax are meant.

    Remedy:
        For the batch: clean the data. For an operation: keep its input away from the edge of its domain.

    Source:
        PyTorch documentation, torch.autograd.detect_anomaly, which names the backward node only; design of the
        search: producer told from those who pass it on, pytorch/pytorch#182156.
    """
    if origin.during is None:
        return
    cause, remedy = _explain(origin)
    yield Draft(
        where=(origin.where, *origin.upstream),
        measured=float(origin.count),
        allowed=0.0,
        unit="numbers that are not finite",
        cause=cause,
        remedy=remedy,
    )


def _explain(origin: NonFiniteOrigin) -> tuple[Phrase, Remedy]:
    if origin.during in {"batch", "parameter"}:
        cause = Phrase(
            "one of {total} numbers in {where!r} is NaN or infinite before the step"
            if origin.count == 1
            else "{count} of {total} numbers in {where!r} are NaN or infinite before the step",
            count=origin.count,
            total=origin.total,
            where=origin.where,
        )
        if origin.during == "batch":
            return cause, Remedy("data", Phrase("Clean the {where} before training.", where=origin.where))
        return cause, Remedy("init", Phrase("Initialise {where!r} again: isometry fix.", where=origin.where))
    if origin.during == "update":
        return _explain_update(origin)
    advice = advice_on(origin)
    cause = Phrase(
        "{place} is the first to make one in the {during} pass: {why}",
        place=place_of(origin.operation, origin.where),
        during=origin.during,
        why=advice.why,
    )
    if origin.steps:
        cause = Phrase("after {steps} steps of the optimiser, {cause}", steps=origin.steps, cause=cause)
    return cause, Remedy("model", advice.remedy)


def _explain_update(origin: NonFiniteOrigin) -> tuple[Phrase, Remedy]:
    cause = Phrase(
        "the step of {optimizer} makes a NaN or infinity of finite gradients in {where!r}, which is {dtype}",
        optimizer=origin.operation,
        where=origin.where,
        dtype=origin.dtype,
    )
    eps = origin.settings.get("eps")
    if origin.dtype == "float16":
        cause = Phrase(
            "{cause}: its eps of {eps:g} is 0 there, and so are the squares of small gradients",
            cause=cause,
            eps=eps or 0.0,
        )
        remedy = (
            "Keep the weights in float32 and let torch.autocast compute in float16; or give the optimiser eps=1e-4."
        )
        return cause, Remedy("precision", Phrase(remedy))
    if eps == 0:
        cause = Phrase("{cause}: its eps is 0, so that a gradient of 0 is divided by 0", cause=cause)
        return cause, Remedy("optimizer", Phrase("Give the optimiser an eps, such as 1e-8."))
    return cause, Remedy("optimizer", Phrase("Keep what the optimiser divides by away from 0, as its eps does."))
