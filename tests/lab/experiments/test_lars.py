from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.nn import functional

from isometry._errors import DomainError
from isometry.lab.apparatus.digits import mnist_5k
from isometry.lab.experiment import Measured
from isometry.lab.experiments.lars import METHODS, LarsSettings
from isometry.lab.runner import find_experiment
from tests.lab.experiments.seeds import claims_of, measured, not_held, require_drawable, require_held

EXPERIMENT = find_experiment("lars")
TINY = LarsSettings(
    depths=(1, 2),
    width=8,
    num_train=60,
    batch_sizes=(20, 30),
    num_epochs=2,
    sgd_rates=(0.1, 0.2),
    lars_rates=(10.0,),
    adam_rates=(0.01,),
)

# Test accuracy in per cent by method: of two hidden layers and of eight, by the batch size.
SEEN = {
    "SGD": [[94.5, 94.0, 92.0], [94.2, 91.5, 82.0]],
    "linear rule": [[94.5, 80.0, 10.0], [94.2, 10.0, 10.0]],
    "LARS": [[94.8, 94.5, 92.5], [94.6, 93.3, 89.5]],
    "Adam": [[94.5, 93.9, 92.8], [94.4, 93.5, 89.7]],
}


def runs(accuracies: dict[str, list[list[float]]]) -> list[Measured]:
    """Return a measurement in which the second of three rates is the best on validation images."""
    return [
        {
            method: [
                [
                    {"rates": [0.1, 0.2, 0.4], "validation": [10.0, 20.0, 15.0], "test": [99.0, value, 99.0]}
                    for value in row
                ]
                for row in rows
            ]
            for method, rows in accuracies.items()
        }
    ]


def altered(method: str, place: int, batch: int, value: float) -> list[Measured]:
    rows = [list(row) for row in SEEN[method]]
    rows[place][batch] = value
    return runs({**SEEN, method: rows})


def test_a_small_run_has_every_rate_of_every_method_and_is_drawn() -> None:
    found = measured(EXPERIMENT, TINY, 0)

    counts = {method: [[len(run["test"]) for run in row] for row in found[0][method]] for method in METHODS}
    assert counts == {
        "SGD": [[2, 2], [2, 2]],
        "linear rule": [[1, 1], [1, 1]],
        "LARS": [[1, 1], [1, 1]],
        "Adam": [[1, 1], [1, 1]],
    }
    require_drawable(EXPERIMENT, TINY, found)


def test_the_linear_rule_takes_the_best_rate_of_small_batches_times_the_ratio() -> None:
    (found,) = measured(EXPERIMENT, TINY, 0)

    small, rule = found["SGD"][0][0], found["linear rule"][0]
    best = small["rates"][small["validation"].index(max(small["validation"]))]
    assert [run["rates"] for run in rule] == [[best], [pytest.approx(1.5 * best)]]


def test_networks_side_by_side_do_as_one_alone_in_a_plain_loop() -> None:
    (found,) = measured(EXPERIMENT, replace(TINY, warm_up=0.5), 3)
    digits, generator = mnist_5k(), torch.Generator().manual_seed(3)
    shapes = [(196, 8, 2.0), (8, 10, 1.0)]
    first, last = (
        ((gain / into) ** 0.5 * torch.randn(into, out, generator=generator)).requires_grad_()
        for into, out, gain in shapes
    )
    optimiser = torch.optim.SGD([first, last], lr=0.2, momentum=0.9)
    for epoch in range(2):
        for place, rows in enumerate(torch.randperm(60, generator=generator).split(20)):
            step = 3 * epoch + place
            optimiser.param_groups[0]["lr"] = 0.2 * min(1.0, (step + 1) / 3) * (1 - step / 6) ** 2
            optimiser.zero_grad()
            outputs = (digits.images[rows] @ first).relu() @ last
            functional.cross_entropy(outputs, digits.labels[rows]).backward()
            optimiser.step()

    test = digits[-1000:]
    hits = ((test.images @ first).relu() @ last).argmax(1) == test.labels
    assert found["SGD"][0][0]["test"][1] == pytest.approx(100 * hits.double().mean().item(), abs=0.31)  # three images


def test_a_run_is_its_seeds_alone() -> None:
    one, again, other = measured(EXPERIMENT, TINY, 0, 0, 1)

    assert one == again
    assert one != other


@pytest.mark.parametrize(
    "change", [{"depths": (2,)}, {"depths": (8, 2)}, {"batch_sizes": (100, 100)}, {"batch_sizes": (100, 5000)}], ids=str
)
def test_settings_without_two_ends_to_compare_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(DomainError):
        LarsSettings(**change)


def test_what_was_seen_holds_every_claim_by_the_rate_that_validation_chose() -> None:
    claims = claims_of("lars", runs(SEEN))

    assert len(claims) == 8
    assert not_held(claims) == []


@pytest.mark.parametrize(
    ("found", "word"),
    [
        pytest.param(altered("Adam", 1, 0, 90.0), "differ little", id="one is worse with small batches"),
        pytest.param(altered("linear rule", 1, 2, 80.0), "does not train", id="the linear rule works"),
        pytest.param(altered("SGD", 1, 2, 88.0), "in the deep network", id="SGD comes near"),
        pytest.param(altered("SGD", 0, 2, 85.0), "in the shallow one", id="LARS gains in the shallow network too"),
        pytest.param(altered("Adam", 1, 2, 85.0), "Adam does as well", id="Adam does not"),
        pytest.param(altered("Adam", 1, 2, 87.5), "Adam does as well", id="Adam lags by half of what is a gain"),
        pytest.param(altered("LARS", 1, 1, 91.0), "batches of 500", id="LARS loses at the second batch size"),
        pytest.param(altered("Adam", 1, 2, 93.5), "none of the three", id="one loses nothing"),
    ],
)
def test_each_claim_can_fail_alone(found: list[Measured], word: str) -> None:
    (refuted,) = not_held(claims_of("lars", found))

    assert word in refuted


@pytest.mark.parametrize("validation", [[30.0, 20.0, 15.0], [10.0, 20.0, 25.0]], ids=["lowest", "highest"])
def test_a_best_rate_at_an_end_of_its_grid_is_told(validation: list[float]) -> None:
    (found,) = runs(SEEN)
    run = found["LARS"][0][2]
    run["validation"], run["test"] = validation, [92.5] * 3
    (refuted,) = not_held(claims_of("lars", [found]))

    assert refuted == "every best rate lies inside its grid: at an end are: 1"


@pytest.mark.slow
def test_the_quick_preset_holds() -> None:
    require_held("lars", 0)
