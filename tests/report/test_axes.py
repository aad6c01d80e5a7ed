import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isometry.report.axes import MAX_LABELS, Axis, counting_axis, linear_axis, logarithmic_axis, loss_axis, share_axis

ANYTHING = st.lists(st.none() | st.floats(), max_size=8)
AXES = [logarithmic_axis, linear_axis, loss_axis]


def labels(axis: Axis) -> list[str]:
    return [tick.label for tick in axis.ticks]


@pytest.mark.parametrize("make", AXES)
@given(values=ANYTHING)
def test_every_number_is_on_the_axis_or_has_no_place(make: type[Axis], values: list[float | None]) -> None:
    axis = make(values)
    shares = [share for share in map(axis.share, values) if share is not None]

    assert all(-1e-9 <= share <= 1 + 1e-9 for share in shares)
    assert all(-1e-9 <= tick.share <= 1 + 1e-9 for tick in axis.ticks)
    assert 1 <= len(axis.ticks) <= MAX_LABELS + 2


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param([0.5], ["10⁻³", "10⁻²", "10⁻¹", "10⁰", "10¹"], id="one value has at least four decades"),
        pytest.param([1e-22, 1e-3], ["10⁻²⁰", "10⁻¹⁵", "10⁻¹⁰", "10⁻⁵"], id="long falls are labelled every fifth"),
        pytest.param([], ["10⁻²", "10⁻¹", "10⁰", "10¹", "10²"], id="nothing"),
    ],
)
def test_decades_are_labelled(values: list[float | None], expected: list[str]) -> None:
    assert labels(logarithmic_axis(values)) == expected


@pytest.mark.parametrize("value", [None, 0.0, -1.0, math.nan, math.inf])
def test_what_has_no_logarithm_has_no_place(value: float | None) -> None:
    assert logarithmic_axis([1.0]).share(value) is None


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param([2.303, 0.277], ["0", "0.5", "1", "1.5", "2", "2.5"], id="losses start at zero"),
        pytest.param([-3.0, 1.0], ["-3", "-2", "-1", "0", "1"], id="negative losses"),
        pytest.param([0.0], ["0", "0.2", "0.4", "0.6", "0.8", "1"], id="all zero"),
        pytest.param([-2.0], ["-2", "-1.5", "-1", "-0.5", "0"], id="one negative loss"),
    ],
)
def test_linear_axes_have_round_ends(values: list[float | None], expected: list[str]) -> None:
    assert labels(linear_axis(values)) == expected


def test_losses_over_many_decades_go_by_the_logarithm() -> None:
    assert loss_axis([110.0, 0.3]).is_logarithmic
    assert not loss_axis([2.3, 0.3]).is_logarithmic
    assert not loss_axis([110.0, 0.0]).is_logarithmic


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        pytest.param(1, 30, ["1", "10", "20", "30"], id="thirty layers"),
        pytest.param(1, 11, ["1", "4", "6", "8", "11"], id="no two labels touch"),
        pytest.param(0, 200, ["0", "50", "100", "150", "200"], id="steps"),
        pytest.param(1, 1, ["1"], id="one layer"),
        pytest.param(1, 2, ["1", "2"], id="two layers"),
    ],
)
def test_counts_are_labelled_at_both_ends(first: int, last: int, expected: list[str]) -> None:
    assert labels(counting_axis(first, last)) == expected


def test_shares_go_from_0_to_100_percent() -> None:
    assert labels(share_axis()) == ["0 %", "25 %", "50 %", "75 %", "100 %"]
