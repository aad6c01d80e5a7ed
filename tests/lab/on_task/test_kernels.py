import pytest
from torch import nn
from torch.nn import functional

from isometry._errors import DomainError
from isometry.anatomy.task import make_task
from isometry.lab.lazy import laziness
from tests.lab.on_task.tasks import claims, cnn, digits, measure, mlp, refuted, regression, single_batch, vit

SMALL = {"max_examples": 12, "num_steps": 4, "num_looks": 2}


def test_kernels_of_all_kinds_of_networks_are_followed() -> None:
    for task in (mlp(), cnn(), vit(), regression(), single_batch()):
        (found,) = measure("kernels", task, **SMALL)

        assert found["step"] == [0, 2, 4]
        assert found["kernel_drift"][0] == found["weight_drift"][0] == 0
        assert min(found["kernel_drift"][1:]) > 0


def test_the_numbers_are_those_of_laziness() -> None:
    (found,) = measure("kernels", mlp(), 3, **SMALL)

    looks = laziness(mlp(), steps=4, looks=2, max_examples=12, seed=3).looks
    assert found["alignment"] == [look.alignment for look in looks]


def test_a_network_too_large_for_the_memory_is_told_how_much_it_takes() -> None:
    with pytest.raises(DomainError, match=r"take .* bytes, and max_bytes is 1,000\. Allow more"):
        measure("kernels", mlp(), **SMALL, max_bytes=1000)


def test_the_kernel_of_a_linear_model_stays_put() -> None:
    images, labels = digits()
    task = make_task(nn.Linear(64, 10), images[:200], labels[:200], loss=functional.cross_entropy)

    (found,) = measure("kernels", task, **SMALL)

    assert max(found["kernel_drift"]) < 1e-6
    assert found["weight_drift"][-1] > 0.001


def test_a_kernel_that_turns_away_from_the_targets_is_told() -> None:
    found = {"step": [0, 1], "kernel_drift": [0.0, 1.0], "weight_drift": [0.0, 0.1]}

    assert len(refuted("kernels", [{**found, "alignment": [0.4, 0.2]}])) == 1
    assert refuted("kernels", [{**found, "alignment": [0.3, 0.4]}]) == []
    assert claims("kernels", [{**found, "alignment": [None, None]}]) == ()
