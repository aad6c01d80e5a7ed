from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isometry.lab.apparatus.averages import mean_curve

CURVES = st.integers(1, 5).flatmap(
    lambda length: st.lists(st.lists(st.floats(-1e9, 1e9), min_size=length, max_size=length), min_size=1, max_size=4)
)


@given(curves=CURVES)
def test_every_place_has_the_exact_mean_rounded_once_in_whatever_order_the_curves_are(
    curves: list[list[float]],
) -> None:
    exact = [float(sum(map(Fraction, column)) / len(curves)) for column in zip(*curves, strict=True)]

    assert mean_curve(curves) == pytest.approx(exact, rel=1e-15)
    assert mean_curve(reversed(curves)) == mean_curve(curves)


def test_curves_of_several_lengths_have_no_mean() -> None:
    with pytest.raises(ValueError, match="shorter"):
        mean_curve([[1.0, 2.0], [1.0]])
