"""What the renderables of reports have in common: all their words are in one language."""

from abc import ABC, abstractmethod

from rich.console import Console, ConsoleOptions, RenderResult

from isometry.report.language import speaking


class SpokenReport(ABC):
    """A rich renderable that says everything in its own language, and nothing else in it.

    Attributes:
        lang: The language, `en` or `vi`.
    """

    __slots__ = ()
    lang: str

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        with speaking(self.lang):
            return list(self._parts(options))  # before anything else is drawn, which may speak another

    @abstractmethod
    def _parts(self, options: ConsoleOptions) -> RenderResult:
        """Yield what is shown, from top to bottom, with its words said."""
