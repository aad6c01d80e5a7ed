"""What stays of a run when it has ended: a page for people and a document for programs."""

from pathlib import Path

from isometry._files import write_text_atomically
from isometry.report.run.document import run_json
from isometry.report.run.facts import RunFacts
from isometry.report.run.page import run_page


def write_summary(folder: Path, facts: RunFacts) -> None:
    """Put `summary.json` and `summary.html` in place, each whole.

    Args:
        folder: Of the run.
        facts: The whole run.
    """
    write_text_atomically(folder / "summary.json", run_json(facts) + "\n")
    write_text_atomically(folder / "summary.html", run_page(facts))
