"""A report says all of its words in its own language, and leaves that of everything else alone."""

from dataclasses import dataclass

import pytest
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from isometry._errors import UnknownNameError
from isometry.report.language import say
from isometry.report.spoken import SpokenReport


@dataclass(frozen=True, slots=True)
class Words(SpokenReport):
    words: tuple[str, ...]
    lang: str = "en"

    def _parts(self, options: ConsoleOptions) -> RenderResult:
        yield from (Text(say(word)[: options.max_width]) for word in self.words)


def printed(report: SpokenReport) -> list[str]:
    console = Console(width=80, color_system=None)
    with console.capture() as capture:
        console.print(report)
    return capture.get().splitlines()


@pytest.mark.parametrize(
    ("lang", "told"), [("en", ["healthy", "layer"]), ("vi", ["khoẻ mạnh", "tầng"])], ids=["English", "Vietnamese"]
)
def test_every_part_is_said_in_the_language_of_the_report(lang: str, told: list[str]) -> None:
    assert printed(Words(("healthy", "layer"), lang)) == told


def test_what_is_said_between_two_parts_is_in_its_own_language() -> None:
    console = Console(width=80)
    parts = iter(Words(("healthy", "layer"), "vi").__rich_console__(console, console.options))

    assert [str(next(parts)), say("layer"), str(next(parts))] == ["khoẻ mạnh", "layer", "tầng"]


def test_a_language_that_nobody_speaks_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="do not speak 'fr'"):
        printed(Words(("healthy",), "fr"))
