import re
from dataclasses import replace
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from isometry.probes.running.readings import Evaluation
from isometry.report.run.facts import Event, RunFacts
from isometry.report.run.view import RunView, run_text
from tests.report.run.cases import BACK, DYING, GOLDEN, RUNS, SPIKE, golden_run, run, troubled
from tests.report.test_vietnamese import untranslated
from tests.report.words import asked

FOLDER = Path(__file__).parents[2] / "golden"


def lines_at(facts: RunFacts, height: int) -> list[str]:
    """Return the lines of a live view on a screen of this height."""
    console = Console(file=TextIOWrapper(BytesIO(), encoding="utf-8"), width=80, color_system=None)
    with console.capture() as capture:
        console.print(RunView(facts, height=height))
    return capture.get().splitlines()


@pytest.mark.parametrize("name", GOLDEN)
def test_the_view_is_as_in_the_golden_file(name: str) -> None:
    assert golden_run(name) == (FOLDER / f"{name}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("lang", ["en", "vi"])
@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
@pytest.mark.parametrize("name", RUNS)
def test_no_line_is_wider_than_the_console_and_no_number_is_cut(name: str, width: int, lang: str) -> None:
    facts = RUNS[name]()
    text = run_text(facts, width=width, lang=lang)
    layers = text.rpartition("\n\n")[-1]

    assert max(map(cell_len, text.splitlines())) <= width
    assert not re.search(r"\w…", layers), "a heading or a number is cut"


@pytest.mark.parametrize("name", RUNS)
def test_a_console_without_unicode_gets_ascii_alone(name: str) -> None:
    assert run_text(RUNS[name](), encoding="ascii").isascii()


@given(name=st.text(), width=st.integers(60, 120))
@settings(max_examples=40, deadline=None)
def test_any_name_is_printed_and_steers_nothing(name: str, width: int) -> None:
    facts = run(steps=30, depth=2, name=lambda number: f"{name}.{number}")
    finding = replace(DYING, where=(name,), cause=name, name=name)
    facts = replace(
        facts,
        name=name,
        model=name,
        reason=name,
        events=(Event(step=3, finding=finding),),
        faults=(replace(BACK, step=2, operation=name, where=name, reason=name),),
        evaluations=(Evaluation(step=20, metrics={name: 1.0}),),
    )
    text = run_text(facts, width=width)

    assert "\x1b" not in text
    assert max(map(cell_len, text.splitlines())) <= width


def test_what_happened_stands_with_the_newest_first_and_is_marked_below_the_loss() -> None:
    text = run_text(troubled())
    steps = [text.index(f"step {step}  ") for step in (900, 700, 640, 500, 240)]
    signs = next(line for line in text.splitlines() if line.split() == ["·", "✗", "✗", "!", "·"])

    assert steps == sorted(steps)
    assert signs.index("·") < signs.index("✗") < signs.index("!")


def test_older_incidents_take_one_line_and_the_oldest_are_counted() -> None:
    events = tuple(Event(step=step, finding=replace(SPIKE, cause=f"cause {step}")) for step in range(1, 31))
    text = run_text(replace(run(), events=events))

    assert text.count("    cause ") == 3
    assert "cause 30" in text
    assert "cause 27" not in text
    assert "step 19  TRN106" in text
    assert "step 18  TRN106" not in text
    assert "and 18 more" in text


def test_a_fault_and_the_event_about_it_are_told_once() -> None:
    event = Event(step=BACK.step, finding=replace(DYING, code="NUM101", name="nan-inf"))
    text = run_text(replace(run(), events=(event,), faults=(BACK,)))

    assert text.count("step 700") == 1
    assert "! step 700  NUM101 nan-inf" in text
    assert "done     training went back to step 600" in text


@pytest.mark.parametrize("height", [24, 40, 60])
def test_a_live_view_of_many_layers_stays_on_its_screen(height: int) -> None:
    lines = lines_at(replace(run(depth=200, steps=100)), height)

    assert len(lines) <= height
    assert any("more" in line for line in lines)


def test_layers_that_an_event_names_stay_where_others_are_counted() -> None:
    facts = run(depth=300, steps=100)
    finding = replace(DYING, where=("layers.260.weight", "layers.300"))
    text = run_text(replace(facts, events=(Event(step=50, finding=finding),)))

    assert "✗ layers.260" in text
    assert "✗ layers.300" in text
    assert "  layers.262" not in text


def test_every_word_of_the_view_is_translated() -> None:
    with asked() as found:
        for name in RUNS:
            run_text(RUNS[name](), lang="vi")

    assert "Events, newest first" in found
    assert untranslated(found) == []
