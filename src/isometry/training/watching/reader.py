"""Reads a run back from its folder: while it is written, after it has ended, and after it was killed."""

import os
import socket
import time
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from isometry._errors import RunError
from isometry.report.run.facts import RunFacts, State
from isometry.training.watching.account import Account, Start
from isometry.training.watching.lines import Layout, entry_of, from_text
from isometry.training.watching.records import SCHEMA, records_file

SILENCE_SECONDS = 600.0  # without a line from another machine a run is taken for lost


def read_run(folder: str | os.PathLike[str], *, rank: int = 0) -> RunFacts:
    """Return a run as its records tell it, also while it is written and after its process was killed.

    A torn last line is dropped. Where a training was resumed, what was recorded after the step that it went on from
    counts no more.

    Args:
        folder: As it was given to `watch(..., to=[folder])`.
        rank: Whose records, where several processes trained together.

    Raises:
        RunError: If the folder holds no run.
    """
    path = Path(folder) / records_file(rank)
    lines = _lines(path)
    account = _account_of(lines, path)
    if account is None:
        raise RunError(_refusal(Path(folder), path))
    return account.facts()


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    if not path.is_file():
        return
    with path.open(encoding="utf-8", errors="replace") as written:
        for text in written:
            line = from_text(text)
            if line is not None:
                yield line


def _account_of(lines: Iterator[dict[str, Any]], path: Path) -> Account | None:
    account: Account | None = None
    layout, process = Layout(), (0, "")
    for line in lines:
        match line["kind"]:
            case "start":
                account = _resumed(account, _start_of(line, path))
                process = (line["pid"], line["host"])
            case _ if account is None:
                return None
            case "layout":
                layout = Layout.from_line(line)
            case "snapshot":
                account.add_snapshot(line["step"])
            case "end":
                account.state, account.reason = line["state"], line["reason"]
                account.steps, account.seconds = line["step"], line["seconds"]
            case "reading" | "evaluation" | "event" | "fault":
                account.add(entry_of(line, layout))
            case _:  # of a later version
                pass
    if account is not None and account.state == "running":
        account.state = _state_without_end(process, path)
    return account


def _start_of(line: dict[str, Any], path: Path) -> Start:
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
        return "running" if _is_alive(pid) else "lost"
    return "running" if time.time() - path.stat().st_mtime < SILENCE_SECONDS else "lost"


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _refusal(folder: Path, path: Path) -> str:
    needed = "A run is a folder that was given to isometry.watch(..., to=[folder])."
    if not folder.exists():
        return f"the folder {str(folder)!r} does not exist. {needed}"
    if not folder.is_dir():
        return f"{str(folder)!r} is a file, but a folder is needed. {needed}"
    inside = sorted(each.parent.name for each in folder.glob(f"*/{path.name}"))
    if inside:
        return f"{str(folder)!r} is no run, but holds {len(inside)}: {', '.join(inside)}. Name one of them."
    return f"{str(folder)!r} holds no {path.name!r}. {needed}"
