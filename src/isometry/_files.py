"""Writes whole files: a reader finds the old text or the new one, never a half of it."""

import os
import secrets
from collections.abc import Callable
from pathlib import Path

from isometry._errors import OutputError


def write_text_atomically(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` as UTF-8 beside its place and then move it there, so that an interrupt leaves nothing half written.

    A link is followed, and what is neither file nor folder, such as `/dev/stdout`, is written straight through.

    Args:
        path: The file to make or to replace; its folder must exist.
        text: The whole content.

    Raises:
        OutputError: If the folder is missing, the path is a folder, or the system refuses to write.
    """

    def write(draft: Path) -> None:
        draft.write_text(text, encoding="utf-8", newline="\n")

    write_atomically(path, write)


def write_atomically(path: str | os.PathLike[str], write: Callable[[Path], None]) -> None:
    """Let `write` make a file beside its place and then move it there, so that an interrupt leaves nothing half written.

    Args:
        path: The file to make or to replace; its folder must exist.
        write: Writes the whole content to the path it is given.

    Raises:
        OutputError: If the folder is missing, the path is a folder, or the system refuses to write.
    """
    target = Path(path)
    if target.is_dir():
        raise OutputError(f"{str(target)!r} is a folder; a file is to be written. Give a file name inside it.")
    if not target.parent.is_dir():
        raise OutputError(f"the folder {str(target.parent)!r} does not exist. Make it first, or choose another place.")
    try:
        if target.exists() and not target.is_file():
            write(target)
        else:
            _replace(target.resolve(), write)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(
            f"{str(path)!r} cannot be written: {reason}. Choose a place that can be written to."
        ) from error


def _replace(target: Path, write: Callable[[Path], None]) -> None:
    draft = target.with_name(f".isometry-{secrets.token_hex(8)}.tmp")
    try:
        write(draft)
        if target.exists():
            draft.chmod(target.stat().st_mode)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
