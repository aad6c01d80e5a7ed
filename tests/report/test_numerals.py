import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isometry.report.numerals import (
    SINGULAR,
    amount,
    column_numeral,
    counted,
    duration,
    finite,
    memory,
    numeral,
    percentage,
    power_of_ten,
    quantity,
)
from tests.report.words import written


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [
        pytest.param(4.0, "decades", "4 decades", id="several"),
        pytest.param(1.0, "decades", "1 decade", id="one"),
        pytest.param(1.5, "decades", "1.5 decades", id="more than one"),
        pytest.param(0.931, "share of units", "93.1 % (share of units)", id="a share"),
        pytest.param(1.0, "share of units", "100 % (share of units)", id="a whole share"),
        pytest.param(2.3, "loss", "loss 2.3", id="what was measured"),
        pytest.param(3.4e38, "largest number", "largest number 3.4e38", id="many digits"),
        pytest.param(0.5, "", "0.5", id="no unit"),
    ],
)
def test_a_number_is_said_with_its_unit(value: float, unit: str, words: str) -> None:
    assert quantity(value, unit) == words
    assert amount(value, unit) in words


def test_every_unit_with_a_singular_is_one_of_the_rules() -> None:
    assert set(SINGULAR) <= written()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param(0.0, "0", id="zero"),
        pytest.param(-0.0, "0", id="minus zero"),
        pytest.param(0.25, "0.25", id="short"),
        pytest.param(999.96, "1000", id="rounds up to the next power"),
        pytest.param(3072, "3072", id="counts are written out"),
        pytest.param(1e6, "1e6", id="a million"),
        pytest.param(-1.5, "-1.5", id="negative"),
        pytest.param(1e-3, "0.001", id="last plain number"),
        pytest.param(4.2789e-22, "4.28e-22", id="tiny"),
        pytest.param(math.inf, "inf", id="infinite"),
        pytest.param(math.nan, "nan", id="not a number"),
    ],
)
def test_numbers_are_written_short(value: float, text: str) -> None:
    assert numeral(value) == text


def test_a_column_keeps_its_zeros() -> None:
    assert [column_numeral(value, digits=2) for value in (0.5, 0.52, 1e-22)] == ["0.50", "0.52", "1.0e-22"]


@given(st.floats(-1e300, 1e300))
def test_what_is_written_is_close_to_the_number(value: float) -> None:
    assert float(numeral(value)) == pytest.approx(value, rel=6e-3)
    assert float(column_numeral(value, digits=3)) == pytest.approx(value, rel=6e-3)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0 s"), (0.0312, "31.2 ms"), (1.236, "1.24 s"), (119.0, "119 s"), (125.4, "2 min 5 s"), (math.inf, "inf s")],
)
def test_durations_have_the_unit_that_fits(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("num_bytes", "text"),
    [
        (17, "17 bytes"),
        (3 * 1024, "3 KiB"),
        (5 * 1024**2 + 1, "5 MiB"),
        (7 * 1024**3, "7 GiB"),
        (2 * 1024**4, "2048 GiB"),
    ],
)
def test_memory_has_binary_units(num_bytes: int, text: str) -> None:
    assert memory(num_bytes) == text


def test_small_words_are_right() -> None:
    assert percentage(0.9314) == "93.1 %"
    assert power_of_ten(-22) == "10⁻²²"
    assert (counted(1, "error"), counted(3, "error")) == ("1 error", "3 errors")
    assert (finite(None), finite(math.nan), finite(2.0)) == (None, None, 2.0)
