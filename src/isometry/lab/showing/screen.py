"""Shows experiments on a terminal while they run, and what came of them."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from isometry._errors import MissingExtraError, OutputError
from isometry.lab.experiment import ON_TASK, Experiment
from isometry.lab.outcome import Outcome
from isometry.lab.runner import run_studies
from isometry.lab.settings import words_of
from isometry.lab.showing.drawing import save_png
from isometry.lab.showing.report import OutcomeReport, headline, plain_table
from isometry.lab.showing.words import seeds_word, work_word
from isometry.lab.study import Study
from isometry.report.glyphs import glyphs_for
from isometry.report.language import say, speaking

ON_MODEL = "--model"


def experiment_table(experiments: Iterable[Experiment[Any]], *, encoding: str, lang: str = "en") -> Table:
    """Return all experiments with their questions, and which of them run on a model of one's own.

    Args:
        experiments: Which.
        encoding: Of the console.
        lang: The language, `en` or `vi`.

    Returns:
        A table with a row an experiment.
    """
    glyphs = glyphs_for(encoding)
    with speaking(lang):
        table = plain_table(glyphs, "experiment", "question", "also on")
        table.columns[0].no_wrap, table.columns[0].style = True, "bold"
        for experiment in experiments:
            table.add_row(
                experiment.name,
                glyphs.text(say(experiment.question)),
                ON_MODEL if experiment.name in ON_TASK else "",
                end_section=True,
            )
        return table


def print_experiment(console: Console, experiment: Experiment[Any], *, lang: str = "en") -> None:
    """Print what an experiment asks, where that is from, and what can be set: in both presets, and on a model.

    Args:
        console: Where to print.
        experiment: Which.
        lang: The language, `en` or `vi`.
    """
    glyphs, paper = glyphs_for(console.encoding), words_of(experiment.paper)
    with speaking(lang):
        console.print(Text(experiment.name, style="bold"))
        console.print(glyphs.text(say(experiment.question)))
        console.print(glyphs.text(experiment.source, style="dim"))
        table = plain_table(glyphs, "setting", "quick", "paper")
        for name, value in words_of(experiment.quick).items():
            table.add_row(name, *map(glyphs.text, (value, paper[name])))
        console.print(table)
        if experiment.name in ON_TASK:
            own = ON_TASK[experiment.name]
            table = plain_table(glyphs, "setting", ON_MODEL)
            for row in words_of(own.settings).items():
                table.add_row(*map(glyphs.text, row))
            console.print("", glyphs.text(say(own.question)), table, sep="\n")


def run_on_screen(
    console: Console,
    studies: Mapping[Path, Study],
    seeds: Sequence[int],
    *,
    executor: Executor,
    lang: str = "en",
) -> list[Outcome]:
    """Run studies under progress bars, print what came of each as soon as it is through, and draw its pictures.

    Args:
        console: Where to print; without a terminal there are no bars.
        studies: What to run, by the folder of its records and pictures.
        seeds: One trial each.
        executor: Where trials run.
        lang: The language, `en` or `vi`.

    Returns:
        Claims and pictures over all seeds, in the order of the studies.

    Raises:
        LabError: If nothing can be recorded.
    """
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TaskProgressColumn(), TimeElapsedColumn())
    outcomes: dict[Path, Outcome] = {}
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        whole = progress.add_task("", total=len(studies), visible=len(studies) > 1)
        rows = {
            root: progress.add_task(study.name, total=1.0, visible=len(studies) == 1) for root, study in studies.items()
        }

        def show(root: Path, share: float) -> None:
            progress.update(rows[root], completed=share, visible=share > 0 or len(studies) == 1)

        for root, outcome in run_studies(studies, seeds, executor=executor, watcher=show):
            progress.remove_task(rows[root])
            progress.advance(whole)
            console.print(OutcomeReport(outcome, lang))
            save_pictures(console, outcome, root, lang=lang)
            console.print()
            outcomes[root] = outcome
    return [outcomes[root] for root in studies]


def save_pictures(console: Console, outcome: Outcome, root: Path, *, lang: str = "en") -> None:
    """Draw an outcome's pictures into a folder and name them; where that cannot be, say why and lose nothing.

    Args:
        console: Where to print.
        outcome: What came of a study; other settings than the usual ones have files of their own.
        root: The folder.
        lang: The language, `en` or `vi`.
    """
    label, glyphs = outcome.study.label, glyphs_for(console.encoding)
    try:
        for figure in outcome.figures:
            path = root / f"{figure.key}{'-' if label else ''}{label}.png"
            save_png(figure, path, lang=lang)
            with speaking(lang):
                console.print(glyphs.text(say("picture: {path}", path=path), style="dim"), soft_wrap=True)
    except (MissingExtraError, OutputError) as error:
        console.print(glyphs.text(str(error)), soft_wrap=True)


def summary_table(outcomes: Sequence[Outcome], *, encoding: str, lang: str = "en") -> Table:
    """Return what came of several studies, a row each.

    Args:
        outcomes: What came of them.
        encoding: Of the console.
        lang: The language, `en` or `vi`.

    Returns:
        A table of whether all held, and how long the seeds took.
    """
    glyphs = glyphs_for(encoding)
    with speaking(lang):
        table = plain_table(glyphs, "experiment", "claims held", "seeds", "work")
        for outcome in outcomes:
            held = f"{sum(claim.is_held for claim in outcome.claims)}/{len(outcome.claims)}"
            told = say("does not apply") if outcome.why_not else held
            table.add_row(
                headline(outcome, glyphs), glyphs.text(told), glyphs.text(seeds_word(outcome)), work_word(outcome)
            )
        return table
