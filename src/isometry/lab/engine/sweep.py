"""Runs trials that are not done yet, whatever happens to the workers, and repeats nothing."""

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from isometry._errors import LabError
from isometry.lab.engine.perform import perform
from isometry.lab.engine.records import Folder, Record, read_record, share_done
from isometry.lab.engine.trial import Trial

MAX_DEATHS = 3  # workers that a trial may lose before it is recorded as failed
POLL_SECONDS = 0.2  # between two looks at how far the trials are

Watcher = Callable[[float], None]  # takes the share of all trials that is done, in [0, 1]


def run_trials(
    trials: Sequence[Trial], root: Path, *, executor: Executor, watcher: Watcher | None = None
) -> list[Record]:
    """Run the trials whose folders hold no end yet, and return the records of all.

    A worker that dies loses its own trial alone, which is run again. An interrupted sweep is taken up by calling this
    again: what is finished or failed is not repeated. To repeat a failed trial, remove its folder.

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
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LabError(f"{str(root)!r} cannot be made ({error}). Choose a folder that can be written to.") from error
    unique = {trial.id: trial for trial in trials}
    deaths = dict.fromkeys(unique, 0)
    running = {executor.submit(perform, trial, root): trial for trial in unique.values() if not _is_done(root, trial)}
    while running:
        done, _ = wait(running, POLL_SECONDS, FIRST_COMPLETED)
        for future in done:
            trial = running.pop(future)
            if not _has_died(future):
                continue
            deaths[trial.id] += 1
            if deaths[trial.id] < MAX_DEATHS:
                running[executor.submit(perform, trial, root)] = trial
            else:
                Folder(root, trial).fail(f"its worker died {MAX_DEATHS} times, of want of memory or a kill")
        if watcher is not None:
            watcher(sum(share_done(root / each) for each in unique) / len(unique))
    return [read_record(root / trial.id) for trial in trials]


def _has_died(future: Future[str]) -> bool:
    """Say whether a trial's worker died; what the trial itself raises is in its record."""
    try:
        future.result()
    except BrokenProcessPool:
        return True
    except OSError as error:
        raise LabError(f"a trial could not be recorded: {error}. Make room, and run the sweep again.") from error
    except Exception as error:
        if type(error).__module__.startswith("ray."):
            return True
        raise
    return False


def _is_done(root: Path, trial: Trial) -> bool:
    folder = root / trial.id
    return folder.exists() and read_record(folder).state != "unfinished"
