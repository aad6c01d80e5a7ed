"""The value Diagnosis: all findings and measurements of one task, with a verdict, and the ways to show them."""

import os
import shutil
import sys
from dataclasses import dataclass

from isometry._files import write_text_atomically
from isometry.report.document import to_json
from isometry.report.facts import Facts
from isometry.report.page import fragment, page
from isometry.report.terminal import TerminalReport, terminal_text

DEFAULT_WIDTH = 80  # cells, where no terminal says how wide it is
MAX_WIDTH = 100  # cells; longer lines are hard to read


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis(Facts):
    """All findings and measurements of a task; its attributes are those of Facts."""

    def to_json(self) -> str:
        """Return the diagnosis as one JSON document of schema 1."""
        return to_json(self)

    def save_html(self, path: str | os.PathLike[str], *, lang: str = "en") -> None:
        """Writes the report as one HTML file that needs no network.

        Args:
            path: Where to write; an existing file is replaced at once, and only when the new one is whole.
            lang: The language, `en` or `vi`.
        """
        write_text_atomically(path, page(self, lang=lang))

    def to_text(self, *, width: int = DEFAULT_WIDTH, lang: str = "en") -> str:
        """Return the report as plain text without colour.

        Args:
            width: Cells a line may take.
            lang: The language, `en` or `vi`.
        """
        return terminal_text(self, width=width, lang=lang)

    def __str__(self) -> str:
        width = min(shutil.get_terminal_size((DEFAULT_WIDTH, 24)).columns, MAX_WIDTH)
        return terminal_text(self, width=width, encoding=getattr(sys.stdout, "encoding", None) or "utf-8")

    def __rich__(self) -> TerminalReport:
        return TerminalReport(self)

    def _repr_html_(self) -> str:
        return fragment(self)
