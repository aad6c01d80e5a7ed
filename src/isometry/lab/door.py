"""`run_experiment`: one experiment from Python, as `isometry lab run` runs it from a terminal."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from isometry._errors import LabError
from isometry.lab.engine.executors import executor_on
from isometry.lab.names import ALL, ROOT
from isometry.lab.outcome import Outcome
from isometry.lab.runner import chosen_studies, run_studies
from isometry.lab.settings import require_like
from isometry.lab.study import own_model


def run_experiment(
    name: str,
    *,
    seeds: int | Sequence[int] = 3,
    preset: str | None = None,
    settings: Mapping[str, Any] | None = None,
    model: str | None = None,
    on: str = "serial",
    address: str | None = None,
    root: str | Path = ROOT,
) -> Outcome:
    """Run an experiment of the lab, and say which of its claims held.

    Args:
        name: Of the experiment, as `isometry lab list` has it.
        seeds: So many from 0 on, or which.
        preset: `quick` or `paper`; quick without.
        settings: Those that are to be otherwise, by their names.
        model: `path/to/file.py:name` or `package.module:name` of a model to run it on; the lab's own networks without.
        on: Where seeds run: `serial`, in this process; `local`, in processes of this machine, which need the usual
            `if __name__ == "__main__":` in a script; or `ray`.
        address: HOST:PORT of a Ray cluster.
        root: Folder of the records; what is in it is not run again.

    Returns:
        Claims, pictures and records; print it.

    Raises:
        UnknownNameError: If there is no such experiment, with the nearest.
        LabError: If a setting is unknown or cannot be meant, the experiment does not run on models of others, or
            nothing can be recorded.
        MissingExtraError: If what the experiment needs is not installed.

    Example:
        >>> from tempfile import mkdtemp
        >>> outcome = run_experiment("sigmoid-slope", seeds=1, root=mkdtemp())
        >>> outcome.is_held, len(outcome.claims), outcome.figures[0].title
        (True, 7, 'A sigmoid and its slope')
    """
    if name == ALL:
        raise LabError("all experiments at once are for the command line: isometry lab run all. Name one here.")
    (study,) = chosen_studies(name, preset=preset, model=own_model(model)[0] if model is not None else None)
    known = [each.name for each in fields(study.settings)]
    if unknown := [each for each in settings or () if each not in known]:
        raise LabError(f"{name} has no setting {unknown[0]!r}. It has: {', '.join(known)}.")
    usual = study.settings
    study = replace(study, settings=replace(usual, **(settings or {})))
    require_like(study.settings, usual, owner=name)
    places = {Path(root) / study.name: study}
    chosen = range(seeds) if isinstance(seeds, int) else seeds
    with executor_on(on, address=address) as executor:
        ((_, outcome),) = run_studies(places, chosen, executor=executor, watcher=lambda _root, _share: None)
    return outcome
