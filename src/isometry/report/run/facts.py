"""What a watched run has to show: its own words, what was recorded, and what was found."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from isometry.probes.running.readings import Evaluation, Fault, Reading
from isometry.report.finding import Finding

State = Literal["running", "finished", "stopped", "failed", "interrupted", "lost"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A finding of a run, and when it was made.

    Attributes:
        step: The optimiser's steps that were made, counts.
        finding: The same value that `check` gives, under the same code.
        rank: The process that made it, where several trained together.
    """

    step: int
    finding: Finding
    rank: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Extreme:
    """The largest value of one quantity that any of several processes recorded.

    Attributes:
        quantity: The field of a layer's reading, or `loss`.
        value: As that field says.
        where: Canonical name of the layer; empty for the loss.
        step: The optimiser's step it was recorded in, counts from 1.
        rank: The process that saw it.
    """

    quantity: str
    value: float
    where: str
    step: int
    rank: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """A run so far, as it is read back from its folder or kept by the run itself.

    Attributes:
        name: Of the run, for people.
        model: The class of the model.
        optimizer: The optimiser with its settings, in words.
        every: Steps between two readings, counts.
        versions: Library to version.
        state: How it stands: `lost` if the records end without an end.
        reason: Why it ended, in words; empty while it runs.
        steps: The optimiser's steps that were made, counts.
        seconds: Wall time so far.
        readings: Recorded steps, oldest first.
        evaluations: Likewise.
        events: Likewise.
        faults: Likewise.
        snapshots: Steps whose state was kept, oldest first.
        num_ranks: Processes that trained together, counts.
        extremes: The worst that any process saw, where several trained together; then losses and shares are means.
        num_unread: Lines of its records that could not be read, counts.
    """

    name: str
    model: str
    optimizer: str
    every: int
    versions: Mapping[str, str]
    state: State
    reason: str
    steps: int
    seconds: float
    readings: tuple[Reading, ...] = ()
    evaluations: tuple[Evaluation, ...] = ()
    events: tuple[Event, ...] = ()
    faults: tuple[Fault, ...] = ()
    snapshots: tuple[int, ...] = ()
    num_ranks: int = 1
    extremes: tuple[Extreme, ...] = ()
    num_unread: int = 0
