import re
from pathlib import Path

import pytest

from isometry.findings import RULES
from isometry.lab.experiment import EXPERIMENTS
from isometry.lab.runner import load_experiments

PAGES = Path(__file__).parents[2] / "docs" / "lab"
INDEX = PAGES / "README.md"
MAX_PICTURE_BYTES = 100_000
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")
CODE = re.compile(r"\b[A-Z]{3}[0-9]{3}\b")

load_experiments()
NAMES = sorted(EXPERIMENTS)


def rows(heading: str) -> list[str]:
    """Return the rows of the table under a heading of the index."""
    section = INDEX.read_text(encoding="utf-8").split(f"## {heading}\n")[1].split("\n## ")[0]
    return [line for line in section.splitlines() if line.startswith("|")][2:]


@pytest.mark.parametrize("name", NAMES)
def test_every_experiment_has_a_page_with_its_command_picture_and_claims(name: str) -> None:
    page = (PAGES / f"{name}.md").read_text(encoding="utf-8")

    assert f"isometry lab run {name}\n" in page
    assert f"({name}.svg)" in page
    assert "## What must hold\n\n| claim | range | " in page
    assert "`--preset paper`" in " ".join(page.split())


@pytest.mark.parametrize("name", NAMES)
def test_every_picture_is_small_and_is_an_svg(name: str) -> None:
    picture = PAGES / f"{name}.svg"

    assert picture.stat().st_size < MAX_PICTURE_BYTES
    assert picture.read_text(encoding="utf-8").startswith("<svg")


@pytest.mark.parametrize("name", NAMES)
def test_a_page_that_tells_of_a_second_picture_shows_it(name: str) -> None:
    page = (PAGES / f"{name}.md").read_text(encoding="utf-8")

    assert page.count("![") >= (2 if "The second picture" in page or "the second picture is" in page else 1)


def test_the_index_has_a_row_for_every_experiment_and_no_other() -> None:
    assert sorted(re.findall(r"^\| \[([a-z-]+)\]", "\n".join(rows("Experiments")), re.MULTILINE)) == NAMES


def test_each_of_the_textbooks_claims_is_answered_by_an_experiment() -> None:
    claims = rows("The textbook's claims")

    assert [int(row.split(".")[0].removeprefix("| ")) for row in claims] == list(range(1, 14))
    for row in claims:
        assert set(re.findall(r"\(([a-z-]+)\.md\)", row)) & set(NAMES), row


def test_the_codes_of_the_index_are_those_of_rules() -> None:
    codes = set(CODE.findall(INDEX.read_text(encoding="utf-8")))

    assert codes
    assert codes <= set(RULES)


@pytest.mark.parametrize("page", sorted(PAGES.glob("*.md")), ids=lambda page: page.name)
def test_links_of_the_labs_pages_lead_somewhere(page: Path) -> None:
    broken = [link for link in LINK.findall(page.read_text(encoding="utf-8")) if not (page.parent / link).exists()]

    assert broken == []
