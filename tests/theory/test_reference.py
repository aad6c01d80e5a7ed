"""The reference page of the theory is made of its docstrings."""

import re
import runpy
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "docs" / "reference"


def test_the_page_is_that_of_the_docstrings() -> None:
    made = runpy.run_path(str(FOLDER / "theory.py"))["page"]()

    assert made == (FOLDER / "theory.md").read_text(encoding="utf-8"), "run python docs/reference/theory.py"


def test_its_example_prints_what_it_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (FOLDER / "theory.md").read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "example.py").write_text(example, encoding="utf-8")
    runpy.run_path(str(tmp_path / "example.py"))

    assert capsys.readouterr().out.splitlines() == re.findall(r"^print\(.*\)  # (.*)$", example, re.MULTILINE)
