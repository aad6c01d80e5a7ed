"""The folder of a run: one line for each entry, appended and flushed at once, so that a kill leaves what was said."""

import os
import socket
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from isometry._errors import OutputError
from isometry.probes.running.readings import Reading
from isometry.training.watching.account import Account, Start
from isometry.training.watching.lines import Layout, line_of, to_text
from isometry.training.watching.sink import Entry

SCHEMA = 1  # of the lines; raised when a key changes its meaning or goes away


def records_file(rank: int = 0) -> str:
    """Return the name of a process's records in the folder of a run."""
    return "records.jsonl" if rank == 0 else f"records.rank{rank}.jsonl"


class Records:
    """Writes the lines of one process of a run into a folder, which is made if it is missing.

    Lines are appended, also to the records of a run that this one resumes: its `start` says after how many steps.
    """

    def __init__(self, folder: str | os.PathLike[str], *, start: Start) -> None:
        self.folder = Path(folder)
        path = self.folder / records_file(start.rank)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._file: TextIO = path.open("a", encoding="utf-8", newline="\n")
        except OSError as error:
            raise OutputError(
                f"the records of the run cannot be written into {str(folder)!r}: {error.strerror or error}. "
                "Give the path of a folder that can be made or written to."
            ) from error
        self._layout = Layout()
        if _is_torn(path):
            self._file.write("\n")
        process = {"pid": os.getpid(), "host": socket.gethostname()}
        self._write({"kind": "start", "schema": SCHEMA, **asdict(start), **process})

    def write(self, entry: Entry) -> None:
        """Append an entry."""
        if isinstance(entry, Reading) and (layout := Layout.of(entry)) != self._layout:
            self._layout = layout
            self._write(layout.line)
        self._write(line_of(entry))

    def write_snapshot(self, step: int) -> None:
        """Append that the state after a step was kept."""
        self._write({"kind": "snapshot", "step": step})

    def close(self, account: Account) -> None:
        """Append how the run ended, and close the file."""
        try:
            ended = {"state": account.state, "reason": account.reason}
            self._write({"kind": "end", "step": account.steps, "seconds": account.seconds, **ended})
        finally:
            self._file.close()

    def _write(self, line: dict[str, Any]) -> None:
        self._file.write(to_text(line))
        self._file.flush()


def _is_torn(path: Path) -> bool:
    """Say whether a killed process left its last line without an end."""
    with path.open("rb") as written:
        end = written.seek(0, os.SEEK_END)
        written.seek(max(0, end - 1))
        return written.read(1) not in {b"", b"\n"}
