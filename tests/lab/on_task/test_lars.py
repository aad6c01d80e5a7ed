from typing import Any

import pytest

from tests.lab.on_task.tasks import cnn, measure, mlp, refuted

SMALL = {"rates": (0.01, 0.1), "lars_rates": (3.0, 30.0), "large_batch": 100, "num_epochs": 3}


def measured(*, small: float = 95.0, large: float = 94.0, lars: float = 94.0) -> list[dict[str, Any]]:
    return [{"small": [10.0, small], "large": [large, 10.0], "lars": [lars], "num_held_out": 10_000}]


def test_each_rate_of_each_optimiser_has_an_accuracy() -> None:
    for task in (mlp(), cnn()):
        found = dict(*measure("lars", task, **SMALL))

        assert found.pop("num_held_out") == 80
        assert {name: len(values) for name, values in found.items()} == {"small": 2, "large": 2, "lars": 2}
        assert max(found["small"]) > 60


@pytest.mark.parametrize(
    ("found", "word"),
    [
        pytest.param(measured(lars=80.0), "LARS", id="lars is behind"),
        pytest.param(measured(large=80.0, lars=80.0), "small ones", id="large batches are"),
    ],
)
def test_a_claim_that_the_numbers_refute_is_not_held(found: list[dict[str, Any]], word: str) -> None:
    (told,) = refuted("lars", found)

    assert word in told


def test_the_best_rates_are_compared() -> None:
    assert refuted("lars", measured()) == []
