"""The page of outcomes: one file, everything escaped, pictures in the page's own ink."""

import re
from dataclasses import replace

import pytest

from isometry._phrases import Phrase
from isometry.lab.experiment import Claim
from isometry.lab.figure import Figure, Series
from isometry.lab.showing.drawing import INK
from isometry.lab.showing.page import outcome_page
from tests.lab.invented import InventedSettings
from tests.lab.showing.outcomes import STUDY, outcome, record


def test_a_page_loads_nothing_and_escapes_every_word() -> None:
    pytest.importorskip("matplotlib", reason="needs the extra: pip install 'isometry[plots]'")
    page = outcome_page([outcome(record(0), record(1, value=3.0))])

    assert not re.findall(r"(?:src|href)=\"(?!#)", page)
    assert "<b>" not in page
    assert 'aria-label="Values &amp; seeds"' in page
    assert "first" in page
    assert "2 seeds, 3 s of work." in page


def test_a_picture_follows_the_page_from_light_to_dark() -> None:
    pytest.importorskip("matplotlib", reason="needs the extra: pip install 'isometry[plots]'")
    page = outcome_page([outcome(record(0))])
    picture = page[page.index("<svg") : page.index("</svg>")]

    assert "var(--ink)" in picture
    assert "fill: var(--paper)" in picture
    assert INK not in picture


def test_a_picture_speaks_the_language_of_the_page() -> None:
    pytest.importorskip("matplotlib", reason="needs the extra: pip install 'isometry[plots]'")
    figure = Figure(key="courses", title="Gradient by layer", x_axis="layer", y_axis="root mean square, decades")
    page = outcome_page([replace(outcome(record(0)), figures=(figure,))], lang="vi")

    assert 'aria-label="Gradient theo tầng"' in page
    assert ">RMS, bậc mười<" in page
    assert "Gradient by layer" not in page


def test_the_words_of_a_traceback_keep_their_lines() -> None:
    page = outcome_page([outcome(record(0, error="Traceback:\n  File <x>\nValueError: 1 < 2\n"))])

    assert "Traceback:\n  File &lt;x&gt;\nValueError: 1 &lt; 2\n</pre>" in page
    assert "No seed ended well, so nothing was judged." in page
    assert "<table" in page  # of the settings alone
    assert page.count("<table") == 1


def test_several_outcomes_begin_with_a_list_that_leads_to_each() -> None:
    both = [outcome(record(0)), replace(outcome(record(0)), study=replace(STUDY, settings=InventedSettings(width=9)))]
    page = outcome_page(both)

    assert '<a href="#outcome-0">first</a>' in page
    assert '<a href="#outcome-1">first --set width=9</a>' in page
    assert 'id="outcome-1"' in page
    assert "<code>--set width=9</code>" in page


def test_a_claim_says_what_was_measured_in_its_unit_and_range() -> None:
    claims = (
        Claim(text=Phrase("its value is small"), measured=float("nan"), low=0.0, high=0.5, unit="decades"),
        Claim(text=Phrase("its value is small"), measured=1.0, low=0.5, unit="decades"),
        Claim(text=Phrase("its value is small"), measured=30.0, unit="%"),
    )
    page = outcome_page([replace(outcome(record(0)), claims=claims, figures=())])
    cells = re.findall(r"<td>([^<]*)</td>", page)[:9]

    assert cells == ["not held", "nan decades", "0 to 0.5", "held", "1 decade", "at least 0.5", "held", "30 %", ""]
    assert "2 of 3 claims held." in page


def test_a_page_says_when_and_with_what_it_was_measured_and_what_was_set() -> None:
    of_day = replace(record(0), started=86_400.0, environment={"versions": {"torch": "2.9.0"}})
    page = outcome_page([replace(outcome(of_day, record(3)), figures=())])

    assert f"Measured on 1970-01-01, 1970-01-02 with isometry {STUDY.version}, torch 2.9.0; seeds 0, 3." in page
    assert "<td>4,4;8</td>" in page
    assert ">inner.rates<" in page


def test_a_figure_without_anything_to_draw_is_still_drawn() -> None:
    pytest.importorskip("matplotlib", reason="needs the extra: pip install 'isometry[plots]'")
    empty = Figure(key="none", title="Nothing", x_axis="", y_axis="", series=(Series(name="none", x=[], y=[]),))
    page = outcome_page([replace(outcome(record(0)), figures=(empty,))])

    assert 'aria-label="Nothing"' in page
