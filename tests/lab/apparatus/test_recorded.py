from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isometry.lab.apparatus.recorded import doubling, spreading


@pytest.mark.parametrize(
    ("last", "steps"), [(0, [0]), (1, [0, 1]), (6, [0, 1, 2, 4, 6]), (8, [0, 1, 2, 4, 8]), (9, [0, 1, 2, 4, 8, 9])]
)
def test_steps_double_up_to_the_last(last: int, steps: list[int]) -> None:
    assert doubling(last) == steps


@given(last=st.integers(1, 100_000))
def test_no_step_is_more_than_twice_the_one_before(last: int) -> None:
    _, *steps = doubling(last)

    assert all(before < after <= 2 * before for before, after in pairwise(steps))
    assert (steps[0], steps[-1]) == (1, last)


@given(last=st.integers(1, 20_000), most=st.integers(2, 300))
def test_places_spread_from_the_first_to_the_last_and_are_no_more_than_were_asked_for(last: int, most: int) -> None:
    places = spreading(last, most)

    assert places == sorted(set(places))
    assert (places[0], places[-1]) == (0, last)
    assert len(places) <= most


def test_of_few_places_none_is_left_out() -> None:
    assert spreading(5, 100) == [0, 1, 2, 3, 4, 5]
    assert spreading(99, 3) == [0, 9, 99]
