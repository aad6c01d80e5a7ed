"""Keeps good states of a training, in memory and on disk, and goes back to the last one."""

import warnings

from isometry._errors import describe
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
        self._is_told = False
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
        if self._snapshot is None or self._is_taken(self._snapshot, step):
            self.returns = 0
        self._journal.add_snapshot(self._training, step)
        self._since = step

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

    def _is_taken(self, snapshot: Snapshot, step: int) -> bool:
        """Take the state into memory; where there is no room for it the one before stays."""
        try:
            snapshot.take(step)
        except Exception as error:
            if not snapshot.is_taken:  # at the start: there is nothing to go back to
                raise
            if not self._is_told:
                warnings.warn(
                    f"the state after step {step} could not be kept in memory: {describe(error)}. The training goes "
                    f"on, and a rollback goes to step {snapshot.step} until one can be kept again.",
                    stacklevel=5,
                )
            self._is_told = True
            return False
        return True
