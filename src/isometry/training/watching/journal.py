"""Takes a run's entries in: keeps them, writes them, judges them and tells people."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import Tensor

from isometry._errors import OutputError, describe
from isometry.findings.watched.judge import judge
from isometry.probes.running.readings import History, Reading
from isometry.report.finding import SEVERITIES, Finding
from isometry.report.run.facts import Event, RunFacts
from isometry.training.watching.account import Account, Start
from isometry.training.watching.checkpoint import Checkpoint, best_weights_in
from isometry.training.watching.earlier import make_room
from isometry.training.watching.merging import merged_run
from isometry.training.watching.records import Records
from isometry.training.watching.sink import Entry, Sink
from isometry.training.watching.snapshot import Training
from isometry.training.watching.summary import write_summary

JUDGE_STEPS = 10  # between two judgements at least; they cost as much as a small step
GONE_JUDGEMENTS = 10  # without it, after which a finding that comes back is told again


@dataclass(slots=True)
class _Active:
    """What was told of one code, while it holds."""

    places: set[str] = field(default_factory=set[str])
    severity: int = len(SEVERITIES)
    judged: int = 0

    def is_news(self, finding: Finding) -> bool:
        """Say whether a finding is at another place than those before, or worse."""
        is_elsewhere = bool(finding.where) and self.places.isdisjoint(finding.where)
        return is_elsewhere or SEVERITIES.index(finding.severity) < self.severity

    def take(self, finding: Finding, judgement: int) -> None:
        """Take a finding in."""
        self.places.update(finding.where)
        self.severity = min(self.severity, SEVERITIES.index(finding.severity))
        self.judged = judgement


class Journal:
    """The one place where entries of a run arrive.

    Once a run has begun, what fails here is given up with one warning, and the training goes on: a full disk, a sink, a
    rule, a report.

    Attributes:
        account: The run so far, for reports.
        history: The run so far, for rules.
    """

    def __init__(self, start: Start, *, folders: Sequence[Path], sinks: Sequence[Sink], baseline: float | None) -> None:
        self.account = Account(start, steps=start.step)
        self.history = History(baseline=baseline)
        self._folders = tuple(folders)
        self._records: list[Records] = []
        self._checkpoints = [Checkpoint(folder) for folder in folders] if start.rank == 0 else []
        self._sinks = list(sinks)
        self._judges = [judge]
        self._active = dict[str, _Active]()
        self._judgements = 0
        self._judged_step = -JUDGE_STEPS
        self._troubled = set[int]()  # records and checkpoints of which it was said that they cannot write

    def begin(self) -> None:
        """Open the records, and tell the sinks that the run begins."""
        for folder in self._folders:
            make_room(folder, self.account.start)
        self._records = [Records(folder, start=self.account.start) for folder in self._folders]
        for sink in self._sinks:
            sink.start(self.facts())

    def add(self, entry: Entry) -> None:
        """Take an entry in; a reading or a fault is judged."""
        self._tell(entry)
        if isinstance(entry, Event):
            return
        self.history.add(entry)
        is_due = entry.step - self._judged_step >= JUDGE_STEPS
        if is_due or not isinstance(entry, Reading):
            self._ask(entry.step)

    def add_losses(self, reading: Reading) -> None:
        """Take in a reading that holds losses alone, which no rule can look at more closely."""
        self._tell(reading)
        self.history.add_losses(reading)

    def add_scale(self, reading: Reading) -> None:
        """Have a reading judged that holds a loss scale alone; it is no recorded step, so nobody else hears of it."""
        self.history.add(reading)
        self._ask(reading.step)

    def add_snapshot(self, training: Training, step: int) -> None:
        """Write the state of the training beside the records; of several processes the first one does."""
        self.account.add_snapshot(step)
        for checkpoint in tuple(self._checkpoints):
            self._guarded(self._checkpoints, checkpoint, lambda kept=checkpoint: kept.save(training, step=step))
        for record in tuple(self._records):
            self._guarded(self._records, record, lambda record=record: record.write_snapshot(step))

    def best_weights(self) -> dict[str, Tensor]:
        """Return the weights of the best evaluation of the training that this one resumes."""
        found = (best_weights_in(folder) for folder in self._folders) if self.account.start.step else ()
        return next((weights for weights in found if weights), {})

    def facts(self) -> RunFacts:
        """Return the run so far."""
        return self.account.facts()

    def close(self) -> None:
        """Write how the run ended, and the summary, and close everything."""
        for record in tuple(self._records):
            self._guarded(self._records, record, lambda record=record: record.close(self.account))
        facts = self.facts()
        if self.account.start.rank == 0:
            for record in tuple(self._records):
                self._guarded(self._records, record, lambda record=record: _summarise(record.folder, facts))
        for sink in tuple(self._sinks):
            self._guarded(self._sinks, sink, lambda sink=sink: sink.close(facts))

    def _tell(self, entry: Entry) -> None:
        self.account.add(entry)
        for record in tuple(self._records):
            self._guarded(self._records, record, lambda record=record: record.write(entry))
        for sink in tuple(self._sinks):
            self._guarded(self._sinks, sink, lambda sink=sink: sink.write(entry))

    def _ask(self, step: int) -> None:
        for judged in tuple(self._judges):
            self._guarded(self._judges, judged, lambda: self._judge(step))

    def _judge(self, step: int) -> None:
        self._judged_step = step
        self._judgements += 1
        for finding in judge(self.history):
            known = self._active.get(finding.code)
            if known is None or self._judgements - known.judged > GONE_JUDGEMENTS:
                known = self._active[finding.code] = _Active()
            is_news = known.is_news(finding)
            known.take(finding, self._judgements)
            if is_news:
                self.add(Event(step=step, finding=finding, rank=self.account.start.rank))

    def _guarded(self, among: list[Any], one: object, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception as error:  # noqa: BLE001 - whatever a report dies of, the training must not
            name = getattr(one, "__name__", type(one).__name__)
            is_for_now = isinstance(one, Records | Checkpoint) and _may_pass(error)
            if not is_for_now:
                among.remove(one)
                told = (
                    f"is given up: {describe(error)}. The training goes on without it; mend that before the next run."
                )
            elif id(one) in self._troubled:
                return
            else:  # a disk that is full may be emptied while the training runs
                self._troubled.add(id(one))
                told = f"cannot write: {describe(error)}. The training goes on, and every later entry is tried again."
            warnings.warn(f"{name} of the run {self.account.start.name!r} {told}", stacklevel=4)


def _may_pass(error: Exception) -> bool:
    """Say whether writing failed for want of room, and not for what was to be written."""
    cause = error.__cause__ if isinstance(error, OutputError) else error
    return isinstance(cause, OSError | RuntimeError | SafetensorError)


def _summarise(folder: Path, facts: RunFacts) -> None:
    write_summary(folder, merged_run(folder, facts) if facts.num_ranks > 1 else facts)
