import pytest
import torch
from torch import nn
from torch.nn import functional

from isometry._errors import NotApplicableError
from isometry.anatomy.task import Task, make_task
from tests.lab.on_task.tasks import cnn, measure, mlp, refuted, vit


def corner(*, count: int = 200) -> Task:
    """Return a network that sees the corner of an image alone, and a class that stands there."""
    torch.manual_seed(0)
    labels = torch.arange(count) % 2
    images = torch.zeros(count, 1, 4, 4)
    images[:, 0, 0, 0] = labels * 2.0 - 1
    model = nn.Sequential(nn.AvgPool2d(2, 4), nn.Flatten(), nn.Linear(1, 8), nn.ReLU(), nn.Linear(8, 2))
    return make_task(model, images, labels, loss=functional.cross_entropy)


def test_images_are_permuted_and_shifted_and_vectors_are_permuted() -> None:
    for task, num_shifted in ((cnn(), 1), (vit(), 1), (mlp(), 0)):
        (found,) = measure("inductive-bias", task, num_epochs=2)

        assert [len(found[name]) for name in ("natural", "permuted")] == [3, 3]
        assert len(found["shifted"]) == num_shifted


def test_what_stands_in_one_place_is_lost_in_another_order_and_by_shifts() -> None:
    (found,) = measure("inductive-bias", corner(), num_epochs=200, shift=2)

    assert found["natural"][-1] == 100
    assert found["permuted"][-1] < 70
    assert found["shifted"][0] < 90
    assert refuted("inductive-bias", [found]) == []


def test_a_network_that_learns_better_in_another_order_is_told() -> None:
    found = {"natural": [10.0, 80.0], "permuted": [10.0, 84.0], "shifted": [], "num_held_out": 100_000}

    assert len(refuted("inductive-bias", [found])) == 1


def test_what_few_held_out_examples_do_not_tell_is_no_finding() -> None:
    found = {"natural": [10.0, 80.0], "permuted": [10.0, 84.0], "shifted": [], "num_held_out": 40}

    assert refuted("inductive-bias", [found] * 3) == []


def test_inputs_that_are_neither_images_nor_vectors_are_refused() -> None:
    tokens = torch.arange(400).reshape(100, 4) % 7
    model = nn.Sequential(nn.Embedding(7, 8), nn.Flatten(), nn.Linear(32, 2))
    task = make_task(model, tokens, tokens[:, 0] % 2, loss=functional.cross_entropy)

    with pytest.raises(NotApplicableError, match=r"one floating tensor, of vectors"):
        measure("inductive-bias", task)
