"""Shows a repair and a race on a terminal while they happen."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from isometry._errors import IsometryError, ModelError, describe
from isometry.anatomy.task import Task, with_model
from isometry.checking.settings import DEFAULT, Settings
from isometry.probes.race import REPEATS, race
from isometry.probes.race_result import Evaluation, RaceResult
from isometry.probes.training import copied
from isometry.repair import Repair, RepairReport, fix
from isometry.report.language import say, speaking
from isometry.report.race import RaceReport

NAMES = ("as built", "treated")


def fix_on_screen(
    console: Console, task: Task, *, steps: int, seed: int, lang: str = "en", settings: Settings = DEFAULT
) -> tuple[Repair, RaceResult | None]:
    """Repair a task's model in place, print what was found and done, and race it against what it was.

    Args:
        console: Where to print.
        task: The task; its model's parameters are written.
        steps: Optimiser steps of the race; 0 for none.
        seed: Seed of the check, of the weights and of the data orders.
        lang: The language of what is printed, `en` or `vi`.
        settings: As for `check`.

    Returns:
        The repair; and the race, or None without steps or where nothing was changed.

    Raises:
        ModelError: If the model fails on its batch, or its training fails in the race.
        SettingsError: If the settings name a rule or a threshold that does not exist.
    """
    built = with_model(task, copied(task.model)) if steps else task
    repair = fix(task, seed=seed, settings=settings)
    console.print(RepairReport(repair, lang))
    if not steps or not repair.plan.changes:
        if steps:
            with speaking(lang):
                console.print(say("No race: the network is as it was."))
        return repair, None
    console.print()
    with speaking(lang):
        result = _race_on_screen(console, built, task, steps=steps, seed=seed)
    console.print(RaceReport(result, lang))
    return repair, result


def _race_on_screen(console: Console, built: Task, treated: Task, *, steps: int, seed: int) -> RaceResult:
    names = (say(NAMES[0]), say(NAMES[1]))
    columns = (
        TextColumn("{task.description:9}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[loss]:>14}  {task.fields[accuracy]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        rows = [progress.add_task(name, total=steps * REPEATS, loss="", accuracy="") for name in names]

        def show(done: int, _: int, looks: tuple[Evaluation, Evaluation]) -> None:
            for row, look in zip(rows, looks, strict=True):
                _show_look(progress, row, done=done, look=look)

        try:
            return race(built, treated, names=names, steps=steps, seed=seed, on_progress=show)
        except IsometryError:
            raise
        except (Exception, SystemExit) as error:
            raise ModelError(
                f"the race failed while it trained copies of {type(treated.model).__name__}: {describe(error)}. Make "
                "a training loop with this loss and optimiser run by itself, or leave out --race."
            ) from error


def _show_look(progress: Progress, row: TaskID, *, done: int, look: Evaluation) -> None:
    loss = say("loss {loss}", loss="not finite" if look.loss is None else f"{look.loss:.3f}")
    accuracy = "" if look.accuracy is None else say("test accuracy {share:.1%}", share=look.accuracy)
    progress.update(row, completed=done, loss=loss, accuracy=accuracy)
