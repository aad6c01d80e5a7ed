"""Tells people of events and faults where no live view does: one line each on the error stream."""

from rich.console import Console
from rich.text import Text

from isometry._console import printable
from isometry.probes.running.readings import Fault
from isometry.report.finding import Severity
from isometry.report.language import say
from isometry.report.run.facts import Event, RunFacts
from isometry.report.run.words import fault_sentence, fault_title
from isometry.training.watching.sink import Entry

STYLES: dict[Severity, str] = {"error": "bold red", "warning": "yellow", "note": "cyan"}

OF_FAULTS = "NUM101"  # the finding that says of a fault what the fault has said already


class Announcer:
    """A sink that prints events and faults."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console

    def start(self, facts: RunFacts) -> None:
        """Nothing is to be said yet."""

    def write(self, entry: Entry) -> None:
        """Print an event or a fault."""
        match entry:
            case Event() if entry.finding.code != OF_FAULTS:
                finding = entry.finding
                title = f"{say(finding.severity)} {finding.code} {finding.name}"
                self._print(entry.step, f"{title}: {say(finding.message)}", STYLES[finding.severity])
            case Fault():
                words = f"{fault_title(entry)}: {fault_sentence(entry)}"
                self._print(entry.step, words, STYLES["error" if entry.action == "stop" else "warning"])
            case _:
                pass

    def close(self, facts: RunFacts) -> None:
        """Nothing is left to be said."""

    def _print(self, step: int, words: str, style: str) -> None:
        console = self._console or Console(stderr=True, soft_wrap=True)  # made now: the stream may have been replaced
        console.print(Text(printable(f"{say('step {step}', step=str(step))}: {words}"), style))
