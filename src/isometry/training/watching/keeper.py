"""Keeps good states of a training, in memory and on disk, and goes back to the last one."""

from isometry.training.watching.faults import are_finite
from isometry.training.watching.journal import Journal
from isometry.training.watching.snapshot import Snapshot, Training


class Keeper:
    """Takes a snapshot every so many steps, of states that are finite.

    Args:
        training: What to keep.
        journal: Writes the state beside the records.
        every: Steps between two snapshots, counts; None for none.
        in_memory: Whether to keep a copy to go back to.
    """

    def __init__(self, training: Training, journal: Journal, *, every: int | None, in_memory: bool) -> None:
        self._training = training
        self._journal = journal
        self._every = every
        self._snapshot = Snapshot(training) if in_memory else None
        self._since = 0
        self.returns = 0

    def is_due(self, step: int) -> bool:
        """Say whether the state after a step is to be kept."""
        return self._every is not None and step - self._since >= self._every

    def is_well(self) -> bool:
        """Say whether the weights and buffers are finite, so that their state may be kept."""
        return self._every is not None and are_finite(
            [*self._training.model.parameters(), *self._training.model.buffers()]
        )

    def take(self, step: int) -> None:
        """Keep the state after a step; its loss, gradients and weights were finite."""
        if self._snapshot is not None:
            self._snapshot.take(step)
        self._journal.add_snapshot(self._training, step)
        self._since = step
        self.returns = 0

    def go_back(self, step: int) -> int:
        """Put the last good state back.

        Args:
            step: The one that failed; the next snapshot comes so many steps after it.

        Returns:
            The step whose state it is.
        """
        assert self._snapshot is not None
        self._snapshot.restore()
        self._since = step
        self.returns += 1
        return self._snapshot.step
