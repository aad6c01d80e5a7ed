"""Outcomes for tests of what shows them."""

from isometry.lab.engine.records import Record
from isometry.lab.outcome import Outcome, judged
from isometry.lab.study import Study
from tests.lab.invented import InventedSettings, experiment

STUDY = Study(experiment=experiment("first"), settings=InventedSettings())


def record(seed: int, value: float | None = 1.0, error: str = "") -> Record:
    return Record(
        id=f"{seed:016x}",
        trial=STUDY.trial(seed),
        state="failed" if error else "finished",
        result=None if error else {"value": value},
        error=error,
        started=0.0,
        seconds=1.5,
    )


def outcome(*records: Record) -> Outcome:
    return judged(STUDY, records)
