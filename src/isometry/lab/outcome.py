"""What came of a study: claims with what was measured, pictures, and the records they rest on."""

import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from isometry.lab.engine.records import Record
from isometry.lab.experiment import Claim, Experiment, Measured
from isometry.lab.figure import Figure
from isometry.lab.showing.report import OutcomeReport
from isometry.lab.showing.words import sentence_of
from isometry.lab.study import Study
from isometry.report.terminal import plain_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a study.

    Attributes:
        study: The experiment and its settings.
        records: A record a seed.
        claims: What it had to show; none where no seed ended well.
        figures: Its pictures, likewise.
        error: The traceback of judging or drawing, if what was measured could not be; empty without.
    """

    study: Study
    records: tuple[Record, ...]
    claims: tuple[Claim, ...]
    figures: tuple[Figure, ...]
    error: str = ""

    @property
    def experiment(self) -> Experiment[Any]:
        """The experiment."""
        return self.study.experiment

    @property
    def why_not(self) -> tuple[str, ...]:
        """Why the experiment has no answer about the model, in sentences; none where it has one or a seed failed."""
        reasons = {record.error if record.state == "inapplicable" else "" for record in self.records}
        return () if "" in reasons else tuple(sorted(reasons))

    @property
    def is_held(self) -> bool:
        """Whether every seed ended well and every claim held."""
        is_whole = not self.error and all(record.state == "finished" for record in self.records)
        return is_whole and all(claim.is_held for claim in self.claims)

    @property
    def is_refused(self) -> bool:
        """Whether no seed came to an end, or none was judged, for a reason that isometry names."""
        has_failed = bool(self.records) and all(sentence_of(record.error) for record in self.records)
        return has_failed or bool(sentence_of(self.error))

    def __rich__(self) -> OutcomeReport:
        return OutcomeReport(self)

    def __str__(self) -> str:
        return plain_text(OutcomeReport(self), width=80, encoding="utf-8")


def judged(study: Study, records: Sequence[Record]) -> Outcome:
    """Judge and draw what records hold, without running anything.

    Args:
        study: What they are records of.
        records: Of one trial a seed; those that did not end well are left out of claims and pictures.

    Returns:
        Claims and pictures; with the traceback of a judge that cannot make anything of these numbers, since they may be
        of other settings or of another version than it was written for, and spoil no other outcome.
    """
    measured: list[Measured] = [record.result for record in records if record.result is not None]
    claims, figures, error = (), (), ""
    if measured:
        try:
            claims = study.judge(measured)
            figures = study.draw(measured)
        except Exception:  # noqa: BLE001 - it is shown with the outcome
            error = traceback.format_exc()
    return Outcome(study=study, records=tuple(records), claims=claims, figures=figures, error=error)
