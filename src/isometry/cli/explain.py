"""`isometry explain`: what a finding means and what helps."""

from typing import Annotated

import typer
from rich.markup import escape

from isometry.cli.streams import helpful_errors, make_console


def explain(
    word: Annotated[str | None, typer.Argument(metavar="[CODE or NAME]", help="Such as BWD101.")] = None,
) -> None:
    """Print what a finding means and what helps; without a code, list them all."""
    with helpful_errors():
        from isometry.findings.explanation import explain as explain_rule
        from isometry.findings.explanation import pages

        console = make_console()
        if word is not None:
            console.print(explain_rule(word), crop=False)
            return
        for page in pages():
            console.print(f"{page.code}  {page.name:22} {escape(page.title)}", soft_wrap=True)
