"""Draws the pictures of these pages from records: `python docs/lab/pictures.py FOLDER...`, each of one experiment."""

import sys
from pathlib import Path

from isometry.lab.drawing import as_svg
from isometry.lab.runner import recorded_outcomes


def main(folders: list[Path]) -> None:
    """Write one picture a folder."""
    for folder in folders:
        for outcome in recorded_outcomes(folder):
            picture = Path(__file__).parent / f"{outcome.study.name}.svg"
            picture.write_text(as_svg(outcome.figures[0]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main([Path(word) for word in sys.argv[1:]])
