from dataclasses import replace
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from isometry.report.diagnosis import Diagnosis
from isometry.report.facts import IGNORED, LayerRow, Skipped
from isometry.report.terminal import TerminalReport, plain_text, terminal_text
from tests.report.cases import REPORTS, UNSCALED_INPUT, VANISHING, broken, diagnosis, golden_text, sigmoid_layers

GOLDEN = Path(__file__).parents[1] / "golden"
DIAGNOSES = [name for name in REPORTS if name != "report_race"]


@pytest.mark.parametrize("name", REPORTS)
def test_the_report_is_as_in_the_golden_file(name: str) -> None:
    assert golden_text(name) == (GOLDEN / f"{name}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("name", DIAGNOSES)
def test_no_line_is_wider_than_the_console(name: str, width: int, encoding: str) -> None:
    value = REPORTS[name]()
    assert isinstance(value, Diagnosis)
    text = terminal_text(value, width=width, encoding=encoding)

    assert max(map(cell_len, text.splitlines())) <= width


@pytest.mark.parametrize("name", DIAGNOSES)
def test_a_console_without_unicode_gets_ascii_alone(name: str) -> None:
    value = REPORTS[name]()
    assert isinstance(value, Diagnosis)

    assert terminal_text(value, encoding="ascii").isascii()
    assert terminal_text(replace(value, model="mạng"), encoding="cp1252").isascii()


@given(name=st.text(), width=st.integers(60, 120))
@settings(max_examples=50, deadline=None)
def test_any_name_is_printed_and_steers_nothing(name: str, width: int) -> None:
    finding = replace(UNSCALED_INPUT, where=(name,), message=name, cause=name)
    value = diagnosis(finding, model=name, layers=(LayerRow(name=name, kind=name),), warnings=(name,))
    text = terminal_text(value, width=width)

    assert "\x1b" not in text
    assert max(map(cell_len, text.splitlines())) <= width


def test_a_long_name_keeps_its_end() -> None:
    layers = (LayerRow(name="model.layers.17.self_attn.rotary.projection.of.keys", kind="linear"),)

    assert "  …rotary.projection.of.keys " in terminal_text(diagnosis(layers=layers), width=70)


@pytest.mark.parametrize(
    ("depth", "elided"), [pytest.param(24, None, id="all fit"), pytest.param(25, 2, id="one too many"), (41, 18)]
)
def test_the_middle_of_many_layers_is_left_out(depth: int, elided: int | None) -> None:
    text = terminal_text(diagnosis(layers=sigmoid_layers(depth, decades=1)))
    rows = [line for line in text.splitlines() if " linear " in line or "more layers" in line]

    assert len(rows) == 24
    assert (f"… {elided} more layers …" in text) == (elided is not None)


def test_skipped_rules_take_one_line_and_reasons_only_where_they_are_asked_for() -> None:
    value = diagnosis(skipped=(Skipped("JAC101", "there is no GPU"), Skipped("BWD101", IGNORED)))
    short = terminal_text(value)
    long = plain_text(TerminalReport(value, is_verbose=True), width=80, encoding="utf-8")

    assert "Skipped rules, --verbose says why: JAC101\nIgnored rules: BWD101" in short
    assert "no GPU" not in short
    assert "there is no GPU (JAC101)" in long
    assert f"{IGNORED} (BWD101)" in long


def test_colour_never_stands_without_a_word() -> None:
    file = StringIO()
    Console(file=file, force_terminal=True, color_system="truecolor", width=80).print(broken())

    assert "\x1b[" in file.getvalue()
    assert "✗ broken" in terminal_text(broken())
    assert "· error" in terminal_text(broken())


def test_str_prints_on_a_console_without_unicode(monkeypatch: pytest.MonkeyPatch) -> None:
    console = TextIOWrapper(BytesIO(), encoding="cp1252")
    monkeypatch.setattr("sys.stdout", console)
    text = str(broken())

    assert text.startswith("x broken")
    assert text.encode("cp1252")


@pytest.mark.parametrize(("columns", "widest"), [("60", 60), ("300", 100)])
def test_str_is_as_wide_as_the_terminal_but_not_too_wide(
    columns: str, widest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    text = str(diagnosis(replace(VANISHING, message="word " * 100)))

    assert widest - 10 < max(map(cell_len, text.splitlines())) <= widest
