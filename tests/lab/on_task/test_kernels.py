import pytest
import torch
from torch import nn
from torch.nn import functional

from isometry._errors import LabError
from isometry.anatomy.task import make_task
from tests.lab.on_task.tasks import cnn, digits, measure, mlp, refuted, regression, vit

SMALL = {"num_examples": 12, "max_examples": 200, "num_epochs": 2}


def test_kernels_of_all_kinds_of_networks_are_followed() -> None:
    for task in (mlp(), cnn(), vit(), regression()):
        (found,) = measure("kernels", task, **SMALL)

        assert {name: len(values) for name, values in found.items()} == {
            "drift": 3,
            "turn": 3,
            "alignment": 3,
            "weights": 3,
        }
        assert found["drift"][0] == found["weights"][0] == 0
        assert min(found["drift"][1:]) > 0


def test_the_kernel_of_a_linear_model_stays_put() -> None:
    images, labels = digits()
    task = make_task(nn.Linear(64, 10), images[:200], labels[:200], loss=functional.cross_entropy)

    (found,) = measure("kernels", task, **SMALL)

    assert max(found["drift"]) < 1e-6
    assert found["weights"][-1] > 0.01


def test_a_kernel_that_turns_away_from_the_targets_is_told() -> None:
    found = {"drift": [0.0, 1.0], "turn": [0.0, 1.0], "alignment": [0.4, 0.2], "weights": [0.0, 0.1]}

    assert len(refuted("kernels", [found])) == 1
    assert refuted("kernels", [{**found, "alignment": [0.3, 0.4]}]) == []


def test_targets_with_many_numbers_are_refused() -> None:
    task = make_task(nn.Linear(4, 200), torch.randn(100, 4), torch.randn(100, 200), loss=functional.mse_loss)

    with pytest.raises(LabError, match="at most 100 numbers"):
        measure("kernels", task, **SMALL)
