from typing import Any

import pytest
from torch import nn

from tests.lab.on_task.tasks import claims, cnn, measure, mlp, refuted, vit


def measured(*, gradient: float = 0.1, apart: float = 0.1, theory: float | None = -0.1) -> list[dict[str, Any]]:
    """Return a network of two layers that loses so many decades in both."""
    known = {"activation": "tanh", "phase": "ordered", "depth_scale": 1.0, "gradient": theory}
    return [
        {
            "gradient": [-gradient, 0.0],
            "signal": [0.0, 0.0],
            "apart": [0.0, -apart],
            "theory": None if theory is None else known,
            "why_no_theory": "",
        }
    ]


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh, nn.Sigmoid])
def test_theory_says_what_a_plain_stack_does(activation: type[nn.Module]) -> None:
    found = measure("depth-scale", mlp(8, activation, width=128))

    assert not any("theory" in text for text in refuted("depth-scale", found))
    assert found[0]["theory"]["phase"] == "ordered"


def test_a_deep_net_of_sigmoids_is_deeper_than_its_scales() -> None:
    assert len(refuted("depth-scale", measure("depth-scale", mlp(14, nn.Sigmoid)))) == 2


def test_of_networks_beyond_theory_there_is_a_reason() -> None:
    for task, word in ((cnn(), "normalises"), (vit(), "residual")):
        found = measure("depth-scale", task, num_draws=2)

        assert word in found[0]["why_no_theory"]
        assert refuted("depth-scale", found) == []


@pytest.mark.parametrize(
    ("found", "word"),
    [
        pytest.param(measured(gradient=4.5, theory=-4.5), "of its gradient", id="gradient"),
        pytest.param(measured(apart=4.5), "apart", id="examples"),
        pytest.param(measured(theory=-0.4), "theory", id="theory"),
    ],
)
def test_a_claim_that_the_numbers_refute_is_not_held(found: list[dict[str, Any]], word: str) -> None:
    (told,) = refuted("depth-scale", found)

    assert word in told


def test_what_is_not_known_makes_no_claim() -> None:
    (unknown,) = measured(theory=None)

    assert len(claims("depth-scale", [{**unknown, "apart": []}])) == 1
