"""Runs an experiment over seeds, and says which of its claims held; what is recorded already is not run again."""

import importlib
import pkgutil
import typing
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from isometry._errors import LabError
from isometry.lab import experiments
from isometry.lab.engine.records import Record, read_records
from isometry.lab.engine.sweep import run_trials
from isometry.lab.engine.trial import Progress, Trial
from isometry.lab.experiment import EXPERIMENTS, Claim, Experiment, Measured
from isometry.lab.figure import Figure

MEASURE = "isometry.lab.runner:measure"
PRESETS = ("quick", "paper")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of an experiment.

    Attributes:
        experiment: The experiment.
        settings: With which it ran.
        records: A record a seed.
        claims: What it had to show; none where no seed ended well.
        figures: Its pictures, likewise.
    """

    experiment: Experiment[Any]
    settings: Any
    records: tuple[Record, ...]
    claims: tuple[Claim, ...]
    figures: tuple[Figure, ...]

    @property
    def is_held(self) -> bool:
        """Whether every seed ended well and every claim held."""
        return all(record.state == "finished" for record in self.records) and all(each.is_held for each in self.claims)


def load_experiments() -> None:
    """Enter all experiments that come with isometry into the table."""
    for module in pkgutil.iter_modules(experiments.__path__):
        importlib.import_module(f"{experiments.__name__}.{module.name}")


def find_experiment(name: str) -> Experiment[Any]:
    """Return the experiment of a name.

    Raises:
        UnknownNameError: If there is none, with the nearest.
    """
    load_experiments()
    return EXPERIMENTS[name]


def settings_of(experiment: Experiment[Any], preset: str, assignments: Sequence[str] = ()) -> Any:
    """Return the settings of a preset with some set otherwise.

    Args:
        experiment: Whose settings.
        preset: `quick` or `paper`.
        assignments: Words such as `width=64`, and `widths=8,16,32` for those that are several.

    Raises:
        LabError: If the preset or a setting is unknown, or a value is not of its kind.
    """
    if preset not in PRESETS:
        raise LabError(f"there is no preset {preset!r}. Choose one of: {', '.join(PRESETS)}.")
    settings = experiment.quick if preset == "quick" else experiment.paper
    kinds = typing.get_type_hints(type(settings))
    changes: dict[str, Any] = {}
    for word in assignments:
        name, equals, value = word.partition("=")
        if not equals or name not in kinds:
            known = ", ".join(each.name for each in fields(settings))
            raise LabError(
                f"--set {word!r} names no setting of {experiment.name}. Write name=value, with one of: {known}."
            )
        changes[name] = _parsed(value, kinds[name], word)
    return replace(settings, **changes)


def run(
    experiment: Experiment[Any],
    settings: Any,
    *,
    seeds: Sequence[int],
    root: Path,
    executor: Executor,
    watcher: Callable[[float], None] | None = None,
) -> Outcome:
    """Measure with every seed that has no record yet, and judge them all.

    Args:
        experiment: What to run.
        settings: Of its kind.
        seeds: One trial each.
        root: The folder of all trials.
        executor: Where they run.
        watcher: Told how far all are.

    Returns:
        Claims and pictures over all seeds.

    Raises:
        LabError: If nothing can be recorded.
    """
    trials = [_trial(experiment, settings, seed) for seed in seeds]
    return judged(experiment, settings, run_trials(trials, root, executor=executor, watcher=watcher))


def judged(experiment: Experiment[Any], settings: Any, records: Sequence[Record]) -> Outcome:
    """Judge and draw what records hold, without running anything.

    Args:
        experiment: What they are records of.
        settings: With which it ran.
        records: Of one trial a seed; those that did not end well are left out of claims and pictures.

    Returns:
        Claims and pictures.
    """
    measured: list[Measured] = [record.result for record in records if record.result is not None]
    claims = experiment.judge(settings, measured) if measured else ()
    figures = experiment.draw(settings, measured) if measured else ()
    return Outcome(experiment=experiment, settings=settings, records=tuple(records), claims=claims, figures=figures)


def recorded_outcomes(root: Path) -> list[Outcome]:
    """Return what a folder of records holds: an outcome for each experiment and each choice of settings.

    Raises:
        LabError: If it holds no trials of experiments.
    """
    groups: dict[str, list[Record]] = {}
    for record in read_records(root):
        if record.trial.function == MEASURE:
            groups.setdefault(str({**record.trial.config, "seed": None}), []).append(record)
    if not groups:
        raise LabError(f"{str(root)!r} holds no records of experiments. Run one first: isometry lab run NAME.")
    outcomes: list[Outcome] = []
    for records in groups.values():
        config = records[0].trial.config
        experiment = find_experiment(config["experiment"])
        ordered = sorted(records, key=lambda record: record.trial.config["seed"])
        outcomes.append(judged(experiment, _settings_from(experiment, config["settings"]), ordered))
    return outcomes


def measure(config: Mapping[str, Any], progress: Progress) -> Measured:
    """Run one seed of an experiment: the function of all its trials.

    Args:
        config: `experiment`, its name; `settings`; `seed`.
        progress: Told the share that is done.

    Returns:
        What it measured.
    """
    experiment = find_experiment(config["experiment"])
    return experiment.measure(_settings_from(experiment, config["settings"]), config["seed"], progress)


def _trial(experiment: Experiment[Any], settings: Any, seed: int) -> Trial:
    config = {"experiment": experiment.name, "settings": _plain(asdict(settings)), "seed": seed}
    return Trial(function=MEASURE, config=config, name=f"{experiment.name}, seed {seed}")


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in settings.items()}


def _settings_from(experiment: Experiment[Any], config: Mapping[str, Any]) -> Any:
    try:
        known = {name: tuple(value) if isinstance(value, list) else value for name, value in config.items()}
        return replace(experiment.quick, **known)
    except TypeError as error:
        raise LabError(
            f"a record of {experiment.name} has settings it does not know ({error}). Run it again."
        ) from error


def _parsed(value: str, kind: Any, word: str) -> Any:
    """Return the value that a word on the command line stands for."""
    single = typing.get_args(kind)[0] if typing.get_origin(kind) is tuple else None
    try:
        if single is not None:
            return tuple(single(part) for part in value.split(","))
        return kind(value)
    except (TypeError, ValueError) as error:
        wanted = f"several of {single.__name__}, with commas" if single is not None else getattr(kind, "__name__", kind)
        raise LabError(f"--set {word!r}: the value must be {wanted}.") from error
