"""The signs of the terminal reports, in Unicode and in ASCII, and names made safe to print with them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from rich.box import Box
from rich.cells import cell_len
from rich.text import Text

from isometry._console import printable

MIN_TAIL = 2  # cells; below this a shortened name says nothing


@dataclass(frozen=True, slots=True)
class Glyphs:
    """One set of signs.

    Attributes:
        signs: Sign of each verdict and severity, and of what still runs; a word always stands beside it.
        steps: Blocks of a bar from the thinnest to the full one.
        ellipsis: What stands for something left out.
        missing: What stands for a number that was not measured.
        arrow: What stands between a layer's two fans.
        dot: What separates facts on one line.
        line: What the underlines of headings are made of.
        is_ascii: Whether text must be reduced to ASCII.
    """

    signs: Mapping[str, str]
    steps: str
    ellipsis: str
    missing: str
    arrow: str
    dot: str
    line: str
    is_ascii: bool

    def text(self, text: str, style: str = "") -> Text:
        """Return words of a user or a rule on one line, never read as markup and free of control characters."""
        return Text(self.printable(text), style=style)

    def printable(self, text: str) -> str:
        """Return the words with line breaks as spaces and with what the console cannot show as escapes."""
        plain = printable(text)
        return plain.encode("ascii", "backslashreplace").decode("ascii") if self.is_ascii else plain

    def shortened(self, name: str, width: int) -> str:
        """Return the end of a name that fits into `width` cells; a layer's last parts tell it from its neighbours."""
        printable_name = self.printable(name)
        if cell_len(printable_name) <= width:
            return printable_name
        tail = printable_name
        while tail and cell_len(self.ellipsis + tail) > width:
            tail = tail[1:]
        return self.ellipsis + tail if len(tail) >= MIN_TAIL else printable_name[:width]

    def cut(self, text: str, width: int) -> str:
        """Return the beginning of a sentence that fits into `width` cells."""
        if cell_len(text) <= width:
            return text
        head = text
        while head and cell_len(head + self.ellipsis) > width:
            head = head[:-1]
        return head.rstrip() + self.ellipsis

    def head_line(self) -> Box:
        """Return a table without borders but for one line below its header."""
        blank = "    \n"
        return Box(f"{blank}{blank} {2 * self.line} \n{5 * blank}", ascii=self.is_ascii)

    def bar(self, share: float, width: int) -> str:
        """Return a bar that fills `share` in [0, 1] of `width` cells; a positive share is never empty."""
        fine = len(self.steps)
        eighths = max(1, math.floor(share * width * fine + 0.5)) if share > 0 else 0
        full, rest = divmod(eighths, fine)
        return self.steps[-1] * full + (self.steps[rest - 1] if rest else "")


UNICODE = Glyphs(
    signs={"broken": "✗", "at-risk": "!", "healthy": "✓", "error": "✗", "warning": "!", "note": "·", "running": "▸"},
    steps="▏▎▍▌▋▊▉█",
    ellipsis="…",
    missing="–",
    arrow="→",
    dot="·",
    line="─",
    is_ascii=False,
)
ASCII = Glyphs(
    signs={"broken": "x", "at-risk": "!", "healthy": "+", "error": "x", "warning": "!", "note": "-", "running": ">"},
    steps="#",
    ellipsis="...",
    missing="-",
    arrow=">",
    dot="|",
    line="-",
    is_ascii=True,
)
STYLES = {
    "broken": "bold red",
    "at-risk": "bold yellow",
    "healthy": "bold green",
    "error": "bold red",
    "warning": "bold yellow",
    "note": "bold cyan",
    "running": "bold cyan",
}


def glyphs_for(encoding: str) -> Glyphs:
    """Return the signs that a console of this encoding can show."""
    return UNICODE if encoding.lower().startswith("utf") else ASCII
