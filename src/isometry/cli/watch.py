"""`isometry watch`: a run, while it is training or afterwards."""

from pathlib import Path
from typing import Annotated

import typer

from isometry._options import AsJson, Html, Lang
from isometry.cli.streams import BROKEN, document_stream, helpful_errors, make_console, require_places, write_line
from isometry.cli.subject import chosen_language


def watch(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder given to isometry.watch(..., to=[DIR]).")],
    *,
    follow: Annotated[
        bool | None, typer.Option(help="Stay until the run ends; without it, only where there is a terminal.")
    ] = None,
    html: Html = None,
    lang: Lang = None,
    as_json: AsJson = False,
) -> None:
    """Show a watched training, while it runs or afterwards; exit with 1 if it failed or an event was an error."""
    with helpful_errors():
        document = document_stream() if as_json else None
        require_places(html)
        from isometry._files import write_text_atomically
        from isometry.report.run.document import run_json
        from isometry.report.run.page import run_page
        from isometry.report.run.view import print_run
        from isometry.report.run.words import is_broken
        from isometry.training.watching.follow import WholeRun
        from isometry.training.watching.follow import follow as follow_run

        lang = chosen_language(lang)
        console = make_console(quiet=as_json)
        run = WholeRun(folder)
        if follow or (follow is None and console.is_terminal and not as_json):
            facts = follow_run(run, console, lang=lang)
        else:
            facts = run.read()
            print_run(facts, console, lang=lang)
        if html is not None:
            write_text_atomically(html, run_page(facts, lang=lang))
        if document is not None:
            write_line(document, run_json(facts))
    raise typer.Exit(BROKEN if is_broken(facts) else 0)
