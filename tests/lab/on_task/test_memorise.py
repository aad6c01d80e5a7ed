from typing import Any

import pytest

from tests.lab.on_task.tasks import measure, mlp, refuted, regression


def measured(*, true: int = 10, random: int = 40, is_fitted: bool = True) -> list[dict[str, Any]]:
    """Return courses of so many epochs."""
    last = 1.0 if is_fitted else 0.5
    return [
        {
            "kind": "classes",
            "meaning": "",
            "true": {"fits": [0.0] * true + [last], "is_fitted": is_fitted},
            "random": {"fits": [0.0] * random + [0.9], "is_fitted": False},
        }
    ]


def test_true_targets_are_fitted_sooner_than_random_ones() -> None:
    (found,) = measure("memorise", mlp(count=300), max_epochs=60)

    assert found["true"]["is_fitted"]
    assert len(found["true"]["fits"]) < len(found["random"]["fits"])
    assert refuted("memorise", [found]) == []


def test_numbers_are_fitted_too() -> None:
    (found,) = measure("memorise", regression(count=60), max_epochs=3)

    assert found["kind"] == "numbers"


@pytest.mark.parametrize(
    ("found", "count"),
    [
        pytest.param(measured(), 0, id="random ones take at least so long"),
        pytest.param(measured(random=12), 1, id="random ones are as quick"),
        pytest.param(measured(is_fitted=False), 2, id="not even true ones are fitted"),
    ],
)
def test_claims_follow_the_epochs(found: list[dict[str, Any]], count: int) -> None:
    assert len(refuted("memorise", found)) == count
