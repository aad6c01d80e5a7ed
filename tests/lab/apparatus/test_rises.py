import math
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isometry.lab.apparatus.rises import Rise, largest_rise


@given(curve=st.lists(st.integers(-20, 20), min_size=2, max_size=12))
def test_no_pair_of_places_has_a_larger_rise(curve: list[int]) -> None:
    rise = largest_rise(curve)

    assert rise.by == max(later - earlier for earlier, later in combinations(curve, 2))
    assert rise.start < rise.end
    assert curve[rise.end] - curve[rise.start] == rise.by


def test_a_slow_rise_over_many_places_is_one_rise() -> None:
    assert largest_rise([5.0, 3.0, 4.0, 5.0, 6.0, 1.0]) == Rise(1, 4, 3.0)


@pytest.mark.parametrize("curve", [[], [1.0]])
def test_a_curve_without_two_places_has_no_rise(curve: list[float]) -> None:
    assert math.isnan(largest_rise(curve).by)
