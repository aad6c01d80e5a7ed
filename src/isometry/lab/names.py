"""Words that the lab's command line and its Python door share; light, so that a command starts at once."""

from pathlib import Path

ALL = "all"  # stands for every experiment
ROOT = Path("isometry-lab")  # where records lie unless another folder is given
