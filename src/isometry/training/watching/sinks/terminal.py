"""Shows a watched run on the terminal while it happens."""

import sys
import time
from typing import final

from rich.console import Console
from rich.live import Live
from rich.text import Text

from isometry._console import printable
from isometry.probes.running.readings import Evaluation, Reading
from isometry.report.language import catalogue, say, speaking
from isometry.report.run.facts import RunFacts
from isometry.report.run.view import RunView
from isometry.report.run.words import evaluation_sentence, headline_words, tally_words
from isometry.training.watching.account import Account, Start
from isometry.training.watching.announce import Announcer
from isometry.training.watching.sink import Entry

REFRESH_SECONDS = 0.25  # between two views, at least
MAX_SHARE = 0.02  # of the time that may go into views; a large model's view is drawn more seldom
LINE_SECONDS = 30.0  # between two lines about the progress, where there is no terminal


@final
class Terminal:
    """A sink that keeps a live view on the error stream; where that is no terminal it prints a line now and then.

    What the program prints itself appears above the view. Standard output that goes to a file or a pipe is left alone.

    Args:
        lang: The language, `en` or `vi`.
        console: Where to show it; the error stream if none is given.

    Raises:
        UnknownNameError: If reports do not speak the language.
    """

    is_view = True

    def __init__(self, *, lang: str = "en", console: Console | None = None) -> None:
        catalogue(lang)
        self._lang = lang
        self._given = console
        self._console = console or Console(stderr=True)
        self._lines = Announcer(console)
        self._live: Live | None = None
        self._account: Account | None = None
        self._next = 0.0

    def start(self, facts: RunFacts) -> None:
        """Begin the view."""
        self._console = self._given or Console(stderr=True)  # made now: the stream may have been replaced
        self._lines = Announcer(self._given or Console(stderr=True, soft_wrap=True))
        self._account = Account(_start_of(facts), steps=facts.steps)
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            self._live = Live(
                self._view(facts),
                console=self._console,
                auto_refresh=False,
                redirect_stdout=sys.stdout.isatty(),
                redirect_stderr=sys.stderr.isatty(),
                vertical_overflow="crop",
            )
            self._live.start(refresh=True)
        else:
            self._print_progress(facts)

    def write(self, entry: Entry) -> None:
        """Take one entry in, and show it if it is time."""
        assert self._account is not None, "a run starts its sinks first"
        self._account.add(entry)
        if self._live is None:
            self._print(entry)
        elif time.monotonic() >= self._next:
            began = time.monotonic()
            self._live.update(self._view(self._account.facts()), refresh=True)
            now = time.monotonic()
            self._next = now + max(REFRESH_SECONDS, (now - began) / MAX_SHARE)

    def close(self, facts: RunFacts) -> None:
        """Leave the last view on the screen, whole."""
        if self._live is None:
            self._print_progress(facts)
            return
        self._live.update(RunView(facts, self._lang))
        self._live.stop()
        self._live = None

    def _view(self, facts: RunFacts) -> RunView:
        return RunView(facts, self._lang, self._console.height - 1)

    def _print(self, entry: Entry) -> None:
        assert self._account is not None, "a run starts its sinks first"
        with speaking(self._lang):
            match entry:
                case Reading():
                    if time.monotonic() >= self._next:
                        self._print_progress(self._account.facts())
                case Evaluation():
                    self._print_line(evaluation_sentence(entry))
                case _:
                    self._lines.write(entry)

    def _print_progress(self, facts: RunFacts) -> None:
        self._next = time.monotonic() + LINE_SECONDS
        with speaking(self._lang):
            words = [*headline_words(facts), *([say(facts.reason)] if facts.reason else [])]
            if facts.state != "running":
                words.extend(tally_words(facts))
            self._print_line(", ".join(words))

    def _print_line(self, words: str) -> None:
        self._console.print(Text(printable(words)), soft_wrap=True)


def _start_of(facts: RunFacts) -> Start:
    return Start(
        name=facts.name,
        model=facts.model,
        optimizer=facts.optimizer,
        every=facts.every,
        versions=facts.versions,
        step=facts.steps,
        num_ranks=facts.num_ranks,
    )
