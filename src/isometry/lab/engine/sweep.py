"""Runs trials that are not done yet, whatever happens to the workers, and repeats nothing that is finished."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from isometry._errors import LabError
from isometry.lab.engine.perform import perform
from isometry.lab.engine.records import Folder, Record, is_finished, read_record, share_done
from isometry.lab.engine.trial import Trial

MAX_DEATHS = 3  # workers that a trial may lose before it is recorded as failed
POLL_SECONDS = 0.2  # between two looks at how far the trials are

Watcher = Callable[[float], None]  # takes the share of all trials that is done, in [0, 1]
GroupWatcher = Callable[[Path, float], None]  # takes a group's folder and the share of it that is done


def run_trials(
    trials: Sequence[Trial], root: Path, *, executor: Executor, watcher: Watcher | None = None
) -> list[Record]:
    """Run the trials that are not finished yet, and return the records of all.

    A worker that dies loses its own trial alone, which is run again. An interrupted sweep is taken up by calling this
    again: what is finished is not repeated. A trial that failed is tried once in each call, since what it failed for
    may be gone: a library that was missing, or memory.

    Args:
        trials: What to run; equal ones run once.
        root: The folder of all trials.
        executor: Where they run; see `executor_on`.
        watcher: Told how far all are, several times a second.

    Returns:
        A record a trial, in their order.

    Raises:
        LabError: If the folder cannot be made, or a trial cannot be recorded.
    """

    def tell(_: Path, share: float) -> None:
        if watcher is not None:
            watcher(share)

    ((_, records),) = run_groups({root: trials}, executor=executor, watcher=tell)
    return records


def run_groups(
    groups: Mapping[Path, Sequence[Trial]], *, executor: Executor, watcher: GroupWatcher
) -> Iterator[tuple[Path, list[Record]]]:
    """Run the trials of several sweeps side by side, so that no processor waits for the last trial of one of them.

    Args:
        groups: The trials of each folder; all are handed to the executor in this order.
        executor: Where they run.
        watcher: Told how far each group is, several times a second.

    Yields:
        A folder and the records of its trials in their order, as soon as all of them have ended.

    Raises:
        LabError: If a folder cannot be made, or a trial cannot be recorded.
    """
    running = _Running(executor)
    waiting: dict[Path, Sequence[Trial]] = {}
    for root, trials in groups.items():
        _make(root)
        waiting[root] = trials
        for trial in {trial.id: trial for trial in trials}.values():
            if not is_finished(root / trial.id):
                running.begin(root, trial)
                watcher(root, _share(root, trials))
        running.settle(0)
        yield from _ended(waiting, running, watcher)
    while waiting:
        running.settle(POLL_SECONDS)
        yield from _ended(waiting, running, watcher)


class _Running:
    """The trials that an executor is at, each in the folder of its group."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._calls: dict[Future[str], tuple[Path, Trial]] = {}
        self._deaths: Counter[tuple[Path, str]] = Counter()

    @property
    def roots(self) -> set[Path]:
        """Folders of the groups that are not through."""
        return {root for root, _ in self._calls.values()}

    def begin(self, root: Path, trial: Trial) -> None:
        """Hand a trial to the executor; its worker may stand in another folder than this process."""
        self._calls[self._executor.submit(perform, trial, root.resolve())] = (root, trial)

    def settle(self, seconds: float) -> None:
        """Wait for an end, at most so long; begin anew what lost its worker."""
        done, _ = wait(self._calls, seconds, FIRST_COMPLETED)
        for future in done:
            root, trial = self._calls.pop(future)
            if not _has_died(future):
                continue
            self._deaths[root, trial.id] += 1
            if self._deaths[root, trial.id] < MAX_DEATHS:
                self.begin(root, trial)
            else:
                Folder(root, trial).fail(f"its worker died {MAX_DEATHS} times, of want of memory or a kill")


def _ended(
    waiting: dict[Path, Sequence[Trial]], running: _Running, watcher: GroupWatcher
) -> Iterator[tuple[Path, list[Record]]]:
    """Yield the groups that are through, which then wait no longer."""
    busy = running.roots
    for root, trials in tuple(waiting.items()):
        watcher(root, _share(root, trials))
        if root not in busy:
            del waiting[root]
            yield root, [_read(root, trial) for trial in trials]


def _read(root: Path, trial: Trial) -> Record:
    if not (root / trial.id).exists():
        raise LabError(
            f"{trial.name or trial.id!r} has ended without a record in {str(root)!r}: its worker does not see this "
            "folder. Choose one that every machine of the cluster sees."
        )
    return read_record(root / trial.id)


def _share(root: Path, trials: Sequence[Trial]) -> float:
    return sum(share_done(root / trial.id) for trial in trials) / len(trials) if trials else 1.0


def _make(root: Path) -> None:
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LabError(f"{str(root)!r} cannot be made ({error}). Choose a folder that can be written to.") from error


def _has_died(future: Future[str]) -> bool:
    """Say whether a trial's worker died; what the trial itself raises is in its record."""
    try:
        future.result()
    except BrokenProcessPool:
        return True
    except OSError as error:
        raise LabError(
            f"a trial could not be recorded ({error}). Make room, or choose a folder that can be written to, and run "
            "the sweep again."
        ) from error
    except Exception as error:
        if type(error).__module__.startswith("ray."):
            return True
        raise
    return False
