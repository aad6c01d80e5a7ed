"""The value Finding: one coded problem with where, how much, why and what to do."""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]
RemedyKind = Literal["init", "model", "data", "optimizer", "precision", "none"]

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True, slots=True)
class Remedy:
    """What to do against a finding, and on which part of the training it acts."""

    kind: RemedyKind
    text: str


@dataclass(frozen=True, slots=True)
class Proof:
    """What a counterfactual experiment showed: with `change` made, the measured number went from before to after."""

    change: str
    before: float
    after: float
    confirmed: bool


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
