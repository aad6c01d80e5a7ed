"""Draws the pictures of these pages from records: `python docs/lab/pictures.py FOLDER...`, each of one experiment."""

import sys
from pathlib import Path

from isometry.lab.runner import recorded_outcomes
from isometry.lab.showing.drawing import as_svg

# Pictures beside the first, by their keys.
ALSO = {
    "depth-scale": ("phases",),
    "double-descent-epochs": ("network-over-epochs",),
    "double-descent-samples": ("error-over-images",),
    "memorise": ("test-error",),
    "ten-thousand-layers": ("signal",),
    "weight-decay": ("ridge",),
}


def main(folders: list[Path]) -> None:
    """Write the pictures that the page of each folder's experiment shows."""
    for folder in folders:
        for outcome in recorded_outcomes(folder):
            first, *rest = outcome.figures
            name = outcome.study.name
            shown = {name: first} | {f"{name}-{each.key}": each for each in rest if each.key in ALSO.get(name, ())}
            for stem, figure in shown.items():
                (Path(__file__).parent / f"{stem}.svg").write_text(as_svg(figure) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main([Path(word) for word in sys.argv[1:]])
