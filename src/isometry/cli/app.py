"""All commands of `isometry`, in the order in which its help lists them."""

from importlib import metadata
from typing import Annotated

import typer

from isometry.cli.audit import audit
from isometry.cli.check import check
from isometry.cli.explain import explain
from isometry.cli.fix import demo, fix
from isometry.cli.init import init
from isometry.cli.lab import app as lab
from isometry.cli.watch import watch

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


def _print_version(*, is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"isometry {metadata.version('isometry')}")
        raise typer.Exit


@app.callback()
def isometry(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Says whether a PyTorch network can train, names the cause, repairs the initialisation and proves it."""


for command in (check, fix, init, audit, explain, watch, demo):
    app.command()(command)
app.add_typer(lab, name="lab")
