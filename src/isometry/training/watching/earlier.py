"""What a folder holds of an earlier run, before a new one writes into it."""

import os
import socket
import warnings
from pathlib import Path

from isometry._errors import RunError
from isometry.training.watching.account import Start
from isometry.training.watching.checkpoint import STATE, WEIGHTS, checkpoint_step
from isometry.training.watching.lines import from_text
from isometry.training.watching.liveness import is_alive
from isometry.training.watching.records import records_file

ASIDE = ".old"  # comes into the names of a checkpoint that a new run would write over


def make_room(folder: Path, start: Start) -> None:
    """Refuse a folder that a living process records into, and lay an earlier run's checkpoint aside.

    A script that is started a second time must not lose what the first one came to.

    Args:
        folder: Of the run that is to begin.
        start: How it begins; one that resumes takes the checkpoint over.

    Raises:
        RunError: If another process of this machine still records there.
    """
    writer = _writer(folder / records_file(start.rank))
    if writer is not None and writer != os.getpid() and is_alive(writer):
        raise RunError(
            f"process {writer} still records into {str(folder)!r}. Give this run a folder of its own, or end the other."
        )
    step = checkpoint_step(folder) if start.rank == 0 and start.step == 0 else None
    if step:
        for name in (WEIGHTS, STATE):
            path = folder / name
            path.replace(path.with_name(f"{path.stem}{ASIDE}{path.suffix}"))
        warnings.warn(
            f"{str(folder)!r} held the checkpoint of an earlier run at step {step}, called checkpoint{ASIDE}.* now. "
            "To go on from a checkpoint, load_checkpoint(folder, ...) and watch(..., first_step=...).",
            stacklevel=5,
        )


def _writer(path: Path) -> int | None:
    """Return the process that began the last run in a file of records on this machine and has not ended it."""
    if not path.is_file():
        return None
    writer: int | None = None
    with path.open("rb") as lines:
        for text in lines:
            head = text[:32]
            if b'"start"' not in head and b'"end"' not in head:
                continue  # one of many readings
            line = from_text(text.decode("utf-8", errors="replace")) or {}
            is_here = line.get("kind") == "start" and line.get("host") == socket.gethostname()
            writer = line.get("pid") if is_here else None
    return writer
