from collections.abc import Callable

import pytest
import torch
from torch.nn import functional

from isometry.anatomy.task import Task
from isometry.lab.apparatus.own_data import OwnData, Schooling, accuracy, loss_on, noise_of, own_data, train
from isometry.training.labels.learner import Learner
from tests.lab.on_task.tasks import cnn, digits, mlp, regression, vit


def test_every_example_is_trained_on_or_held_out() -> None:
    data = own_data(mlp(count=100), most=80, seed=0)

    assert sorted([*data.train.tolist(), *data.held_out.tolist()]) == list(range(80))
    assert len(data.held_out) == 16
    assert len(own_data(mlp(count=100), most=80, seed=0, held_out=0.5).held_out) == 40


def test_seeds_split_otherwise_and_one_seed_always_alike() -> None:
    one, again, other = (own_data(mlp(count=100), most=100, seed=seed) for seed in (0, 0, 1))

    assert torch.equal(one.train, again.train)
    assert not torch.equal(one.train, other.train)


@pytest.mark.parametrize("seed", range(5))
def test_what_a_builder_draws_with_the_same_seed_is_not_what_is_held_out(seed: int) -> None:
    wrong = set(torch.randperm(400, generator=torch.Generator().manual_seed(seed))[:80].tolist())
    held_out = set(own_data(mlp(count=400), most=400, seed=seed).held_out.tolist())

    assert len(wrong & held_out) < 40


@pytest.mark.parametrize(
    ("build", "kind"), [(mlp, "classes"), (cnn, "classes"), (vit, "classes"), (regression, "numbers")]
)
def test_the_kind_of_targets_is_known(build: Callable[[], Task], kind: str) -> None:
    assert own_data(build(), most=100, seed=0).kind == kind


def test_loss_and_accuracy_before_training_are_those_of_the_model_itself() -> None:
    task = cnn(count=100)
    data = own_data(task, most=100, seed=0)
    images, labels = digits()
    rows = data.held_out
    task.model.eval()
    outputs = task.model(images[:100].view(-1, 1, 8, 8)[rows]).detach()
    task.model.train()
    seen: list[tuple[float, float]] = []

    def look(learner: Learner, _epoch: int) -> None:
        seen.append((loss_on(learner, data, rows), accuracy(learner, data, rows)))

    train(task, data, Schooling(num_epochs=0, batch_size=20, seed=0), look=look)

    assert seen[0][0] == pytest.approx(float(functional.cross_entropy(outputs, labels[rows])), rel=1e-5)
    assert seen[0][1] == pytest.approx(100 * float((outputs.argmax(1) == labels[rows]).double().mean()))


def test_a_copy_learns_and_the_model_does_not() -> None:
    task = mlp(count=200)
    data: OwnData = own_data(task, most=200, seed=0)
    before = [each.clone() for each in task.model.parameters()]
    losses: list[float] = []

    def look(learner: Learner, _epoch: int) -> None:
        losses.append(loss_on(learner, data, data.train))

    train(task, data, Schooling(num_epochs=5, batch_size=10, seed=0), look=look)

    assert losses[-1] < 0.8 * losses[0]
    assert len(losses) == 6
    assert all(torch.equal(one, two) for one, two in zip(before, task.model.parameters(), strict=True))


def test_the_noise_of_a_difference_is_that_of_its_examples_or_of_the_seeds_if_they_show_more() -> None:
    generator = torch.Generator().manual_seed(0)
    rights = 100 * (torch.rand(2, 4000, 500, generator=generator) < 0.9).double().mean(2)

    assert noise_of([90.0], [90.0], [500]) == pytest.approx(float((rights[0] - rights[1]).std()), rel=0.05)
    assert noise_of([90.0] * 4, [90.0] * 4, [500] * 4) == pytest.approx(noise_of([90.0], [90.0], [500]) / 2)
    assert noise_of([80.0, 90.0], [80.0, 70.0], [500] * 2) == pytest.approx(10.0)
    assert noise_of([100.0], [100.0], [20]) > 3
