"""What is known of a run so far, in bounded memory: kept by the run itself, and built up again by whoever reads it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from isometry.probes.running.readings import Evaluation, Fault, Reading
from isometry.report.run.facts import Event, RunFacts, State
from isometry.training.watching.sink import Entry

Kept = TypeVar("Kept")
MAX_KEPT = 1024  # entries of one kind that stay in memory before every second one is dropped


@dataclass(slots=True)
class Thinned(Generic[Kept]):
    """The first, every so many-th and the last entry of a long row, at even distances."""

    _kept: list[Kept] = field(default_factory=list[Kept])
    _stride: int = 1
    _count: int = 0
    _last: Kept | None = None

    def add(self, entry: Kept) -> None:
        """Take an entry in."""
        self._last = entry
        if self._count % self._stride == 0:
            self._kept.append(entry)
        if len(self._kept) > MAX_KEPT:
            self._kept = self._kept[::2]
            self._stride *= 2
        self._count += 1

    @property
    def entries(self) -> tuple[Kept, ...]:
        """What was kept, oldest first; the last entry is always among it."""
        if self._last is None or self._kept[-1] is self._last:
            return tuple(self._kept)
        return (*self._kept, self._last)


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What is known of a run before its first step.

    Attributes:
        name: Of the run, for people.
        model: The class of the model.
        optimizer: The optimiser with its settings, in words.
        every: Steps between two readings, counts.
        versions: Library to version.
        step: Steps that were made before, by the training that this one resumes; counts.
        rank: Of this process among those that train together.
        num_ranks: How many they are.
    """

    name: str
    model: str
    optimizer: str
    every: int
    versions: Mapping[str, str]
    step: int = 0
    rank: int = 0
    num_ranks: int = 1


@dataclass(slots=True)
class Account:
    """A run so far.

    Attributes:
        start: What was known before it.
        state: How it stands.
        reason: Why it ended; empty while it runs.
        steps: The optimiser's steps that were made, counts.
        seconds: Wall time so far.
    """

    start: Start
    state: State = "running"
    reason: str = ""
    steps: int = 0
    seconds: float = 0.0
    _readings: Thinned[Reading] = field(default_factory=Thinned[Reading])
    _evaluations: Thinned[Evaluation] = field(default_factory=Thinned[Evaluation])
    _events: list[Event] = field(default_factory=list[Event])
    _faults: list[Fault] = field(default_factory=list[Fault])
    _snapshots: Thinned[int] = field(default_factory=Thinned[int])

    def add(self, entry: Entry) -> None:
        """Take in what was recorded."""
        self.steps = max(self.steps, entry.step)
        match entry:
            case Reading():
                self._readings.add(entry)
                self.seconds = max(self.seconds, entry.seconds)
            case Evaluation():
                self._evaluations.add(entry)
            case Event():
                self._events = [*self._events, entry][-MAX_KEPT:]
            case Fault():
                self._faults = [*self._faults, entry][-MAX_KEPT:]

    def add_snapshot(self, step: int) -> None:
        """Take in that the state after a step was kept."""
        self._snapshots.add(step)

    def facts(self) -> RunFacts:
        """Return the run so far; its readings are thinned evenly where they were many."""
        start = self.start
        return RunFacts(
            name=start.name,
            model=start.model,
            optimizer=start.optimizer,
            every=start.every,
            versions=dict(start.versions),
            state=self.state,
            reason=self.reason,
            steps=self.steps,
            seconds=self.seconds,
            readings=self._readings.entries,
            evaluations=self._evaluations.entries,
            events=tuple(self._events),
            faults=tuple(self._faults),
            snapshots=self._snapshots.entries,
            num_ranks=start.num_ranks,
        )
