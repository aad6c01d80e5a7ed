"""Writes whole files: a reader finds the old text or the new one, never a half of it."""

import os
import secrets
import tempfile
from collections.abc import Callable
from pathlib import Path

from isometry._errors import OutputError


def require_place(path: str | os.PathLike[str]) -> None:
    """Refuse a path that no file can be written to, before work is done whose result would be lost.

    Args:
        path: Where a file is to be written later.

    Raises:
        OutputError: If the folder is missing or closed to us, or the path is a folder.
    """
    target = Path(path)
    if target.is_dir():
        raise OutputError(f"{str(path)!r} is a folder, but a file is to be written. Give a file name inside it.")
    folder = target.parent
    if folder.is_dir():
        # A file is replaced by a new one, which its folder must allow; a device is written straight through.
        if not os.access(target if target.exists() and not target.is_file() else folder, os.W_OK):
            raise OutputError(f"{str(path)!r} may not be written by you. Choose a place that can be written to.")
        return
    if folder.exists():
        raise OutputError(f"{str(folder)!r} is a file, but a folder is needed to write {target.name!r} into.")
    raise OutputError(f"the folder {str(folder)!r} does not exist. Make it first, or choose another place.")


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
    """Let `write` make a file beside its place and move it there, so that an interrupt leaves nothing half written.

    Args:
        path: The file to make or to replace; its folder must exist.
        write: Writes the whole content to the path it is given, which is an empty file or none.

    Raises:
        OutputError: If the folder is missing, the path is a folder, or the system refuses to write.
    """
    target = Path(path)
    try:
        require_place(target)
        if target.exists() and not target.is_file():
            _pass_through(target, write)
        else:
            _replace(target.resolve(), write)
    except OutputError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(
            f"{str(path)!r} cannot be written: {reason}. Choose a place that can be written to."
        ) from error


def _replace(target: Path, write: Callable[[Path], None]) -> None:
    draft = target.with_name(f".isometry-{secrets.token_hex(8)}.tmp")
    try:
        draft.touch()
        mode = (target if target.exists() else draft).stat().st_mode
        write(draft)
        draft.chmod(mode)  # some writers make a private file
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


def _pass_through(device: Path, write: Callable[[Path], None]) -> None:
    """Write a draft elsewhere and copy it: a writer that renames would put a file in the device's place."""
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / "draft"
        write(draft)
        device.write_bytes(draft.read_bytes())
