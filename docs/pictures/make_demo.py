"""Makes the README's pictures from real runs of the demo and of a watched training: the .svg files beside this file.

Run by hand, once their output changes: python docs/pictures/make_demo.py
"""

import io
import os
import re
import runpy
import tempfile
from itertools import pairwise
from pathlib import Path

import torch
from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from isometry.lab.demo import run_demo
from isometry.report.run.view import RunView
from isometry.training import read_run

WIDTH = 104  # cells; a line of the report then fits
HERE = Path(__file__).parent
THEME = TerminalTheme(
    background=(250, 250, 248),
    foreground=(36, 41, 47),
    normal=[
        (36, 41, 47),
        (190, 30, 45),
        (22, 110, 60),
        (150, 95, 0),
        (15, 90, 170),
        (125, 60, 160),
        (0, 110, 120),
        (100, 105, 110),
    ],
)


def run() -> list[str]:
    """Run the demo and return its output, a line each, with the escape codes of its colours."""
    screen = Console(file=io.StringIO(), record=True, width=WIDTH, highlight=False, color_system="truecolor")
    with tempfile.TemporaryDirectory() as folder:
        run_demo(screen, html=Path(folder) / "isometry-demo.html")
    return screen.export_text(styles=True).splitlines()


def first(lines: list[str], words: str) -> int:
    """Return the index of the first line that holds `words`."""
    return next(place for place, line in enumerate(lines) if words in Text.from_ansi(line).plain)


def draw(lines: list[str], *, title: str, name: str) -> None:
    """Write lines as a picture of a terminal, without the web fonts that rich would load."""
    paper = Console(file=io.StringIO(), record=True, width=WIDTH, color_system="truecolor")
    texts = [Text.from_ansi(line) for line in lines]
    for before, text in pairwise([Text("-"), *texts]):
        if before.plain.strip() or text.plain.strip():  # one empty line is enough
            paper.print(text, soft_wrap=True)
    # rich derives its class names from the numbers in this identifier; a fixed one keeps them the same in every run.
    svg = paper.export_svg(title=title, theme=THEME, unique_id=f"isometry-{name}")
    (HERE / f"{name}.svg").write_text(re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL), encoding="utf-8")


def run_watched() -> list[str]:
    """Run the example of a watched training, and return the view of its records, a line each."""
    screen = Console(file=io.StringIO(), record=True, width=WIDTH, highlight=False, color_system="truecolor")
    example = runpy.run_path(str(HERE.parents[1] / "examples" / "watched.py"))
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # where the example lays its records
        try:
            example["train"](on_nan="rollback")
            screen.print(RunView(read_run(Path("runs/digits")), "en"))
        finally:
            os.chdir(here)
    return screen.export_text(styles=True).splitlines()


def main() -> None:
    """Run both once, and draw what the demo found and did, and how the watched training went."""
    torch.set_num_threads(1)
    lines = run()
    plan = first(lines, "parameters change")
    healthy = first(lines, "✓ healthy")
    summary = first(lines, "initialised again")
    report = first(lines, "report: ")
    draw(lines[:plan], title="isometry demo: what it finds", name="check")
    draw([*lines[plan : healthy + 1], "…", *lines[summary:report]], title="isometry demo: what it does", name="race")
    draw(run_watched(), title="isometry watch runs/digits", name="watch")


if __name__ == "__main__":
    main()
