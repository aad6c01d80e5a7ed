"""What came of a study: claims with what was measured, pictures, and the records they rest on."""

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
    """

    study: Study
    records: tuple[Record, ...]
    claims: tuple[Claim, ...]
    figures: tuple[Figure, ...]

    @property
    def experiment(self) -> Experiment[Any]:
        """The experiment."""
        return self.study.experiment

    @property
    def is_held(self) -> bool:
        """Whether every seed ended well and every claim held."""
        return all(record.state == "finished" for record in self.records) and all(each.is_held for each in self.claims)

    @property
    def is_refused(self) -> bool:
        """Whether no seed came to an end for a reason that isometry names, such as a model that does not fit."""
        return bool(self.records) and all(sentence_of(record.error) for record in self.records)

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
        Claims and pictures.
    """
    measured: list[Measured] = [record.result for record in records if record.result is not None]
    claims = study.judge(measured) if measured else ()
    figures = study.draw(measured) if measured else ()
    return Outcome(study=study, records=tuple(records), claims=claims, figures=figures)
