"""The folder of a trial: configuration, environment, metrics as they come, and a summary put in place at the end."""

import json
import os
import platform
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from isometry._errors import LabError
from isometry._files import write_text_atomically
from isometry.lab.engine.trial import Trial

State = Literal["finished", "failed", "unfinished"]

TRIAL, ENVIRONMENT, METRICS, SUMMARY = "trial.json", "environment.json", "metrics.jsonl", "summary.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A trial as its folder tells it.

    Attributes:
        id: Hash of function and configuration; name of the folder.
        trial: What was to be called.
        state: `finished` with a result, `failed` with a traceback, or `unfinished`: running, killed or interrupted.
        result: What the function returned; None without.
        error: The traceback; empty without.
        started: Seconds since 1970.
        seconds: That the call took; None if it did not end.
    """

    id: str
    trial: Trial
    state: State
    result: Mapping[str, Any] | None
    error: str
    started: float
    seconds: float | None


class Folder:
    """Where one trial is recorded by the process that runs it; nobody else writes there."""

    def __init__(self, root: Path, trial: Trial) -> None:
        """Make the folder, and write down what is to be called and on what.

        Args:
            root: The folder of all trials.
            trial: The trial.
        """
        self._path = root / trial.id
        self._started = time.time()
        self._path.mkdir(parents=True, exist_ok=True)
        whole = {"name": trial.name, "function": trial.function, "config": dict(trial.config)}
        self._write(TRIAL, whole)
        self._write(ENVIRONMENT, environment() | {"started": self._started})
        (self._path / METRICS).unlink(missing_ok=True)  # of a run that was killed

    def progress(self, share: float, /, **metrics: float) -> None:
        """Add a line on how far the trial is, with numbers of this moment."""
        line = json.dumps({**jsonable(metrics), "share": share, "seconds": time.time() - self._started})
        with (self._path / METRICS).open("a", encoding="utf-8") as stream:
            stream.write(line + "\n")

    def finish(self, result: Mapping[str, Any]) -> None:
        """Put the result in place.

        Raises:
            LabError: If JSON cannot hold it.
        """
        try:
            self._end({"state": "finished", "result": jsonable(result)})
        except (TypeError, ValueError) as error:
            raise LabError(
                f"the result cannot be written as JSON ({error}). Return numbers, strings and lists."
            ) from error

    def fail(self, error: str) -> None:
        """Put a traceback in place of a result."""
        self._end({"state": "failed", "error": error})

    def _end(self, what: Mapping[str, Any]) -> None:
        times = {"started": self._started, "seconds": time.time() - self._started}
        self._write(SUMMARY, {**what, **times})

    def _write(self, name: str, content: Mapping[str, Any]) -> None:
        write_text_atomically(self._path / name, json.dumps(content, indent=1, allow_nan=True))


def read_record(folder: Path) -> Record:
    """Return the record of one trial's folder.

    Args:
        folder: As a worker wrote it, or was about to when it was killed.

    Raises:
        LabError: If there is no trial in it.
    """
    try:
        whole = json.loads((folder / TRIAL).read_text(encoding="utf-8"))
        trial = Trial(function=whole["function"], config=whole["config"], name=whole["name"])
    except (OSError, ValueError, KeyError) as error:
        raise LabError(
            f"{str(folder)!r} holds no trial ({error}). Give a folder that `isometry lab run` wrote."
        ) from error
    summary = _read(folder / SUMMARY)
    started = summary.get("started", _read(folder / ENVIRONMENT).get("started", 0.0))
    return Record(
        id=folder.name,
        trial=trial,
        state=summary.get("state", "unfinished"),
        result=summary.get("result"),
        error=summary.get("error", ""),
        started=started,
        seconds=summary.get("seconds"),
    )


def read_records(root: Path) -> Iterator[Record]:
    """Yield the records of all trials in a folder, in the order of their ids, and of those in the folders inside it."""
    for depth in ("*", "*/*"):
        for path in sorted(root.glob(f"{depth}/{TRIAL}")):
            yield read_record(path.parent)


def share_done(folder: Path) -> float:
    """Return how far a trial says it is, in [0, 1]."""
    if (folder / SUMMARY).exists():
        return 1.0
    lines = read_metrics(folder)
    return float(lines[-1]["share"]) if lines else 0.0


def read_metrics(folder: Path) -> list[dict[str, float]]:
    """Return what a trial told on its way, a mapping a line, with `share` and `seconds` since its start in each.

    A line that is half written does not count.
    """
    try:
        lines = (folder / METRICS).read_text(encoding="utf-8").split("\n")[:-1]
    except OSError:
        return []
    return [json.loads(line) for line in lines]


def environment() -> dict[str, Any]:
    """Return the versions, the host and the processors under which a trial runs."""
    libraries = {"isometry": version("isometry"), "torch": torch.__version__, "numpy": np.__version__}
    return {
        "versions": {"python": platform.python_version(), **libraries},
        "host": socket.gethostname(),
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "process": os.getpid(),
    }


def jsonable(value: Any) -> Any:
    """Return nested mappings, sequences, arrays and tensors as what JSON can hold.

    Raises:
        TypeError: If there is anything else inside.
    """
    if isinstance(value, Mapping):
        return {str(key): jsonable(part) for key, part in value.items()}
    if isinstance(value, torch.Tensor | np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, list | tuple):
        return [jsonable(part) for part in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a {type(value).__name__}")


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        return {}
