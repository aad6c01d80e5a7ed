"""The folder of a trial: configuration, environment, metrics as they come, and a summary put in place at the end."""

import json
import os
import platform
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch

from isometry._errors import LabError
from isometry._files import write_text_atomically
from isometry._phrases import Phrase
from isometry.lab.engine.trial import Trial

State = Literal["finished", "failed", "inapplicable", "unfinished"]

TRIAL, ENVIRONMENT, METRICS, SUMMARY = "trial.json", "environment.json", "metrics.jsonl", "summary.json"
TAIL_BYTES = 4096  # of the metrics, which are read first for the last line: most have a hundred


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A trial as its folder tells it.

    Attributes:
        id: Hash of function and configuration; name of the folder.
        trial: What was to be called.
        state: `finished` with a result, `failed` with a traceback, `inapplicable` with a reason, or `unfinished`:
            running, killed or interrupted.
        result: What the function returned; None without.
        error: The traceback, or a Phrase that says why the trial does not apply; empty without.
        started: Seconds since 1970.
        seconds: That the call took; None if it did not end.
        folder: Where it is recorded.
        environment: What it ran under, as `environment` gives it; empty if that is not recorded.
    """

    id: str
    trial: Trial
    state: State
    result: Mapping[str, Any] | None
    error: str
    started: float
    seconds: float | None
    folder: Path = field(default=Path(), compare=False)
    environment: Mapping[str, Any] = field(default_factory=dict[str, Any], compare=False)


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
        for old in (METRICS, SUMMARY):  # of a run that was killed, or that failed
            (self._path / old).unlink(missing_ok=True)

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

    def set_aside(self, reason: Phrase) -> None:
        """Put the sentence why the trial does not apply in place of a result, with what it was made of."""
        self._end({"state": "inapplicable", "error": reason, "reason": reason.parts})

    def _end(self, what: Mapping[str, Any]) -> None:
        times = {"started": self._started, "seconds": time.time() - self._started}
        self._write(SUMMARY, {**what, **times})

    def _write(self, name: str, content: Mapping[str, Any]) -> None:
        write_text_atomically(self._path / name, json.dumps(content, indent=1, allow_nan=True))


def read_record(folder: Path) -> Record:
    """Return the record of one trial's folder; one whose summary is half, or lacks what it must say, is unfinished.

    Args:
        folder: As a worker wrote it, or was about to when it was killed.

    Raises:
        LabError: If there is no trial in it.
    """
    try:
        whole = json.loads((folder / TRIAL).read_text(encoding="utf-8"))
        trial = Trial(function=whole["function"], config=whole["config"], name=whole["name"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LabError(
            f"{str(folder)!r} holds no trial ({error}). Give a folder that `isometry lab run` wrote."
        ) from error
    summary, around = _summary(folder), _read(folder / ENVIRONMENT)
    return Record(
        id=folder.name,
        trial=trial,
        state=summary.get("state", "unfinished"),
        result=summary.get("result"),
        error=Phrase.of_parts(summary["reason"]) if "reason" in summary else summary.get("error", ""),
        started=summary.get("started", around.get("started", 0.0)),
        seconds=summary.get("seconds"),
        folder=folder,
        environment=around,
    )


def read_records(root: Path) -> Iterator[Record]:
    """Yield the records of all trials in a folder, in the order of their ids, and of those in the folders inside it.

    What cannot be read is left out: a run that meets it writes it anew. Of a trial that lies in several folders one
    record is yielded, the finished one if there is one.
    """
    found: dict[str, Record] = {}
    for depth in ("*", "*/*"):
        for path in sorted(root.glob(f"{depth}/{TRIAL}")):
            try:
                record = read_record(path.parent)
            except LabError:
                continue
            if record.id not in found or record.state == "finished" != found[record.id].state:
                found[record.id] = record
    yield from found.values()


def is_finished(folder: Path) -> bool:
    """Say whether a trial is recorded in a folder with its result."""
    try:
        return read_record(folder).state == "finished"
    except LabError:
        return False


def share_done(folder: Path) -> float:
    """Return how far a trial says it is, in [0, 1], without reading all that it told, which may be much."""
    if (folder / SUMMARY).exists():
        return 1.0
    with suppress(OSError, ValueError, LookupError, TypeError), (folder / METRICS).open("rb") as stream:
        size, reach = stream.seek(0, os.SEEK_END), TAIL_BYTES
        while True:
            stream.seek(max(0, size - reach))
            *lines, _ = stream.read().split(b"\n")  # what follows the last break is half written
            if len(lines) > 1 or reach >= size:  # else the front of the last line may be cut off
                return float(json.loads(lines[-1])["share"])
            reach *= 2
    return 0.0  # nothing was told yet


def read_metrics(folder: Path) -> list[dict[str, float]]:
    """Return what a trial told on its way, a mapping a line, with `share` and `seconds` since its start in each.

    A line that is half written does not count, nor what follows it.
    """
    told: list[dict[str, float]] = []
    with suppress(OSError, ValueError), (folder / METRICS).open(encoding="utf-8") as lines:
        told.extend(json.loads(line) for line in lines)
    return told


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


def _summary(folder: Path) -> dict[str, Any]:
    """Return what a trial's summary says, or nothing if it is not all there."""
    summary = _read(folder / SUMMARY)
    match summary:
        case (
            {"state": "finished", "result": dict()}
            | {"state": "failed", "error": str()}
            | {"state": "inapplicable", "reason": {"template": str(), "values": dict()}}
        ):
            return summary
        case _:
            return {}


def _read(path: Path) -> dict[str, Any]:
    """Return the mapping in a file, or an empty one."""
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return cast("dict[str, Any]", content) if isinstance(content, dict) else {}
