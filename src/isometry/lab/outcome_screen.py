"""Shows experiments on a terminal while they run, and what came of them."""

from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from isometry._errors import MissingExtraError, OutputError
from isometry.lab.drawing import save_png
from isometry.lab.experiment import Experiment
from isometry.lab.runner import Outcome, run
from isometry.lab.words import claim_rows, held_word, record_sentence
from isometry.report.glyphs import STYLES, glyphs_for
from isometry.report.language import say, speaking


def experiment_table(experiments: Iterable[Experiment[Any]]) -> Table:
    """Return all experiments with their questions."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="bold")
    table.add_column()
    for experiment in experiments:
        table.add_row(experiment.name, say(experiment.question))
    return table


def run_on_screen(
    console: Console,
    experiment: Experiment[Any],
    settings: Any,
    *,
    seeds: Sequence[int],
    root: Path,
    executor: Executor,
    lang: str = "en",
) -> Outcome:
    """Run an experiment under a progress bar, print what came of it, and lay its pictures beside its records.

    Args:
        console: Where to print.
        experiment: What to run.
        settings: Of its kind.
        seeds: One trial each.
        root: The folder of its records.
        executor: Where trials run.
        lang: The language, `en` or `vi`.

    Returns:
        Claims and pictures over all seeds.

    Raises:
        LabError: If nothing can be recorded.
    """
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        row = progress.add_task(experiment.name, total=1.0)
        outcome = run(
            experiment,
            settings,
            seeds=seeds,
            root=root,
            executor=executor,
            watcher=lambda share: progress.update(row, completed=share),
        )
    print_outcome(console, outcome, lang=lang)
    _save_pictures(console, outcome, root, lang=lang)
    return outcome


def print_outcome(console: Console, outcome: Outcome, *, lang: str = "en") -> None:
    """Print an experiment's question, its claims as held or not held, and what its seeds took."""
    glyphs = glyphs_for(console.encoding)
    with speaking(lang):
        sign = "healthy" if outcome.is_held else "broken"
        console.print(Text.assemble((f"{glyphs.signs[sign]} {outcome.experiment.name}", STYLES[sign])))
        console.print(Text(say(outcome.experiment.question)))
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        for heading in ("", "claim", "measured", "range"):
            table.add_column(say(heading) if heading else "", overflow="fold")
        for word, text, measured, allowed in claim_rows(outcome):
            table.add_row(word, text, measured, allowed)
        console.print(table)
        console.print(Text(f"{held_word(outcome)} {record_sentence(outcome)}.", style="dim"))
        for record in outcome.records:
            if record.error:
                console.print(Text(f"{record.trial.name}: {record.error.strip().splitlines()[-1]}"))
        console.print()


def comparison_table(pairs: Sequence[tuple[str, Outcome]], *, lang: str = "en") -> Table:
    """Return the claims of several outcomes, a column an outcome.

    Args:
        pairs: Where each is recorded, and what came of it.
        lang: The language, `en` or `vi`.

    Returns:
        A table with a row a claim.
    """
    with speaking(lang):
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        table.add_column(say("claim"), overflow="fold")
        for place, outcome in pairs:
            table.add_column(f"{outcome.experiment.name}\n{place}", overflow="fold")
        texts = dict.fromkeys(row[1] for _, outcome in pairs for row in claim_rows(outcome))
        for text in texts:
            found = [next((row for row in claim_rows(outcome) if row[1] == text), None) for _, outcome in pairs]
            table.add_row(text, *("" if row is None else f"{row[2]} ({row[0]})" for row in found))
        return table


def _save_pictures(console: Console, outcome: Outcome, root: Path, *, lang: str) -> None:
    """Write the pictures as PNG; records are not lost where that cannot be."""
    try:
        for figure in outcome.figures:
            path = root / f"{figure.key}.png"
            save_png(figure, path)
            with speaking(lang):
                console.print(Text(say("picture: {path}", path=str(path)), style="dim"), soft_wrap=True)
    except (MissingExtraError, OutputError) as error:
        console.print(Text(str(error)), soft_wrap=True)
