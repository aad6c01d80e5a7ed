"""All commands of `isometry`, in the order in which its help lists them."""

import typer

from isometry.cli.audit import audit
from isometry.cli.check import check
from isometry.cli.explain import explain
from isometry.cli.fix import demo, fix
from isometry.cli.init import init
from isometry.cli.lab import app as lab
from isometry.cli.watch import watch

app = typer.Typer(
    help="Says whether a PyTorch network can train, names the cause, repairs the initialisation and proves it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (check, fix, init, audit, explain, watch, demo):
    app.command()(command)
app.add_typer(lab, name="lab")
