"""The value Finding: one coded problem with where, how much, why and what to do."""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]
RemedyKind = Literal["init", "model", "data", "optimizer", "precision", "none"]

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True, slots=True)
class Remedy:
    """What to do against a finding, and on which part of the training it acts.

    Attributes:
        kind: Which part of the training it acts on; `init` is what `fix` applies itself.
        text: What to do, in a sentence.
        suggestion: The change as a line of code, for people to make themselves; empty if there is none.
    """

    kind: RemedyKind
    text: str
    suggestion: str = ""


@dataclass(frozen=True, slots=True)
class Proof:
    """What a counterfactual experiment showed: with `change` made, the measured number went from before to after.

    Attributes:
        change: What was changed on a copy, such as `the layer '2' drawn anew`.
        before: The number as it was.
        after: The number with the change made.
        confirmed: Whether the finding and its harm went away with the change, so that it is the cause.
        unit: The unit of both numbers, where it is not that of the finding.
        loss_before: The loss after a few steps as it was; not finite if they diverged, None if none were made.
        loss_after: The loss after as many steps with the change made; likewise.
        is_share: Whether the change makes the loss another quantity, so that each is given over its own first one.
        open_after: Steps in which no harm showed of what went away with the change, and is not refuted; else None.
    """

    change: str
    before: float
    after: float
    confirmed: bool
    unit: str = ""
    loss_before: float | None = None
    loss_after: float | None = None
    is_share: bool = False
    open_after: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One problem of a task.

    Attributes:
        code: Three letters for the family and three digits, fixed for ever.
        name: The rule's name in words, such as `vanishing-gradient`.
        severity: `error` makes the verdict broken, `warning` makes it at-risk, `note` leaves it.
        where: Names of modules or parameters, the most telling first.
        measured: The number that was seen, in `unit`; None if the problem is not a matter of size.
        allowed: The bound it was held against, in `unit`; None like `measured`.
        unit: The unit of both numbers, such as `decades`.
        message: The whole finding in one sentence.
        cause: Why it is so, in a clause.
        because: Code of the finding that explains this one, or None.
        proof: The counterfactual experiment, or None if none was made.
        remedy: What to do.
    """

    code: str
    name: str
    severity: Severity
    where: tuple[str, ...]
    measured: float | None
    allowed: float | None
    unit: str
    message: str
    cause: str
    because: str | None
    proof: Proof | None
    remedy: Remedy
