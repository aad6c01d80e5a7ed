import dataclasses

import pytest

from isometry.findings import RULES
from isometry.probes.linearity import Linearity, LinearPair

INSIDE = LinearPair("1", "2", is_redundant=True, is_inside=True)
AT_AN_END = LinearPair("2", "3", is_redundant=True, is_inside=False)
NARROW = LinearPair("1", "2", is_redundant=False, is_inside=True)
PLAIN = Linearity((INSIDE,), 4, is_affine=False, narrows=False, has_activation=True, is_plain=True, has_offsets=True)


def replaced(**changes: object) -> Linearity:
    return dataclasses.replace(PLAIN, **changes)  # pyright: ignore[reportArgumentType] - names and values of the table


@pytest.mark.parametrize(
    ("linearity", "severities"),
    [
        pytest.param(PLAIN, ["warning"], id="one missing in a plain stack"),
        pytest.param(replaced(pairs=()), [], id="none missing"),
        pytest.param(replaced(pairs=(NARROW,)), [], id="a low-rank pair"),
        pytest.param(replaced(pairs=(AT_AN_END,)), ["note"], id="a projection at an end"),
        pytest.param(replaced(pairs=(AT_AN_END,), num_hidden=2), ["note"], id="half of the gaps"),
        pytest.param(replaced(pairs=(AT_AN_END, AT_AN_END), num_hidden=3), ["warning"], id="most of the gaps"),
        pytest.param(replaced(pairs=(NARROW, AT_AN_END), num_hidden=3), ["note"], id="most of them low-rank pairs"),
        pytest.param(replaced(pairs=(AT_AN_END,), has_activation=False), ["warning"], id="pools alone are nonlinear"),
        pytest.param(replaced(is_plain=False), ["note"], id="beside branches or attention"),
        pytest.param(replaced(has_offsets=False), ["note"], id="without biases"),
        pytest.param(replaced(is_affine=True), ["error"], id="linear throughout"),
        pytest.param(replaced(is_affine=True, has_time=True), ["note"], id="a linear recurrence"),
        pytest.param(replaced(is_affine=True, has_waste=True), ["note"], id="the nonlinear part is thrown away"),
        pytest.param(replaced(is_affine=True, has_offsets=False), ["note"], id="a deep linear network by intent"),
        pytest.param(replaced(is_affine=True, pairs=(NARROW,), narrows=True), ["note"], id="a linear autoencoder"),
        pytest.param(replaced(is_affine=True, pairs=(NARROW,)), ["error"], id="linear through kernels and matrices"),
        pytest.param(replaced(is_affine=True, pairs=()), [], id="layers side by side"),
    ],
)
def test_what_is_missing_decides_on_the_severity(linearity: Linearity, severities: list[str]) -> None:
    assert [draft.severity for draft in RULES["FWD106"](linearity)] == severities


def test_the_redundant_layers_are_named_in_order() -> None:
    (draft,) = RULES["FWD106"](replaced(pairs=(INSIDE, NARROW, AT_AN_END)))

    assert draft.where == ("1", "2", "3")
    assert draft.measured == pytest.approx(3 / 4)
