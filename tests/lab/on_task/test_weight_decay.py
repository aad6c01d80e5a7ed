from collections.abc import Iterable
from dataclasses import replace

import pytest
import torch
from torch import nn

from isometry._errors import LabError
from tests.lab.on_task.tasks import claims, measure, mlp, refuted


def momentum(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    weights, biases = [], []
    for parameter in parameters:
        (weights if parameter.ndim > 1 else biases).append(parameter)
    return torch.optim.SGD([{"params": weights, "weight_decay": 0.1}, {"params": biases}], lr=0.05)


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
    with pytest.raises(LabError, match="NoDecay has no weight_decay"):
        measure("weight-decay", replace(mlp(), optimizer_factory=NoDecay), num_epochs=1)


def test_a_typical_decay_that_costs_fit_is_told() -> None:
    found = [{"train": [100.0, 100.0, 97.0, 90.0, 10.0], "held_out": [95.0, 95.0, 95.0, 90.0, 10.0]}]

    (told,) = refuted("weight-decay", found)
    assert "no limit" in told


def test_a_decay_that_is_worth_much_is_told() -> None:
    found = [{"train": [100.0, 100.0, 100.0, 82.0, 10.0], "held_out": [78.0, 79.0, 80.0, 88.0, 10.0]}]

    (told,) = refuted("weight-decay", found)
    assert "worth much" in told


def test_without_typical_decays_there_is_no_claim_on_them() -> None:
    assert len(claims("weight-decay", [{"train": [100.0, 90.0], "held_out": [90.0, 90.0]}], decays=(0.0, 3.0))) == 1
