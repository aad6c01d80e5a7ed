"""What a command works on: the task of a MODEL word, the settings of a file, the language of a report."""

from pathlib import Path
from typing import TYPE_CHECKING

from isometry._errors import SettingsError

if TYPE_CHECKING:
    from isometry.anatomy.task import Task
    from isometry.checking.configuration import Configuration


def settings_of(config: Path | None, *, isolated: bool) -> "Configuration":
    """Return what a named file, the nearest pyproject.toml, or none of them sets."""
    from isometry.checking.configuration import Configuration, find_configuration, load_configuration

    if config is not None and isolated:
        raise SettingsError("--config names a file and --isolated reads none. Give one of them.")
    if isolated:
        return Configuration()
    return find_configuration() if config is None else load_configuration(config)


def chosen_language(lang: str | None, configuration: "Configuration | None" = None) -> str:
    """Return the language of a report; one that nobody speaks is told before the work.

    Args:
        lang: The one that was asked for.
        configuration: What else may name it; without, the nearest pyproject.toml. To read one takes seconds, since the
            rules that it may set are read with it.
    """
    from isometry.checking.project_file import nearest_file
    from isometry.report.language import catalogue

    if lang is None and configuration is None and nearest_file() is not None:
        configuration = settings_of(None, isolated=False)
    chosen = lang or ("en" if configuration is None else configuration.lang)
    catalogue(chosen)
    return chosen


def load(word: str, input_words: str | None, *, batch_size: int, seed: int, protect: tuple[str, ...] = ()) -> "Task":
    """Return the task of a MODEL word, everything random in it seeded."""
    from isometry.anatomy.builders import load_task, seed_everything

    seed_everything(seed)
    return load_task(word, input_words=input_words, protect=protect, batch_size=batch_size, seed=seed)
