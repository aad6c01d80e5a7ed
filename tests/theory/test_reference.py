"""The reference page of the theory is made of its docstrings."""

import runpy
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "docs" / "reference"


def test_the_page_is_that_of_the_docstrings() -> None:
    made = runpy.run_path(str(FOLDER / "theory.py"))["page"]()

    assert made == (FOLDER / "theory.md").read_text(encoding="utf-8"), "run python docs/reference/theory.py"
