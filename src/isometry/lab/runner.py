"""Runs experiments over seeds, and says which of their claims held; what is recorded already is not run again."""

import importlib
import pkgutil
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from isometry._errors import IsometryError, LabError
from isometry.lab import experiments, on_task
from isometry.lab.engine.records import Record, read_records
from isometry.lab.engine.sweep import run_groups
from isometry.lab.engine.trial import Progress
from isometry.lab.experiment import EXPERIMENTS, ON_TASK, Experiment, Measured
from isometry.lab.names import ALL
from isometry.lab.outcome import Outcome, judged
from isometry.lab.study import MEASURE, PRESETS, OwnModel, Study, study_of, study_on, usual_study


def load_experiments() -> None:
    """Enter all experiments that come with isometry into the tables."""
    for package in (experiments, on_task):
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{package.__name__}.{module.name}")


def find_experiment(name: str) -> Experiment[Any]:
    """Return the experiment of a name, of all modules reading no more than its own.

    Raises:
        UnknownNameError: If there is none, with the nearest.
    """
    file = name.replace("-", "_")
    for package in (experiments, on_task):
        if any(module.name == file for module in pkgutil.iter_modules(package.__path__)):
            importlib.import_module(f"{package.__name__}.{file}")
    if name not in EXPERIMENTS:
        load_experiments()
    return EXPERIMENTS[name]


def chosen_studies(
    name: str, *, preset: str | None = None, assignments: Sequence[str] = (), model: OwnModel | None = None
) -> list[Study]:
    """Return the studies that a command line asks for.

    Args:
        name: Of an experiment, or `all`: with a model, all that run on one.
        preset: `quick` or `paper`; quick without.
        assignments: Words such as `width=64`, for each of the studies.
        model: Somebody's model; None for the lab's own networks.

    Raises:
        UnknownNameError: If there is no such experiment, with the nearest.
        LabError: If a preset, a setting or a value is none, or the experiment does not run on models of others.
    """
    if name == ALL or model is not None:
        load_experiments()
    if model is None:
        if name != ALL:
            return [usual_study(find_experiment(name), preset or PRESETS[0], assignments)]
        with _said_of_all(assignments):
            return [usual_study(each, preset or PRESETS[0], assignments) for each in EXPERIMENTS.values()]
    if preset is not None:
        raise LabError(f"--preset {preset} is for the lab's own networks. With --model use --set NAME=VALUE.")
    if name != ALL:
        return [study_on(EXPERIMENTS[name], model, assignments)]
    with _said_of_all(assignments):
        return [study_on(EXPERIMENTS[each], model, assignments) for each in sorted(ON_TASK)]


def run_studies(
    studies: Mapping[Path, Study],
    seeds: Sequence[int],
    *,
    executor: Executor,
    watcher: Callable[[Path, float], None],
) -> Iterator[tuple[Path, Outcome]]:
    """Measure with every seed that has no record yet, all studies side by side, and judge each when it is through.

    Args:
        studies: What to run, by the folder of its records.
        seeds: One trial each.
        executor: Where they run.
        watcher: Told how far the study of a folder is.

    Yields:
        A folder, and claims and pictures of its study over all seeds.

    Raises:
        LabError: If nothing can be recorded.
    """
    groups = {root: [study.trial(seed) for seed in seeds] for root, study in studies.items()}
    for root, records in run_groups(groups, executor=executor, watcher=watcher):
        yield root, judged(studies[root], records)


def recorded_outcomes(root: Path) -> list[Outcome]:
    """Return what a folder of records holds: an outcome for each experiment and each choice of settings.

    Args:
        root: The folder of one experiment, or one that holds such folders.

    Returns:
        Outcomes in the order of the experiments' names, the usual settings first.

    Raises:
        LabError: If it holds no trials of experiments.
    """
    groups: dict[str, list[Record]] = {}
    for record in read_records(root):
        if record.trial.function == MEASURE:
            groups.setdefault(str({**record.trial.config, "seed": None}), []).append(record)
    if not groups:
        raise LabError(f"{str(root)!r} holds no records of experiments. Run one first: isometry lab run NAME.")
    outcomes = [
        judged(_study_of(records[0]), sorted(records, key=lambda record: record.trial.config["seed"]))
        for records in groups.values()
    ]
    return sorted(outcomes, key=_order)


def measure(config: Mapping[str, Any], progress: Progress) -> Measured:
    """Run one seed of a study: the function of all its trials.

    Args:
        config: `experiment`, its name; `settings`; `seed`; and `model`, `code` and `input` of somebody's model.
        progress: Told the share that is done.

    Returns:
        What it measured.
    """
    find_experiment(config["experiment"])
    return study_of(config).measure(config["seed"], progress)


@contextmanager
def _said_of_all(assignments: Sequence[str]) -> Generator[None]:
    """Say what `all` asks of a setting where one experiment refuses it."""
    try:
        yield
    except LabError as error:
        if not assignments:
            raise
        raise LabError(f"with `all` every experiment must take what --set sets, and one does not: {error}") from error


def _study_of(record: Record) -> Study:
    try:
        find_experiment(record.trial.config["experiment"])
        return study_of(record.trial.config)
    except (IsometryError, KeyError) as error:
        raise LabError(
            f"{str(record.folder)!r} cannot be read by this version of isometry ({error}). Delete it or move it away."
        ) from error


def _order(outcome: Outcome) -> tuple[object, ...]:
    """Return by what outcomes are sorted: their names, the usual settings first, the newest version first."""
    study = outcome.study
    return study.name, len(study.label), study.label, study.version != metadata.version("isometry"), study.version
