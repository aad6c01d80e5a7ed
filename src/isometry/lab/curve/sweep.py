"""Trains a family of models over width, epochs or samples, and says where one of them stands on the curve."""

import time
from collections.abc import Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

from torch import Tensor

from isometry._errors import LabError
from isometry.anatomy.builders import named
from isometry.anatomy.task import Loss, OptimizerFactory
from isometry.lab.apparatus.own_data import require_batch
from isometry.lab.curve.family import (
    Axis,
    Builder,
    Data,
    Family,
    built,
    require_builder,
    require_enough,
    split_of,
)
from isometry.lab.curve.gathering import curve_of
from isometry.lab.curve.member import Job, Measured, config_of, train_member
from isometry.lab.curve.plan import Plan, axis_of, decays_of, require_whole, values_of
from isometry.lab.curve.result import Curve
from isometry.lab.engine.executors import executor_on
from isometry.lab.engine.sweep import Watcher, run_trials
from isometry.lab.engine.trial import Trial
from isometry.lab.study import code_of

MEASURE = "isometry.lab.curve.member:measure"
DECAYS = (0.1, 1.0, 3.0)  # times the rate: one that hardly does anything, and two that were seen to help


def sweep(
    builder: Builder | str,
    inputs: Any = None,
    targets: Any = None,
    *,
    over: Axis,
    values: Sequence[int],
    current: int | None = None,
    loss: Loss | None = None,
    optimizer_factory: OptimizerFactory | None = None,
    test: tuple[Any, Tensor] | None = None,
    test_share: float = 0.25,
    epochs: int = 100,
    batch_size: int = 50,
    decays: Sequence[float] = DECAYS,
    seeds: int = 3,
    seed: int = 0,
    root: Path | None = None,
    executor: Executor | None = None,
    watcher: Watcher | None = None,
) -> Curve:
    """Train a family of models at every value with every seed, and say where the current value stands.

    A peak is a value that is surely worse than one before it and one after it, by three standard errors over seeds and
    over held-out examples. Where everything is fitted is read from the training error, not from counts of parameters.

    Args:
        builder: Over width: a function from a width to a new model. Over epochs and samples: one without arguments. It
            may return a task or a tuple `(model, inputs, targets[, loss[, optimizer_factory]])` with the same data each
            time. `path/to/file.py:name` or `package.module:name` of such a function does as well.
        inputs: As for `check`; a data set.
        targets: One for each example: classes, labels that are on or off, or numbers.
        over: `width`, `epochs` or `samples`.
        values: Widths, epochs or examples to try, at least three.
        current: The one that is asked about; it is tried as well, and remedies are measured there. Without it none is.
        loss: As for `check`.
        optimizer_factory: From parameters to an optimiser; without it the task's own, else Adam.
        test: Inputs and targets that no member learns; without it a share of the data set is held out.
        test_share: That share, in (0, 1).
        epochs: Passes through the data for each member, counts; over epochs it is the largest value.
        batch_size: Examples of a step, counts.
        decays: To be tried at the current value: each step takes decay times rate of every weight matrix away.
        seeds: Members at each value, that differ in weights and order, and over samples in what they learn, counts
            from 2.
        seed: The first of them, and that of the split.
        root: Folder of records, of a builder that is given as a word: what is finished in it is not run again.
        executor: Where these trials run; without it in processes of this machine.
        watcher: Told which share is done, in [0, 1].

    Returns:
        The curve with its verdict; printable, and with a picture.

    Raises:
        DomainError: If values, counts or shares are none that can be meant.
        BuilderError: If the builder cannot be called, or gives no data or other data at each call.
        LabError: If a trial failed, or records are asked for of a builder that has no name.
        ModelError: If a model fails on its batch or cannot be copied, or its loss carries no gradient.

    Source:
        Nakkiran et al. 2020, arXiv:1912.02292, whose effective model complexity is read from the training error.
    """
    start = time.perf_counter()
    places = values_of(values, current)
    require_whole(seeds=seeds)
    plan = Plan(
        over=axis_of(over),
        values=places,
        current=current,
        epochs=places[-1] if over == "epochs" else epochs,
        batch_size=batch_size,
        test_share=test_share,
        decays=decays_of(decays),
        seeds=tuple(range(seed, seed + seeds)),
        split_seed=seed,
    )
    data = Data(inputs=inputs, targets=targets, test=test, loss=loss, optimizer_factory=optimizer_factory)
    family = Family(require_builder(builder, plan.bundles[0][0].sizes), data)
    jobs = [job for bundle in plan.bundles for job in bundle]
    if root is None:
        found = _run_here(family, jobs, watcher)
    else:
        found = _run_recorded(family, jobs, root=root, executor=executor, watcher=watcher)
    return curve_of(plan, found, seconds=time.perf_counter() - start)


def _run_here(family: Family, jobs: Sequence[Job], watcher: Watcher | None) -> list[Measured]:
    """Train one member after the other in this process, when all are known to be built and to have enough to learn."""
    for job in {(job.sizes, job.num_train): job for job in jobs}.values():
        _require_member(family, job)
    found: list[Measured] = []

    def tell(share: float, /, **_: float) -> None:
        if watcher is not None:
            watcher((len(found) + share) / len(jobs))

    for job in jobs:
        found.append(train_member(family, job, tell))  # noqa: PERF401 - tell counts those that are done
    return found


def _require_member(family: Family, job: Job) -> None:
    """Build a member and throw it away, so that no size fails after hours of training others."""
    task = built(family, job.sizes, seed=job.seed)
    require_batch(task, seed=job.seed, name=f"the model of {job.sizes[0]}" if job.sizes else "the model")
    split = split_of(task, family.data, test_share=job.test_share, seed=job.split_seed)
    require_enough(split, job.num_train or 0)


def _run_recorded(
    family: Family, jobs: Sequence[Job], *, root: Path, executor: Executor | None, watcher: Watcher | None
) -> list[Measured]:
    """Run every member as a trial that is recorded, and repeat none."""
    if not isinstance(family.builder, str) or family.data.is_given or family.data.optimizer_factory is not None:
        raise LabError(
            "records are kept of builders that a worker can find by name and that bring their data. Give "
            "'path/to/file.py:name' of a function that returns (model, inputs, targets, loss[, optimizer_factory]), or "
            "leave root out."
        )
    word = _absolute(family.builder)
    with named(word):
        code = code_of(word)
    trials = [Trial(function=MEASURE, config=config_of(job, word, code), name=_name(job)) for job in jobs]
    if executor is None:
        with executor_on("local") as own:
            records = run_trials(trials, root, executor=own, watcher=watcher)
    else:
        records = run_trials(trials, root, executor=executor, watcher=watcher)
    failed = next((record for record in records if record.result is None), None)
    if failed is not None:
        raise LabError(
            f"{failed.trial.name} failed: {failed.error.strip().splitlines()[-1]}. The whole traceback is in "
            f"{str(root / failed.id)!r}."
        )
    return [record.result for record in records if record.result is not None]


def _absolute(word: str) -> str:
    """Return a word that workers in other folders can follow."""
    place, colon, name = word.rpartition(":")
    return f"{Path(place).resolve()}{colon}{name}" if place.endswith(".py") else word


def _name(job: Job) -> str:
    parts = [f"width {job.sizes[0]}" if job.sizes else "", f"{job.num_train} examples" if job.num_train else ""]
    parts += [f"decay {job.decay:g}" if job.decay else "", f"seed {job.seed}"]
    return ", ".join(part for part in parts if part)
