"""Hands a watched run to a logger of the shape that wandb gave it: `log(numbers, step=...)`."""

from collections.abc import Mapping
from typing import Any, Protocol, final

from isometry._errors import DomainError
from isometry.probes.running.readings import Evaluation, Fault, Reading
from isometry.report.run.facts import Event, RunFacts
from isometry.training.watching.sink import Entry
from isometry.training.watching.sinks.scalars import metrics_of, scalars_of


class Logger(Protocol):
    """What a run of wandb is, and many trackers that take its place."""

    def log(self, data: dict[str, Any], *, step: int) -> object:
        """Take numbers by name at a step, which never goes back."""
        ...


@final
class Wandb:
    """A sink that logs every number; an event or a fault counts 1 under its name.

    Such loggers take no step out of order, so that of the losses since the recorded step before, the last one is
    logged. After a rollback the step stays at the highest that was logged, until training has passed it again.

    Args:
        run: What `wandb.init()` returns, or any object with `log(numbers, step=...)`. It is not finished here.

    Raises:
        DomainError: If it has no such method.
    """

    def __init__(self, run: Logger) -> None:
        if not callable(getattr(run, "log", None)):
            raise DomainError(
                f"{type(run).__name__} has no method log(numbers, step=...). Pass what wandb.init() returns, or an "
                "object of that shape."
            )
        self._run = run
        self._step = 0

    def start(self, facts: RunFacts) -> None:
        """Nothing is measured yet."""

    def write(self, entry: Entry) -> None:
        """Log one entry."""
        match entry:
            case Reading():
                self._log(scalars_of(entry) | ({"loss": entry.losses[-1]} if entry.losses else {}), entry.step)
            case Evaluation():
                self._log(metrics_of(entry), entry.step)
            case Event():
                self._log({f"events/{entry.finding.name}": 1}, entry.step)
            case Fault():
                self._log({f"faults/{entry.action}": 1}, entry.step)

    def close(self, facts: RunFacts) -> None:
        """The run goes on; whoever began it finishes it."""

    def _log(self, numbers: Mapping[str, float], step: int) -> None:
        self._step = max(self._step, step)
        self._run.log(dict(numbers), step=self._step)
