"""What experiments on a user's own model ask for, and how they say so."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from isometry._errors import BuilderError, LabError, ModelError
from isometry.anatomy.task import Task, make_task
from isometry.lab.experiment import EXPERIMENTS, ON_TASK
from tests.lab.on_task.tasks import cnn, digits, measure, mlp, regression, single_batch, vit

TRAINED = ("early-stopping", "inductive-bias", "lars", "memorise", "weight-decay")
OF_CLASSES = ("inductive-bias", "lars", "weight-decay")
CHEAP: dict[str, dict[str, Any]] = {
    "early-stopping": {"num_epochs": 1},
    "inductive-bias": {"num_epochs": 1},
    "kernels": {"num_steps": 1, "num_looks": 1, "max_examples": 8},
    "lars": {"num_epochs": 1, "rates": (0.1,), "lars_rates": (10.0,)},
    "memorise": {"max_epochs": 1},
    "symmetry": {"num_steps": 1},
    "weight-decay": {"num_epochs": 1, "decays": (0.0, 0.1)},
}


def without_targets() -> Task:
    task = make_task(nn.Linear(4, 2), torch.ones(64, 4), torch.zeros(64, 2), loss=functional.mse_loss)
    assert task.examples is not None

    def take(rows: Sequence[int]) -> torch.Tensor:
        return torch.ones(len(rows), 4)

    return replace(task, examples=replace(task.examples, take=take))


def test_each_belongs_to_an_experiment_of_its_name() -> None:
    assert set(ON_TASK) <= set(EXPERIMENTS)


@pytest.mark.parametrize("name", TRAINED)
def test_a_task_without_a_data_set_is_told_what_to_bring(name: str) -> None:
    with pytest.raises(LabError, match=r"no data set, and this experiment trains copies: it needs at least 50"):
        measure(name, single_batch())


@pytest.mark.parametrize("name", TRAINED)
def test_a_small_data_set_is_refused_with_its_size(name: str) -> None:
    with pytest.raises(LabError, match="a data set of 40 examples"):
        measure(name, mlp(count=40))


@pytest.mark.parametrize("name", OF_CLASSES)
def test_numbers_are_refused_where_right_answers_are_counted(name: str) -> None:
    with pytest.raises(LabError, match="the targets of Sequential are numbers"):
        measure(name, regression())


def with_a_bug() -> Task:
    model = nn.Sequential(nn.Linear(4, 8), nn.Linear(7, 2))
    return make_task(model, torch.ones(64, 4), torch.zeros(64).long(), loss=functional.cross_entropy)


@pytest.mark.parametrize("name", TRAINED)
def test_a_model_that_fails_on_its_batch_is_told_in_a_sentence(name: str) -> None:
    with pytest.raises(ModelError, match=r"Sequential failed on its batch: .*shapes cannot be multiplied"):
        measure(name, with_a_bug())


def with_labels_inside(*, count: int = 100) -> Task:
    """Return a transformer that takes its targets among its inputs and gives its own loss."""
    task = vit(count=count)
    images, labels = digits()
    return make_task(task.model, {"pixel_values": images[:count].view(-1, 1, 8, 8), "labels": labels[:count]})


@pytest.mark.parametrize("name", TRAINED)
def test_targets_among_the_inputs_are_a_data_set(name: str) -> None:
    assert measure(name, with_labels_inside(), **CHEAP[name])


def test_few_targets_among_the_inputs_are_too_few() -> None:
    with pytest.raises(LabError, match="a data set of 40 examples"):
        measure("early-stopping", with_labels_inside(count=40))


def test_a_part_of_too_few_examples_is_refused() -> None:
    with pytest.raises(LabError, match="max_examples=10 was given"):
        measure("early-stopping", mlp(), max_examples=10)


def test_examples_without_targets_are_refused() -> None:
    with pytest.raises(BuilderError, match="targets"):
        measure("weight-decay", without_targets())


@pytest.mark.parametrize("name", sorted(ON_TASK))
def test_one_seed_always_measures_the_same(name: str) -> None:
    one, again = measure(name, cnn(count=100), 0, 0, **CHEAP.get(name, {}))

    assert one == again
