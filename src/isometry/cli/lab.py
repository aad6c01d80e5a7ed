"""`isometry lab`: the experiments, one command each."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from isometry._options import AsJson, Html, Lang
from isometry.cli.streams import BROKEN, document_stream, helpful_errors, make_console, require_places, write_line
from isometry.cli.subject import chosen_language, settings_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from isometry.lab.runner import Outcome

ALL = "all"
Name = Annotated[str, typer.Argument(metavar="NAME", help="Of an experiment, or `all`; `isometry lab list` has them.")]
Out = Annotated[Path, typer.Option(help="Folder of records and pictures; what is in it is not run again.")]
HERE = Path("isometry-lab")

app = typer.Typer(help="Reproduces the phenomena behind the tool, one command each.", no_args_is_help=True)


@app.command("list")
def list_() -> None:
    """Name all experiments with the question that each answers."""
    with helpful_errors():
        from isometry.lab.experiment import EXPERIMENTS
        from isometry.lab.outcome_screen import experiment_table
        from isometry.lab.runner import load_experiments

        load_experiments()
        make_console().print(experiment_table(EXPERIMENTS.values()))


@app.command()
def run(
    name: Name,
    *,
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds, from 0 on.")] = 3,
    preset: Annotated[str, typer.Option(help="quick or paper.")] = "quick",
    assign: Annotated[list[str] | None, typer.Option("--set", help="A setting, such as width=64.")] = None,
    on: Annotated[str, typer.Option(help="Where trials run: local, serial or ray.")] = "local",
    address: Annotated[str | None, typer.Option(help="HOST:PORT of a Ray cluster.")] = None,
    out: Out = HERE,
    html: Html = None,
    lang: Lang = None,
    as_json: AsJson = False,
) -> None:
    """Run an experiment and say which of its claims held; exit with 1 if one did not."""
    with helpful_errors():
        document = document_stream() if as_json else None
        require_places(html)
        from isometry.lab.engine.executors import executor_on
        from isometry.lab.experiment import EXPERIMENTS
        from isometry.lab.outcome_screen import run_on_screen
        from isometry.lab.runner import find_experiment, load_experiments
        from isometry.lab.runner import settings_of as experiment_settings

        lang = chosen_language(lang, settings_of(None, isolated=False))
        load_experiments()
        chosen = list(EXPERIMENTS.values()) if name == ALL else [find_experiment(name)]
        jobs = [(each, experiment_settings(each, preset, assign or ())) for each in chosen]
        console = make_console(quiet=as_json)
        outcomes: list[Outcome] = []
        with executor_on(on, address=address) as executor:
            for experiment, settings in jobs:
                place = out / experiment.name
                outcomes.append(
                    run_on_screen(
                        console, experiment, settings, seeds=range(seeds), root=place, executor=executor, lang=lang
                    )
                )
        _report(console, outcomes, html=html, lang=lang)
        if document is not None:
            write_line(document, _json(outcomes))
    raise typer.Exit(0 if all(outcome.is_held for outcome in outcomes) else BROKEN)


@app.command()
def show(
    folder: Annotated[Path, typer.Argument(metavar="NAME or DIR", help="An experiment that was run, or its folder.")],
    *,
    html: Html = None,
    lang: Lang = None,
    as_json: AsJson = False,
) -> None:
    """Judge and draw the records of an experiment again, without running anything."""
    with helpful_errors():
        document = document_stream() if as_json else None
        require_places(html)
        from isometry.lab.outcome_screen import print_outcome
        from isometry.lab.runner import recorded_outcomes

        lang = chosen_language(lang, settings_of(None, isolated=False))
        console = make_console(quiet=as_json)
        outcomes = recorded_outcomes(folder if folder.exists() else HERE / folder)
        for outcome in outcomes:
            print_outcome(console, outcome, lang=lang)
        _report(console, outcomes, html=html, lang=lang)
        if document is not None:
            write_line(document, _json(outcomes))
    raise typer.Exit(0 if all(outcome.is_held for outcome in outcomes) else BROKEN)


@app.command()
def compare(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Folders of records, two or more.")],
    *,
    lang: Lang = None,
) -> None:
    """Put the claims of several runs of experiments side by side."""
    with helpful_errors():
        from isometry.lab.outcome_screen import comparison_table
        from isometry.lab.runner import recorded_outcomes

        lang = chosen_language(lang, settings_of(None, isolated=False))
        pairs = [(str(folder), outcome) for folder in folders for outcome in recorded_outcomes(folder)]
        make_console().print(comparison_table(pairs, lang=lang))
    raise typer.Exit(0)


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder of records.")],
    *,
    parquet: Annotated[Path | None, typer.Option(help="Write all trials to this file.")] = None,
) -> None:
    """Build the SQLite index of a folder of records, and a Parquet table if one is asked for."""
    with helpful_errors():
        require_places(parquet)
        from isometry.lab.engine.index import build_index, export_parquet

        console = make_console()
        console.print(f"index: {build_index(folder)}", soft_wrap=True, markup=False)
        if parquet is not None:
            export_parquet(folder, parquet)
            console.print(f"table: {parquet}", soft_wrap=True, markup=False)
    raise typer.Exit(0)


def _report(console: "Console", outcomes: "Sequence[Outcome]", *, html: Path | None, lang: str) -> None:
    if html is None:
        return
    from isometry._files import write_text_atomically
    from isometry.lab.page import outcome_page

    write_text_atomically(html, outcome_page(outcomes, lang=lang))
    console.print(f"report: {html}", soft_wrap=True, markup=False)


def _json(outcomes: "Sequence[Outcome]") -> str:
    from isometry.report.document import plain

    entries = [
        {
            "experiment": outcome.experiment.name,
            "settings": asdict(outcome.settings),
            "held": outcome.is_held,
            "claims": [asdict(claim) | {"held": claim.is_held} for claim in outcome.claims],
            "seeds": [
                {"seed": record.trial.config["seed"], "state": record.state, "id": record.id, "seconds": record.seconds}
                for record in outcome.records
            ],
        }
        for outcome in outcomes
    ]
    return json.dumps(plain({"schema": 1, "outcomes": entries}), indent=2, allow_nan=False)
