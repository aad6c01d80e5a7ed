"""The table `[tool.isometry]` of a pyproject.toml, before anybody asks what it means."""

import os
import tomllib
from pathlib import Path
from typing import Any, cast

from isometry._errors import SettingsError

FILE = "pyproject.toml"


def nearest_file(start: str | os.PathLike[str] = ".") -> Path | None:
    """Return the nearest pyproject.toml with a table `[tool.isometry]`, from a folder upwards; None without one.

    Args:
        start: The folder to begin in.

    Raises:
        SettingsError: If a file on the way is no TOML.
    """
    here = Path(start).resolve()
    paths = (folder / FILE for folder in (here, *here.parents))
    return next((path for path in paths if path.is_file() and table_of(path) is not None), None)


def table_of(path: Path) -> dict[str, Any] | None:
    """Return the table `[tool.isometry]` of a file; None if it has none.

    Args:
        path: A TOML file.

    Raises:
        SettingsError: If there is no such file, or it is no TOML.
    """
    try:
        with path.open("rb") as file:
            document = tomllib.load(file)
    except OSError as error:
        raise SettingsError(
            f"{str(path)!r} cannot be read: {error.strerror}. Give a file with [tool.isometry]."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{str(path)!r} is no TOML: {error}. Mend it, or leave it out with --isolated.") from error
    tool = document.get("tool")
    table = tool.get("isometry") if isinstance(tool, dict) else None
    return cast("dict[str, Any]", table) if isinstance(table, dict) else None
