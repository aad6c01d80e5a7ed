"""Writes a watched run for TensorBoard."""

import os
from importlib import import_module
from typing import Any, final

from isometry._errors import MissingExtraError
from isometry.probes.running.readings import Evaluation, Fault, Reading
from isometry.report.run.facts import Event, RunFacts
from isometry.report.run.words import fault_sentence, fault_title
from isometry.training.watching.sink import Entry
from isometry.training.watching.sinks.scalars import metrics_of, scalars_of

MAX_QUEUE = 10_000  # events that wait for the writing thread before the training has to; by default ten


@final
class TensorBoard:
    """A sink that writes event files: every number as a scalar, events and faults as text.

    All numbers of a recorded step are written as one event, which costs less than a call for each.

    Args:
        folder: Where to write; `tensorboard --logdir` of it or of a folder around it shows the run.

    Raises:
        MissingExtraError: If TensorBoard is not installed.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        try:
            messages = import_module("tensorboard.compat.proto.summary_pb2")
            from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - it imports the extra
        except ImportError as error:
            raise MissingExtraError(
                "TensorBoard is not installed, and writing event files needs it. pip install 'isometry[tensorboard]'."
            ) from error
        self._writer = SummaryWriter(os.fspath(folder), max_queue=MAX_QUEUE)
        self._summary: Any = messages.Summary

    def start(self, facts: RunFacts) -> None:
        """Write what runs."""
        self._writer.add_text("run", f"{facts.name}: {facts.model}, {facts.optimizer}", facts.steps)

    def write(self, entry: Entry) -> None:
        """Write one entry."""
        match entry:
            case Reading():
                first = entry.step - len(entry.losses) + 1
                for number, loss in enumerate(entry.losses):
                    self._write({"loss": loss}, first + number)
                self._write(scalars_of(entry), entry.step)
            case Evaluation():
                self._write(metrics_of(entry), entry.step)
            case Event():
                words = f"{entry.finding.severity} {entry.finding.code} {entry.finding.name}: {entry.finding.message}"
                self._writer.add_text("events", words, entry.step)
            case Fault():
                self._writer.add_text("events", f"{fault_title(entry)}: {fault_sentence(entry)}", entry.step)

    def close(self, facts: RunFacts) -> None:
        """Write how the run ended, and close the files."""
        self._writer.add_text("run", f"{facts.state} {facts.reason}".rstrip(), facts.steps)
        self._writer.close()

    def _write(self, numbers: dict[str, float], step: int) -> None:
        values = [self._summary.Value(tag=tag, simple_value=value) for tag, value in numbers.items()]
        writer: Any = self._writer.file_writer
        writer.add_summary(self._summary(value=values), step)
