"""Reads a run back from its folder: while it is written, after it has ended, and after it was killed."""

import os
import socket
import time
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, final

from isometry._errors import RunError
from isometry.report.run.facts import RunFacts, State
from isometry.training.watching.account import Account, Start
from isometry.training.watching.lines import Layout, entry_of, from_text
from isometry.training.watching.liveness import is_alive
from isometry.training.watching.records import SCHEMA, records_file

START_KEYS = ("schema", "pid", "host", *(each.name for each in fields(Start)))
SILENCE_SECONDS = 600.0  # without a line from another machine a run is taken for lost


def read_run(folder: str | os.PathLike[str], *, rank: int = 0) -> RunFacts:
    """Return a run as its records tell it, also while it is written and after its process was killed.

    A torn last line is dropped, and lines that hold no entry are skipped and counted. Where a training was resumed,
    what was recorded after the step that it went on from counts no more.

    Args:
        folder: As it was given to `watch(..., to=[folder])`.
        rank: Whose records, where several processes trained together.

    Raises:
        RunError: If the folder holds no run.
    """
    return RunReader(folder, rank=rank).read()


@final
class RunReader:
    """Reads the records of one process on from where it stopped, for whoever follows a run.

    Args:
        folder: As for `read_run`.
        rank: Likewise.
    """

    def __init__(self, folder: str | os.PathLike[str], *, rank: int = 0) -> None:
        self._folder = Path(folder)
        self._path = self._folder / records_file(rank)
        self._place = 0  # bytes that were read
        self._num_unread = 0
        self._is_torn = False  # the line before; a training that is resumed begins behind one
        self._account: Account | None = None
        self._layout = Layout()
        self._process = (0, "")

    def read(self) -> RunFacts:
        """Return the run with what was recorded since the last time.

        Raises:
            RunError: If the folder holds no run.
        """
        for line in self._new_lines():
            self._take_or_skip(line)
        if self._account is None:
            raise RunError(_refusal(self._folder, self._path))
        facts = replace(self._account.facts(), num_unread=self._num_unread)
        if facts.state != "running":
            return facts
        return replace(facts, state=_state_without_end(self._process, self._path))

    def _new_lines(self) -> Iterator[str]:
        """Yield the whole lines that are new; one without an end is being written, or was torn by a kill."""
        if not self._path.is_file():
            return
        with self._path.open("rb") as written:
            written.seek(self._place)
            for text in written:
                if not text.endswith(b"\n"):
                    return
                self._place += len(text)
                yield text.decode("utf-8", errors="replace")

    def _take_or_skip(self, text: str) -> None:
        try:
            line = from_text(text)
            if line is None:
                self._num_unread += bool(text.strip())
                self._is_torn = bool(text.strip())
                return
            self._take(line)
        except RunError:
            raise
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):  # valid JSON, but no entry
            self._num_unread += 1
        self._is_torn = False

    def _take(self, line: dict[str, Any]) -> None:
        if line["kind"] == "start":
            self._num_unread = self._num_unread - self._is_torn if line.get("step") else 0
            self._account = _resumed(self._account, _start_of(line, self._path))
            self._process = (line["pid"], line["host"])
        account = self._account
        if account is None:
            raise LookupError("an entry before the start")
        match line["kind"]:
            case "layout":
                self._layout = Layout.from_line(line)
            case "snapshot":
                account.add_snapshot(line["step"])
            case "end":
                account.state, account.reason = line["state"], line["reason"]
                account.steps, account.seconds = line["step"], line["seconds"]
            case "reading" | "evaluation" | "event" | "fault":
                account.add(entry_of(line, self._layout))
            case _:  # the start, or of a later version
                pass


def _start_of(line: dict[str, Any], path: Path) -> Start:
    missing = [name for name in START_KEYS if name not in line]
    if missing:
        raise RunError(
            f"a start in {str(path)!r} lacks {', '.join(missing)}, so nothing after it can be read. "
            "Take the file from a copy of the folder, or watch the training anew."
        )
    if line["schema"] > SCHEMA:
        raise RunError(
            f"{str(path)!r} was written in schema {line['schema']}, and this version reads up to {SCHEMA}. "
            "Update isometry: pip install -U isometry."
        )
    return Start(**{each.name: line[each.name] for each in fields(Start)})


def _resumed(before: Account | None, start: Start) -> Account:
    """Return the account that a start begins: of the training it resumes, what came until then."""
    account = Account(start, steps=start.step)
    if before is None or start.step == 0:
        return account
    facts = before.facts()
    for entry in (*facts.readings, *facts.evaluations, *facts.events, *facts.faults):
        if entry.step <= start.step:
            account.add(entry)
    for step in facts.snapshots:
        if step <= start.step:
            account.add_snapshot(step)
    return account


def _state_without_end(process: tuple[int, str], path: Path) -> State:
    pid, host = process
    if host == socket.gethostname() and os.name == "posix":
        return "running" if is_alive(pid) else "lost"
    return "running" if time.time() - path.stat().st_mtime < SILENCE_SECONDS else "lost"


def _refusal(folder: Path, path: Path) -> str:
    needed = "A run is a folder that was given to isometry.watch(..., to=[folder])."
    if not folder.exists():
        return f"the folder {str(folder)!r} does not exist. {needed}"
    if not folder.is_dir():
        return f"{str(folder)!r} is a file, but a folder is needed. {needed}"
    if path.is_file():
        return f"{str(path)!r} holds no line that says how the run began. {needed}"
    inside = sorted(each.parent.name for each in folder.glob(f"*/{path.name}"))
    if inside:
        return f"{str(folder)!r} is no run, but holds {len(inside)}: {', '.join(inside)}. Name one of them."
    return f"{str(folder)!r} holds no {path.name!r}. {needed}"
