"""The command `isometry`: parses words, calls the library, sets the exit code."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from isometry._errors import IsometryError

if TYPE_CHECKING:
    from isometry.anatomy.task import Task

BROKEN, MISUSE, INTERRUPTED = 1, 2, 130
BUILDER_HELP = "path/to/file.py:name or package.module:name"

app = typer.Typer(
    help="Says whether a PyTorch network can train, names the cause, repairs the initialisation and proves it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
Model = Annotated[str, typer.Argument(metavar="MODEL", help=BUILDER_HELP)]
Input = Annotated[str | None, typer.Option("--input", help="Make a batch of this shape, like 8x3x32x32[:dtype].")]
Seed = Annotated[int, typer.Option(help="Seed of the builder, of the batch and of dropout.")]
BatchSize = Annotated[int, typer.Option("--batch", min=1, help="Largest number of examples taken from a data set.")]
Protect = Annotated[list[str] | None, typer.Option(help="Pattern of parameters that no repair may touch.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
Html = Annotated[Path | None, typer.Option(help="Write a report with pictures to this file.")]


@app.command()
def check(
    model: Model,
    *,
    input_words: Input = None,
    batch_size: BatchSize = 256,
    seed: Seed = 0,
    as_json: AsJson = False,
    html: Html = None,
) -> None:
    """Say whether a network can train; exit with 1 if it is broken."""
    with _helpful_errors():
        from isometry.findings import diagnose  # noqa: PLC0415 - torch is imported only when needed

        diagnosis = diagnose(_load(model, input_words, batch_size=batch_size, seed=seed), seed=seed)
        if html is not None:
            diagnosis.save_html(html)
        if as_json:
            sys.stdout.write(diagnosis.to_json() + "\n")
        else:
            _console().print(diagnosis)
    raise typer.Exit(BROKEN if diagnosis.verdict == "broken" else 0)


@app.command()
def fix(
    model: Model,
    *,
    out: Annotated[Path | None, typer.Option(help="Write the repaired weights here, as safetensors.")] = None,
    race: Annotated[bool, typer.Option("--race", help="Train both networks side by side and compare.")] = False,
    steps: Annotated[int, typer.Option(min=1, help="Optimiser steps of the race.")] = 300,
    protect: Protect = None,
    input_words: Input = None,
    batch_size: BatchSize = 256,
    seed: Seed = 0,
    as_json: AsJson = False,
    html: Html = None,
) -> None:
    """Initialise again what the findings blame, and measure again; exit with 1 if the result is broken."""
    with _helpful_errors():
        from isometry.lab.screen import fix_on_screen  # noqa: PLC0415 - torch is imported only when needed
        from isometry.repair import save_weights  # noqa: PLC0415 - as above

        task = _load(model, input_words, batch_size=batch_size, seed=seed, protect=tuple(protect or ()))
        console = Console(quiet=True) if as_json else _console()
        repair, result = fix_on_screen(console, task, steps=steps if race else 0, seed=seed)
        if out is not None:
            save_weights(task.model, out)
            console.print(f"weights: {escape(str(out))}")
        if html is not None:
            repair.save_html(html, result)
            console.print(f"report: {escape(str(html))}")
        if as_json:
            sys.stdout.write(repair.to_json(result) + "\n")
    raise typer.Exit(BROKEN if repair.after.verdict == "broken" else 0)


@app.command()
def explain(
    word: Annotated[str | None, typer.Argument(metavar="[CODE or NAME]", help="Such as BWD101.")] = None,
) -> None:
    """Print what a finding means and what helps; without a code, list them all."""
    with _helpful_errors():
        from isometry.findings.explanation import explain as explain_rule  # noqa: PLC0415 - imports torch
        from isometry.findings.explanation import pages  # noqa: PLC0415 - imports torch

        console = _console()
        if word is not None:
            console.print(escape(str(explain_rule(word))), highlight=False)
            return
        for page in pages():
            console.print(f"{page.code}  {page.name:22} {page.title}", highlight=False, soft_wrap=True)


@app.command()
def demo(
    *,
    html: Annotated[Path, typer.Option(help="Where to write the report.")] = Path("isometry-demo.html"),
    seed: Seed = 0,
) -> None:
    """Find the textbook's deep sigmoid network broken, repair it, and race both on scikit-learn's digits."""
    with _helpful_errors():
        from isometry.lab.demo import run_demo  # noqa: PLC0415 - torch is imported only when needed

        run_demo(_console(), html=html, seed=seed)


def main() -> None:
    """Run the command."""
    app()


def _load(word: str, input_words: str | None, *, batch_size: int, seed: int, protect: tuple[str, ...] = ()) -> "Task":
    from isometry.anatomy.builders import load_task, seed_everything  # noqa: PLC0415 - torch when needed

    seed_everything(seed)
    return load_task(word, input_words=input_words, protect=protect, batch_size=batch_size, seed=seed)


def _console() -> Console:
    return Console(highlight=False)


@contextmanager
def _helpful_errors() -> Iterator[None]:
    """Print an error as its sentence, without a traceback."""
    try:
        yield
    except IsometryError as error:
        _fail(f"{type(error).__name__}: {error}", MISUSE)
    except KeyboardInterrupt:
        _fail("Interrupted; nothing was left half written.", INTERRUPTED)


def _fail(sentence: str, code: int) -> NoReturn:
    Console(stderr=True, highlight=False).print(escape(sentence), soft_wrap=True)
    raise typer.Exit(code)
