"""The reference page of the findings is made of the rules."""

import runpy
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "docs" / "reference"


def test_the_page_is_that_of_the_rules() -> None:
    made = runpy.run_path(str(FOLDER / "findings.py"))["text"]()

    assert made == (FOLDER / "findings.md").read_text(encoding="utf-8"), "run python docs/reference/findings.py"
