"""Rules on numbers that are none (NUM)."""

from collections.abc import Iterator

from isometry.findings.rule import Draft, rule
from isometry.probes.nonfinite import NonFiniteOrigin
from isometry.report.finding import Remedy


@rule("NUM101", severity="error")
def nan_inf(origin: NonFiniteOrigin) -> Iterator[Draft]:
    """The loss or a gradient is NaN or infinite.

    Why:
        One NaN reaches every weight with the first step.

    Measured:
        The first operation whose result is not finite though what it read was; for a gradient that breaks in the
        backward pass only (a root at zero) the operation it breaks in. Masks of -inf before a softmax are meant.

    Remedy:
        For the batch: clean the data. For an operation: keep its input away from the edge of its domain.

    Source:
        PyTorch documentation, torch.autograd.detect_anomaly, which names the backward node only; design of the
        search: producer told from those who pass it on, pytorch/pytorch#182156.
    """
    if origin.during is None:
        return
    if origin.during in {"batch", "parameter"}:
        remedy = (
            Remedy("data", f"Clean the {origin.where} before training.")
            if origin.during == "batch"
            else Remedy("init", f"Initialise {origin.where!r} again: isometry fix.")
        )
        cause = f"{origin.count} of {origin.total} numbers in {origin.where!r} are NaN or infinite before the step"
    else:
        size = (
            "" if origin.largest_input is None else f"; the largest finite number it read is {origin.largest_input:.3g}"
        )
        cause = f"{origin.operation} in {origin.where!r} is the first to make one in the {origin.during} pass{size}"
        remedy = Remedy(
            "model", f"Keep the input of {origin.operation} inside its domain, for instance by a small constant."
        )
    yield Draft(
        where=(origin.where,),
        measured=float(origin.count),
        allowed=0.0,
        unit="numbers that are not finite",
        cause=cause,
        remedy=remedy,
    )
