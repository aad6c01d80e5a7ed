"""Takes a run's entries in: keeps them, writes them, judges them and tells people."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from isometry._errors import describe
from isometry.findings.watched.judge import judge
from isometry.probes.running.readings import History, Reading
from isometry.report.finding import SEVERITIES, Finding
from isometry.report.run.facts import Event, RunFacts
from isometry.training.watching.account import Account, Start
from isometry.training.watching.checkpoint import Checkpoint, best_weights_in
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

    A disk that fails, or another sink that raises an OSError, is given up with one warning; the training goes on.

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
        self._active = dict[str, _Active]()
        self._judgements = 0
        self._judged_step = -JUDGE_STEPS

    def begin(self) -> None:
        """Open the records, and tell the sinks that the run begins."""
        self._records = [Records(folder, start=self.account.start) for folder in self._folders]
        facts = self.facts()
        for sink in tuple(self._sinks):
            self._guarded(self._sinks, sink, lambda sink=sink: sink.start(facts))

    def add(self, entry: Entry) -> None:
        """Take an entry in; a reading or a fault is judged."""
        self.account.add(entry)
        for record in tuple(self._records):
            self._guarded(self._records, record, lambda record=record: record.write(entry))
        for sink in tuple(self._sinks):
            self._guarded(self._sinks, sink, lambda sink=sink: sink.write(entry))
        if isinstance(entry, Event):
            return
        self.history.add(entry)
        is_due = entry.step - self._judged_step >= JUDGE_STEPS
        if is_due or not isinstance(entry, Reading):
            self._judge(entry.step)

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
        except OSError as error:
            among.remove(one)
            warnings.warn(
                f"{type(one).__name__} of the run {self.account.start.name!r} is given up: {describe(error)}. "
                "The training goes on without it; free the place it writes to before the next run.",
                stacklevel=4,
            )


def _summarise(folder: Path, facts: RunFacts) -> None:
    write_summary(folder, merged_run(folder, facts) if facts.num_ranks > 1 else facts)
