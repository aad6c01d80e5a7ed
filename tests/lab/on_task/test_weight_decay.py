from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from isometry._errors import DomainError, NotApplicableError
from isometry.lab.on_task.weight_decay import OwnWeightDecaySettings
from tests.lab.on_task.tasks import claims, measure, mlp, refuted


def momentum(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    weights, biases = [], []
    for parameter in parameters:
        (weights if parameter.ndim > 1 else biases).append(parameter)
    return torch.optim.SGD([{"params": weights, "weight_decay": 0.1}, {"params": biases}], lr=0.05)


def measured(
    *, train: Sequence[float] = (100.0,) * 6, held_out: Sequence[float] = (95.0,) * 6, typical: float = 0.1
) -> dict[str, Any]:
    """Return accuracies by decay, of so many examples that they are no noise."""
    counts = {"num_train": 100_000, "num_held_out": 100_000}
    return {"train": list(train), "held_out": list(held_out), "typical": typical, **counts}


class NoDecay(torch.optim.Optimizer):
    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        super().__init__(parameters, {"lr": 0.1})


def test_a_huge_decay_keeps_from_fitting_and_a_typical_one_does_not() -> None:
    (found,) = measure("weight-decay", mlp(), decays=(0.0, 0.01, 100.0), num_epochs=24)

    assert found["train"][2] < 50
    assert found["train"][1] > 90
    assert refuted("weight-decay", [found], decays=(0.0, 0.01, 100.0)) == []


def test_the_tasks_own_optimiser_decays_where_it_decayed() -> None:
    task = replace(mlp(), optimizer_factory=momentum)

    (found,) = measure("weight-decay", task, decays=(0.0, 10.0), num_epochs=4)

    assert found["train"][1] < found["train"][0]


def test_an_optimiser_without_decay_is_refused() -> None:
    with pytest.raises(NotApplicableError, match="NoDecay has no weight_decay"):
        measure("weight-decay", replace(mlp(), optimizer_factory=NoDecay), num_epochs=1)


def test_a_typical_decay_that_costs_fit_is_told() -> None:
    found = [measured(train=(100.0, 100.0, 100.0, 97.0, 90.0, 10.0))]

    (told,) = refuted("weight-decay", found)
    assert "no limit" in told


def test_a_decay_that_is_worth_much_is_told() -> None:
    found = [measured(held_out=(78.0, 78.0, 79.0, 80.0, 88.0, 10.0))]

    (told,) = refuted("weight-decay", found)
    assert "worth much" in told


def test_without_typical_decays_there_is_no_claim_on_them() -> None:
    found = measured(train=(100.0, 90.0), held_out=(90.0, 90.0))

    assert len(claims("weight-decay", [found], decays=(0.0, 3.0))) == 1


def test_what_one_seed_of_three_loses_by_chance_is_no_finding() -> None:
    sound = (90.0, 95.0, 92.0, 91.0, 50.0, 10.0)
    found = [measured(train=sound), measured(train=sound), measured(train=(95.0, 78.0, 94.0, 90.0, 50.0, 10.0))]

    assert refuted("weight-decay", found) == []


@pytest.mark.parametrize(
    ("optimizer_factory", "typical"),
    [(None, 0.1), (torch.optim.SGD, 1e-3), (torch.optim.Adam, 1e-3), (torch.optim.AdamW, 0.1)],
)
def test_what_is_typical_hangs_on_how_the_optimiser_decays(optimizer_factory: Any, typical: float) -> None:
    task = replace(mlp(), optimizer_factory=optimizer_factory)
    (found,) = measure("weight-decay", task, decays=(1e-3, 0.1), num_epochs=1)
    told = claims("weight-decay", [found], decays=(1e-3, 0.1))

    assert found["typical"] == typical
    assert f"up to {typical}" in told[0].text


def test_all_are_held_against_none_whatever_is_given() -> None:
    assert OwnWeightDecaySettings(decays=(1.0, 0.01)).tried == (0.0, 0.01, 1.0)


@pytest.mark.parametrize("decays", [(), (0.0,), (-1.0, 1.0), (float("nan"), 1.0)])
def test_decays_that_are_none_are_refused(decays: tuple[float, ...]) -> None:
    with pytest.raises(DomainError, match="positive numbers are needed"):
        OwnWeightDecaySettings(decays=decays)
