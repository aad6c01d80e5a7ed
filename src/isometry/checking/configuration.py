"""Settings from `[tool.isometry]` of the nearest pyproject.toml, and from words of the command line."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, cast

from isometry._errors import SettingsError
from isometry.checking.project_file import nearest_file, table_of
from isometry.checking.settings import Settings
from isometry.report.language import LANGUAGES

WORDS = frozenset({"select", "ignore"})
RULES_TABLE = "rules"


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """What a pyproject.toml says.

    Attributes:
        settings: What a check runs.
        lang: Language of reports for people.
        source: The file; None where there is none.
    """

    settings: Settings = field(default_factory=Settings)
    lang: str = "en"
    source: Path | None = None


def find_configuration(start: str | os.PathLike[str] = ".") -> Configuration:
    """Return what the nearest pyproject.toml with a table `[tool.isometry]` says, from a folder upwards.

    Args:
        start: The folder to begin in.

    Returns:
        Its settings, or the defaults if there is none.

    Raises:
        SettingsError: If the file is no TOML, or a key or value in the table cannot be meant.
    """
    path = nearest_file(start)
    return Configuration() if path is None else load_configuration(path)


def load_configuration(path: str | os.PathLike[str]) -> Configuration:
    """Return what `[tool.isometry]` of a file says.

    Args:
        path: A TOML file.

    Returns:
        Its settings; the defaults for what it leaves out.

    Raises:
        SettingsError: If there is no such file or table, or a key or value in it cannot be meant.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = pathlib.Path(folder, "pyproject.toml")
        ...     _ = file.write_text("tool.isometry.steps = 5  # a slow model")
        ...     load_configuration(file).settings.steps
        5
    """
    table = table_of(Path(path))
    if table is None:
        raise SettingsError(f"{os.fspath(path)!r} has no table [tool.isometry]. Add one, or leave --config out.")
    try:
        return _read(table, Path(path))
    except SettingsError as error:
        raise SettingsError(f"{os.fspath(path)}: {error}") from error


def with_words(
    settings: Settings,
    *,
    select: Iterable[str] = (),
    ignore: Iterable[str] = (),
    assignments: Iterable[str] = (),
    **counts: int | None,
) -> Settings:
    """Return settings with what a command line adds.

    Args:
        settings: Those of the configuration.
        select: Words, with commas or apart, that take the place of those selected so far.
        ignore: The like, that come on top of those ignored so far.
        assignments: Thresholds such as `BWD101.max-decay=5`.
        counts: `steps`, `proofs` and `jacobian`; None leaves one as it is.

    Raises:
        SettingsError: If an assignment is none, or a count is negative.
    """
    thresholds = {word: dict(values) for word, values in settings.thresholds.items()}
    for assignment in assignments:
        place, _, value = assignment.partition("=")
        rule, _, name = place.rpartition(".")
        try:
            thresholds.setdefault(rule.strip(), {})[name.strip()] = float(value)
        except ValueError as error:
            raise SettingsError(
                f"{assignment!r} sets no threshold. Give a rule, a threshold and a number: BWD101.max-decay=5."
            ) from error
    given = {name: count for name, count in counts.items() if count is not None}
    return replace(
        settings,
        select=_split(select) or settings.select,
        ignore=settings.ignore + _split(ignore),
        thresholds=thresholds,
        **given,
    )


def _split(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(part.strip() for word in words for part in word.split(",") if part.strip())


def _read(table: Mapping[str, Any], source: Path) -> Configuration:
    known = {item.name for item in fields(Settings)} - {"thresholds"}
    unknown = sorted(table.keys() - known - {"lang", RULES_TABLE})
    if unknown:
        raise SettingsError(
            f"[tool.isometry] has the key {unknown[0]!r}. Known: {', '.join(sorted(known | {'lang', RULES_TABLE}))}."
        )
    given: dict[str, Any] = {name: table[name] for name in known & table.keys()}
    given |= {name: _words(name, given[name]) for name in WORDS & given.keys()}
    thresholds = table.get(RULES_TABLE, {})
    if not isinstance(thresholds, dict) or not all(isinstance(each, dict) for each in thresholds.values()):
        raise SettingsError("[tool.isometry.rules] needs a table a rule: [tool.isometry.rules.BWD101].")
    lang = table.get("lang", "en")
    if lang not in LANGUAGES:
        raise SettingsError(f"lang = {lang!r}, but reports speak {' and '.join(LANGUAGES)}. Give one of them.")
    return Configuration(settings=Settings(**given, thresholds=thresholds), lang=lang, source=source)


def _words(name: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise SettingsError(f'{name} = {value!r}, but a list of codes is needed: {name} = ["BWD101", "FWD"].')
    return tuple(cast("list[str]", value))
