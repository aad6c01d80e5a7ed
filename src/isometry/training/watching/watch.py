"""The door to a watched training."""

import os
import platform
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

import torch
from torch import nn

from isometry._errors import RunError
from isometry.training.stopping.rule import StoppingRule
from isometry.training.watching.account import Start
from isometry.training.watching.announce import Announcer
from isometry.training.watching.fit import (
    fitting,
    optimizer_in_words,
    refuse_numbers,
    refuse_settings,
    warn_of_a_lost_schedule,
)
from isometry.training.watching.journal import Journal
from isometry.training.watching.ranks import Ranks
from isometry.training.watching.run import OnNan, Run, RunSettings
from isometry.training.watching.sink import Sink
from isometry.training.watching.snapshot import Stateful, Training
from isometry.training.watching.wrappers import unwrapped

Place = str | os.PathLike[str] | Sink


def watch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    every: int = 10,
    to: Place | Iterable[Place] = (),
    scheduler: Stateful | None = None,
    scaler: Stateful | None = None,
    on_nan: OnNan = "stop",
    snapshot_every: int | None = 100,
    max_faults: int = 10,
    stopping: StoppingRule | None = None,
    baseline: float | None = None,
    name: str | None = None,
    first_step: int = 0,
) -> Run:
    """Watch a training: measure every so many steps, judge what is seen, and act on numbers that are not finite.

    Args:
        model: What is trained, as the loop calls it: compiled, wrapped by DDP, or as it is.
        optimizer: The one optimiser that writes its weights.
        every: Steps of the optimiser between two readings, counts; the first step is always read.
        to: Folders for the records, and sinks such as exporters and views; of several processes the first uses these.
        scheduler: Of the learning rate; a rollback takes it back too.
        scaler: `torch.amp.GradScaler`, if the loop uses one; likewise.
        on_nan: What to do where a gradient or a loss is not finite: `stop` leaves this update out and raises; `skip`
            leaves it out and goes on; `rollback` takes weights, buffers, optimiser, scheduler, scaler and random
            states back to the last snapshot, bit for bit, and goes on with the next batches.
        snapshot_every: Steps between two snapshots, counts; None for none. They are taken in memory for a rollback,
            and written into the folders as a checkpoint. Raise it where weights are large.
        max_faults: Steps in a row that are skipped, and returns to one snapshot, before the training stops after all.
        stopping: A rule that is asked at each `run.evaluate(...)`; the weights of the best evaluation are put back at
            the end, whatever ended the run.
        baseline: Loss of the best constant predictor, such as ln(classes): what a stuck training is known by.
        name: For people; the first folder's if left out, or the model's class.
        first_step: Steps that were made before, where `load_checkpoint` resumed a training; counts.

    Returns:
        The run, to be entered: `with isometry.watch(...) as run:`, with `run.step(loss)` after every backward pass (and
        the optimiser's step, if one follows it).

    Raises:
        RunError: If the parts do not fit together.
        OutputError: If a folder cannot be written.

    Example:
        >>> model = nn.Linear(2, 1)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> with watch(model, optimizer) as run:
        ...     for _ in range(3):
        ...         optimizer.zero_grad()
        ...         loss = model(torch.ones(4, 2)).square().mean()
        ...         loss.backward()
        ...         optimizer.step()
        ...         run.step(loss)
        >>> run.facts().state, run.steps
        ('finished', 3)
    """
    places = _places(to)
    refuse_numbers(first_step=first_step, baseline=baseline, places=places)
    folders = [Path(place) for place in places if isinstance(place, str | os.PathLike)]
    sinks = [place for place in places if not isinstance(place, str | os.PathLike)]
    settings = RunSettings(
        every=every, on_nan=on_nan, snapshot_every=snapshot_every, max_faults=max_faults, stopping=stopping
    )
    training = fitting(Training(model, optimizer, scheduler, scaler))
    refuse_settings(settings, sinks)
    warn_of_a_lost_schedule(training, on_nan)
    ranks = Ranks.here(model)
    start = Start(
        name=name or (folders[0].resolve().name if folders else type(unwrapped(model)).__name__),
        model=type(unwrapped(model)).__name__,
        optimizer=optimizer_in_words(training.optimizer),
        every=every,
        versions=_versions(),
        step=first_step,
        rank=ranks.rank,
        num_ranks=ranks.num_ranks,
    )
    if ranks.rank > 0:
        sinks = []  # the first process shows and exports the run of all; the others write their records
    elif not any(getattr(sink, "is_view", False) for sink in sinks):
        sinks = [*sinks, Announcer()]
    return Run(
        training, Journal(start, folders=folders, sinks=sinks, baseline=baseline), settings=settings, ranks=ranks
    )


def _places(to: Place | Iterable[Place]) -> tuple[Place, ...]:
    if isinstance(to, str | os.PathLike | Sink):
        return (to,)
    try:
        return tuple(to)
    except TypeError as error:
        raise RunError(f"to is {to!r}, and folders or sinks are needed. Give to=['runs/one'].") from error


def _versions() -> dict[str, str]:
    return {"isometry": version("isometry"), "torch": torch.__version__, "python": platform.python_version()}
