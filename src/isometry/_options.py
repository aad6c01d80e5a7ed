"""The words that the commands of `isometry` share: arguments and options with their help."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

MAX_SEED = 2**63 - 1  # torch takes no larger one
BUILDER_HELP = "path/to/file.py:name or package.module:name"


class Format(StrEnum):
    """What `check` prints on standard output."""

    text = "text"
    json = "json"
    sarif = "sarif"
    github = "github"


Model = Annotated[str, typer.Argument(metavar="MODEL", help=BUILDER_HELP)]
Input = Annotated[str | None, typer.Option("--input", help="Make a batch of this shape, like 8x3x32x32[:dtype].")]
Seed = Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Seed of the builder, of the batch and of dropout.")]
PlanSeed = Annotated[
    int | None,
    typer.Option(min=0, max=MAX_SEED, help="Seed of builder, batch and weights; else that of the plan, or 0."),
]
BatchSize = Annotated[int, typer.Option("--batch", min=1, help="Largest number of examples taken from a data set.")]
Protect = Annotated[list[str] | None, typer.Option(help="Pattern of parameters that no repair may touch.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
Form = Annotated[Format | None, typer.Option("--format", help="What is printed; text without it.")]
Config = Annotated[
    Path | None, typer.Option(help=r"Read \[tool.isometry] of this file, not of the nearest pyproject.toml.")
]
Isolated = Annotated[bool, typer.Option("--isolated", help="Read no pyproject.toml.")]
Select = Annotated[list[str] | None, typer.Option(help="Run only these rules: codes, beginnings (FWD) or names.")]
Ignore = Annotated[list[str] | None, typer.Option(help="Do not run these rules.")]
Assign = Annotated[list[str] | None, typer.Option("--set", help="Set a threshold, such as BWD101.max-decay=5.")]
Lang = Annotated[str | None, typer.Option(help="Language of the report: en or vi.")]
Steps = Annotated[int | None, typer.Option(min=0, help="Most steps of the trial on a copy; 0 switches it off.")]
Verbose = Annotated[bool, typer.Option("--verbose", help="Say also why rules were skipped.")]
RaceSteps = Annotated[int, typer.Option("--race-steps", min=1, help="Optimiser steps of the race.")]
Html = Annotated[Path | None, typer.Option(help="Write a report with pictures to this file.")]
