"""Runs the command: in this process, where it is fast, or in one of its own, where that is what is tested."""

import subprocess
import sys
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from isometry.cli import app

BUILDERS = Path(__file__).parent / "builders.py"


def invoke(*words: str | Path) -> Any:
    """Run the command in this process; the result has exit_code, stdout and stderr."""
    return CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "80"})


def built(name: str) -> str:
    """Return the MODEL word of a builder."""
    return f"{BUILDERS}:{name}"


def execute(*words: str | Path, before: str = "") -> "subprocess.CompletedProcess[str]":
    """Run the command in a process of its own, after a line of Python if one is given."""
    code = f"import sys\n{before}\nfrom isometry.__main__ import main\nmain()"
    start = [sys.executable, "-c", code] if before else [sys.executable, "-m", "isometry"]
    return subprocess.run([*start, *map(str, words)], capture_output=True, text=True, check=False)
