from dataclasses import replace
from typing import Any

import pytest
from torch import nn

from isometry._errors import NotApplicableError
from tests.lab.on_task.tasks import claims, cnn, measure, mlp, refuted


def measured(*, signal: float = 0.0, gradient: float = 0.0) -> list[dict[str, Any]]:
    """Return a course that changes by so much from the first layer to the last, decades of the root mean square."""
    own = {"signal": [0.0, signal], "gradient": [-gradient, 0.0], "apart": [], "why_not": ""}
    return [{"courses": {"own": own}, "weights": {"layers": ["0.weight"], "fan_in": [1.0], "fan_out": [1.0]}}]


def test_the_products_of_variance_and_fans_are_those_of_torchs_default() -> None:
    (found,) = measure("xavier", mlp(3, width=64), starts=("own",))

    assert found["weights"]["fan_in"] == pytest.approx([1 / 3] * 4, rel=0.1)
    assert found["weights"]["fan_out"] == pytest.approx([1 / 3, 1 / 3, 1 / 3, 10 / 64 / 3], rel=0.1)


def test_he_keeps_through_relu_what_xavier_halves() -> None:
    (found,) = measure("xavier", mlp(8, width=128))
    lost = {start: each["gradient"][0] * 2 / 7 for start, each in found["courses"].items()}

    assert lost["glorot-normal"] == pytest.approx(-0.30, abs=0.1)
    assert lost["he-normal"] == pytest.approx(0.0, abs=0.1)


def test_convolutions_hold() -> None:
    assert refuted("xavier", measure("xavier", cnn())) == []


@pytest.mark.parametrize(
    ("found", "word"),
    [
        pytest.param(measured(signal=-4.5), "signal", id="signal falls"),
        pytest.param(measured(signal=4.5), "signal", id="signal rises"),
        pytest.param(measured(gradient=4.5), "gradient", id="gradient falls"),
        pytest.param(measured(gradient=-4.5), "gradient", id="gradient rises"),
    ],
)
def test_a_change_beyond_the_rules_is_not_held(found: list[dict[str, Any]], word: str) -> None:
    (told,) = refuted("xavier", found)

    assert word in told


def test_without_the_own_start_there_is_no_claim() -> None:
    assert claims("xavier", measured(), starts=("he-normal",)) == ()


def test_pretrained_weights_are_not_drawn_anew() -> None:
    task = replace(mlp(3, nn.Tanh), is_fresh=False)

    with pytest.raises(NotApplicableError, match="pretrained"):
        measure("xavier", task)
