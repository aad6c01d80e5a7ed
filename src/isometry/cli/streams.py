"""Where a command writes: its console, its one document, its files, and its errors as sentences."""

import os
import sys
import traceback
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn, TextIO

import typer
from rich.console import Console
from rich.markup import escape

from isometry._errors import IsometryError
from isometry._files import require_place

BROKEN, MISUSE = 1, 2
DEFECT = 70  # sysexits.h's code for a defect of the program
INTERRUPTED, PIPE_CLOSED = 130, 141  # the shell's codes for the signals


def make_console(*, quiet: bool = False) -> Console:
    """Return the console on standard output; a quiet one prints nothing."""
    return Console(highlight=False, quiet=quiet)


def print_said(console: Console, sentence: str, *, lang: str) -> None:
    """Print a sentence, which may be a Phrase, on one line and in a language."""
    from isometry.report.glyphs import glyphs_for
    from isometry.report.language import say, speaking

    with speaking(lang):
        console.print(glyphs_for(console.encoding).text(say(sentence)), soft_wrap=True)


def document_stream() -> TextIO:
    """Return standard output for one document; what the user's code and its children print goes to standard error.

    It stays so until the process ends, since some libraries print a last line when they are unloaded.
    """
    sys.stdout.flush()
    try:
        document = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    except (OSError, ValueError):  # a stream without a file behind it, as in tests and notebooks
        document = sys.stdout
    sys.stdout = sys.stderr
    return document


def write_line(document: TextIO, text: str) -> None:
    """Write one document and its line break at once."""
    document.write(text + "\n")
    document.flush()


def require_places(*places: Path | None) -> None:
    """Refuse places that no file can be written to, before the work; None is a file that nobody asked for."""
    for place in places:
        if place is not None:
            require_place(place)


@contextmanager
def helpful_errors(*, when_interrupted: str = "nothing was left half written") -> Generator[None]:
    """Print an error as its sentence, without a traceback; a defect of ours with it.

    Args:
        when_interrupted: What is said after Ctrl-C.
    """
    try:
        yield
    except IsometryError as error:
        _fail(f"{type(error).__name__}: {error}", MISUSE)
    except KeyboardInterrupt:
        _fail(f"Interrupted; {when_interrupted}.", INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # nobody reads what is still buffered
        raise typer.Exit(PIPE_CLOSED) from None
    except typer.Exit:
        raise
    except Exception:  # noqa: BLE001 - nothing is hidden: the traceback is printed
        traceback.print_exc()
        _fail("This is a defect of isometry, not of your model: please report it with the lines above.", DEFECT)


def _fail(sentence: str, code: int) -> NoReturn:
    Console(stderr=True, highlight=False).print(escape(sentence), soft_wrap=True)
    raise typer.Exit(code)
