"""Where a watched run goes beside its folder: what a sink has to be."""

from typing import Protocol, runtime_checkable

from isometry.probes.running.readings import Evaluation, Fault, Reading
from isometry.report.run.facts import Event, RunFacts

Entry = Reading | Evaluation | Event | Fault


@runtime_checkable
class Sink(Protocol):
    """Takes a run in as it happens; called in the training's own thread, so it must be quick.

    A sink with an attribute `is_view` that is true shows events and faults to people itself; the run then prints none.
    A sink that raises an error after its start is given up with one warning, and the training goes on.
    """

    def start(self, facts: RunFacts) -> None:
        """Hear that the run begins; nothing is recorded yet."""
        ...

    def write(self, entry: Entry) -> None:
        """Take one entry in."""
        ...

    def close(self, facts: RunFacts) -> None:
        """Hear that the run has ended, whatever ended it; `facts` hold it whole, its readings thinned evenly."""
        ...
