"""`isometry lab`: the experiments, one command each."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from isometry._options import BUILDER_HELP, AsJson, Html, Input, Lang
from isometry._phrases import Phrase
from isometry.cli.streams import (
    BROKEN,
    MISUSE,
    document_stream,
    helpful_errors,
    make_console,
    print_said,
    require_places,
    write_line,
)
from isometry.cli.subject import chosen_language
from isometry.lab.names import ALL, ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from isometry.lab.outcome import Outcome
    from isometry.lab.study import OwnModel

Name = Annotated[str, typer.Argument(metavar="NAME", help="Of an experiment, or `all`; `isometry lab list` has them.")]
Recorded = Annotated[
    Path, typer.Argument(metavar="NAME|DIR", help="An experiment that was run here, or `all`, or a folder of records.")
]
Out = Annotated[Path, typer.Option(help="Folder of records and pictures; what is in it is not run again.")]
OnModel = Annotated[str | None, typer.Option("--model", metavar="FILE:NAME", help=f"Your own model: {BUILDER_HELP}.")]
Preset = Annotated[str | None, typer.Option(help="quick, which is usual, or paper.")]
RESUMES = "seeds that are through are kept, and the same command goes on from there"

app = typer.Typer(help="Reproduces the phenomena behind the tool, one command each.", no_args_is_help=True)


@app.command("list")
def list_(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Say what can be set in this one.")] = None,
    *,
    lang: Lang = None,
) -> None:
    """Name all experiments with their questions and which run on a model of yours; or say what can be set in one."""
    with helpful_errors():
        lang = chosen_language(lang)
        from isometry.lab.experiment import EXPERIMENTS
        from isometry.lab.runner import find_experiment, load_experiments
        from isometry.lab.showing.screen import experiment_table, print_experiment

        if name is None:
            load_experiments()
            console = make_console()
            console.print(experiment_table(EXPERIMENTS.values(), encoding=console.encoding, lang=lang))
        else:
            print_experiment(make_console(), find_experiment(name), lang=lang)


@app.command()
def run(
    name: Name,
    *,
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds, from 0 on.")] = 3,
    preset: Preset = None,
    assign: Annotated[list[str] | None, typer.Option("--set", help="A setting, such as width=64.")] = None,
    model: OnModel = None,
    input_words: Input = None,
    on: Annotated[str, typer.Option(help="Where trials run: local, serial or ray.")] = "local",
    address: Annotated[str | None, typer.Option(help="HOST:PORT of a Ray cluster.")] = None,
    out: Out = ROOT,
    html: Html = None,
    lang: Lang = None,
    as_json: AsJson = False,
) -> None:
    """Run an experiment and say which of its claims held; exit with 1 if one did not."""
    with helpful_errors(when_interrupted=RESUMES):
        document = document_stream() if as_json else None
        require_places(html)
        lang = chosen_language(lang)
        from isometry.lab.engine.executors import executor_on
        from isometry.lab.runner import chosen_studies
        from isometry.lab.showing.screen import run_on_screen

        console = make_console(quiet=as_json)
        own = _own_model(console, model, input_words, lang=lang)
        chosen = chosen_studies(name, preset=preset, assignments=assign or (), model=own)
        studies = {out / study.name: study for study in chosen}
        with executor_on(on, address=address) as executor:
            outcomes = run_on_screen(console, studies, range(seeds), executor=executor, lang=lang)
        _report(console, outcomes, html=html, lang=lang)
        if document is not None:
            write_line(document, _json(outcomes))
    raise typer.Exit(_exit_code(outcomes))


@app.command()
def show(
    name: Recorded = ROOT,
    *,
    html: Html = None,
    lang: Lang = None,
    as_json: AsJson = False,
) -> None:
    """Judge and draw what is recorded again, without running anything; exit with 1 if a claim did not hold."""
    with helpful_errors():
        document = document_stream() if as_json else None
        require_places(html)
        lang = chosen_language(lang)
        from isometry.lab.runner import recorded_outcomes
        from isometry.lab.showing.report import OutcomeReport

        console = make_console(quiet=as_json)
        outcomes = recorded_outcomes(_folder_of(name))
        for outcome in outcomes:
            console.print(OutcomeReport(outcome, lang))
            console.print()
        _report(console, outcomes, html=html, lang=lang)
        if document is not None:
            write_line(document, _json(outcomes))
    raise typer.Exit(_exit_code(outcomes))


@app.command()
def compare(
    names: Annotated[list[Path], typer.Argument(metavar="NAME|DIR...", help="Experiments, or folders of records.")],
    *,
    lang: Lang = None,
    as_json: AsJson = False,
) -> None:
    """Put the claims of several runs of experiments side by side."""
    with helpful_errors():
        document = document_stream() if as_json else None
        lang = chosen_language(lang)
        from isometry.lab.runner import recorded_outcomes
        from isometry.lab.showing.comparison import comparison_table

        console = make_console(quiet=as_json)
        pairs = [(str(name), outcome) for name in names for outcome in recorded_outcomes(_folder_of(name))]
        console.print(comparison_table(pairs, encoding=console.encoding, lang=lang))
        if document is not None:
            write_line(document, _json([outcome for _, outcome in pairs]))
    raise typer.Exit(0)


@app.command()
def export(
    name: Recorded = ROOT,
    *,
    parquet: Annotated[Path | None, typer.Option(help="Write all trials to this file.")] = None,
) -> None:
    """Build the SQLite index of a folder of records, and a Parquet table if one is asked for."""
    with helpful_errors():
        require_places(parquet)
        from isometry.lab.engine.index import build_index, export_parquet

        console, folder = make_console(), _folder_of(name)
        if parquet is not None:  # first, as it needs a library that may be missing
            export_parquet(folder, parquet)
        console.print(f"index: {build_index(folder)}", soft_wrap=True, markup=False)
        if parquet is not None:
            console.print(f"table: {parquet}", soft_wrap=True, markup=False)


def _own_model(console: "Console", word: str | None, input_words: str | None, *, lang: str) -> "OwnModel | None":
    """Return the user's model, after a look whether it can be built at all."""
    from isometry._errors import LabError

    if word is None:
        if input_words is not None:
            raise LabError("--input is the shape of the inputs of a model of yours. Give --model FILE:NAME as well.")
        return None
    from isometry.lab.study import own_model

    model, task = own_model(word, input_words)
    for warning in task.warnings:
        print_said(console, warning, lang=lang)
    return model


def _folder_of(name: Path) -> Path:
    """Return the folder of what was run under a name, or that folder itself."""
    from isometry._errors import LabError

    folder = name if name.exists() else ROOT if str(name) == ALL else ROOT / name
    if not folder.exists():
        here = sorted(path.name for path in ROOT.glob("*") if path.is_dir())
        known = f"Here were run: {', '.join(here)}." if here else "Run one first: isometry lab run NAME."
        raise LabError(f"{str(name)!r} is no folder, and no experiment that was run in this one. {known}")
    return folder


def _report(console: "Console", outcomes: "Sequence[Outcome]", *, html: Path | None, lang: str) -> None:
    """Print a table of several outcomes, and write the page."""
    from isometry._files import write_text_atomically
    from isometry.lab.showing.page import outcome_page
    from isometry.lab.showing.screen import summary_table

    if len(outcomes) > 1:
        console.print(summary_table(outcomes, encoding=console.encoding, lang=lang))
    if html is not None:
        write_text_atomically(html, outcome_page(outcomes, lang=lang))
        print_said(console, Phrase("report: {path}", path=html), lang=lang)


def _json(outcomes: "Sequence[Outcome]") -> str:
    from isometry.lab.showing.document import to_document

    return json.dumps(to_document(outcomes), indent=2, allow_nan=False)


def _exit_code(outcomes: "Sequence[Outcome]") -> int:
    """Return 0 if all claims held; 2 if an experiment could not be judged for a mistake that isometry names; else 1.

    An experiment that does not apply to the model is none of them, unless there is no other.
    """
    applied = [outcome for outcome in outcomes if not outcome.why_not]
    if not applied or any(outcome.is_refused for outcome in applied):
        return MISUSE
    return 0 if all(outcome.is_held for outcome in applied) else BROKEN
