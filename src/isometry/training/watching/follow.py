"""Follows a run from another process, by its records."""

import os
import time
from typing import final

from rich.console import Console
from rich.live import Live

from isometry._errors import RunError
from isometry.report.run.facts import RunFacts
from isometry.report.run.view import RunView, print_run
from isometry.training.watching.merging import merge
from isometry.training.watching.reader import RunReader

LOOK_SECONDS = 0.5  # between two looks at the records, at least
MAX_SHARE = 0.2  # of the time that may go into drawing; many layers are drawn more seldom


@final
class WholeRun:
    """Reads a run on from where it stopped, the records of all processes that trained together.

    Args:
        folder: As it was given to `watch(..., to=[folder])`.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._folder = folder
        self._readers = [RunReader(folder)]

    def read(self) -> RunFacts:
        """Return the run so far.

        Raises:
            RunError: If the folder holds no run.
        """
        first = self._readers[0].read()
        ranks = range(len(self._readers), first.num_ranks)
        self._readers += [RunReader(self._folder, rank=rank) for rank in ranks]
        return merge([first, *map(_read, self._readers[1 : first.num_ranks])]) if first.num_ranks > 1 else first


def follow(run: WholeRun, console: Console, *, lang: str = "en") -> RunFacts:
    """Show a run on a terminal until it ends or the watcher interrupts; the last view stays on the screen.

    Args:
        run: The run.
        console: Where to show it; where that is no terminal only the last view is printed.
        lang: The language, `en` or `vi`.

    Returns:
        The run as it was seen last.

    Raises:
        RunError: If the folder holds no run.
    """
    facts = run.read()
    with Live(console=console, auto_refresh=False, vertical_overflow="crop", transient=True) as live:
        try:
            while facts.state == "running":
                began = time.monotonic()
                if console.is_terminal:
                    live.update(RunView(facts, lang, console.height - 1), refresh=True)
                time.sleep(max(LOOK_SECONDS, (time.monotonic() - began) / MAX_SHARE))
                facts = run.read()
        except KeyboardInterrupt:  # the watcher has seen enough; the training goes on
            pass
    print_run(facts, console, lang=lang)
    return facts


def _read(reader: RunReader) -> RunFacts | None:
    """Return what another process recorded; None if it left nothing yet."""
    try:
        return reader.read()
    except RunError:
        return None
