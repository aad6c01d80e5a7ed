import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isometry._errors import DomainError
from isometry.theory.fans import Fans

COUNTS = st.floats(1e-3, 1e9)


@given(into=COUNTS, out=COUNTS)
def test_the_average_lies_between_the_fans_and_does_not_mind_their_order(into: float, out: float) -> None:
    average = Fans(into, out).average

    assert min(into, out) <= average <= max(into, out)
    assert average == Fans(out, into).average


@pytest.mark.parametrize("count", [0.0, -1.0, math.inf, math.nan])
@pytest.mark.parametrize("side", ["into", "out"])
def test_a_unit_without_connections_is_refused_by_the_name_of_its_fan(side: str, count: float) -> None:
    counts = {"into": 3.0, "out": 2.5, side: count}

    with pytest.raises(DomainError, match=rf"fans\.{side}="):
        Fans(**counts)
