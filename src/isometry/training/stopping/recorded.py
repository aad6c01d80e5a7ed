"""The evaluations of a recorded run, every one of them: those of a picture may be thinned, which misleads a rule."""

import os
from pathlib import Path

from isometry.probes.running.readings import Evaluation
from isometry.training.watching.lines import Layout, entry_of, from_text
from isometry.training.watching.reader import read_run
from isometry.training.watching.records import records_file


def recorded_evaluations(folder: str | os.PathLike[str]) -> tuple[Evaluation, ...]:
    """Return all evaluations of a run, oldest first; of a resumed one those that still count.

    Args:
        folder: As it was given to `watch(..., to=[folder])`.

    Raises:
        RunError: If the folder holds no run.
    """
    read_run(folder)  # says what is wrong with a folder that holds none, or one of a later version
    found: list[Evaluation] = []
    with (Path(folder) / records_file(0)).open(encoding="utf-8", errors="replace") as written:
        for text in written:
            line = from_text(text) if text.endswith("\n") else None
            if line is not None and line["kind"] == "start":
                found = [each for each in found if each.step <= line["step"]] if line["step"] else []
            entry = entry_of(line, Layout()) if line is not None and line["kind"] == "evaluation" else None
            found += [entry] if isinstance(entry, Evaluation) else []
    return tuple(found)
