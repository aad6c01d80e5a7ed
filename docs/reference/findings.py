"""Writes the reference page of the findings from the rules' docstrings and their example programs.

Run: python docs/reference/findings.py
"""

from pathlib import Path

from isometry.findings.explanation import Page, pages

PAGE = Path(__file__).with_name("findings.md")
HEAD = """# Findings

What `isometry check`, `isometry audit` and `isometry.watch` report, by code: made of the rules' own pages by `python
docs/reference/findings.py`, and what `isometry explain CODE` prints. Thresholds are set in the
[settings](../how-to/settings.md).
"""


def text() -> str:
    """Return the page as it should be."""
    return HEAD + "".join(map(_section, pages()))


def _section(page: Page) -> str:
    heading = f"\n## {page.code} {page.name}\n\n{page.title} Severity: {page.severity}.\n\n"
    body = _body(page)
    if (twin := page.while_training) is not None:
        body += f"\n### {page.code} while training\n\n{twin.title} Severity: {twin.severity}.\n\n{_body(twin)}"
    return f"{heading}{body}\n```text\n{page.example}\n```\n"


def _body(page: Page) -> str:
    parts = "\n".join(f"**{part}.** {words}\n" for part, words in page.parts.items())
    bounds = ", ".join(f"`{name} = {value:g}`" for name, value in page.thresholds.items())
    return parts + (f"\n**Thresholds.** {bounds}\n" if bounds else "")


if __name__ == "__main__":
    PAGE.write_text(text(), encoding="utf-8")
