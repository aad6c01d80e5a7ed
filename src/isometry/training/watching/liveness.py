"""Whether a process of this machine still runs."""

import os
from pathlib import Path


def is_alive(pid: int) -> bool:
    """Say whether a process runs; one that has ended and whose parent has not asked how does not.

    Args:
        pid: Its number.

    Returns:
        Whether it runs; also where it belongs to somebody else.
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not _is_unburied(pid)


def _is_unburied(pid: int) -> bool:
    """Say whether a process has ended, and its parent has not asked how; in containers that may last for ever."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:  # no Linux, or just gone
        return False
    return status.rpartition(")")[-1].split()[:1] == ["Z"]
