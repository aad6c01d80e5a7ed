"""Writes the reference page of the findings from the rules' docstrings and their example programs.

Run: python docs/reference/findings.py
"""

from pathlib import Path

from isometry.findings.explanation import Page, pages

PAGE = Path(__file__).with_name("findings.md")
HEAD = """# Findings

What `isometry check` and `isometry audit` report, by code: made of the rules' own pages by `python
docs/reference/findings.py`, and what `isometry explain CODE` prints. Thresholds are set in the
[settings](../how-to/settings.md).
"""


def text() -> str:
    """Return the page as it should be."""
    return HEAD + "".join(map(_section, pages()))


def _section(page: Page) -> str:
    parts = "\n".join(f"**{part}.** {words}\n" for part, words in page.parts.items())
    bounds = ", ".join(f"`{name} = {value:g}`" for name, value in page.thresholds.items())
    thresholds = f"\n**Thresholds.** {bounds}\n" if bounds else ""
    heading = f"\n## {page.code} {page.name}\n\n{page.title} Severity: {page.severity}.\n\n"
    return f"{heading}{parts}{thresholds}\n```text\n{page.example}\n```\n"


if __name__ == "__main__":
    PAGE.write_text(text(), encoding="utf-8")
