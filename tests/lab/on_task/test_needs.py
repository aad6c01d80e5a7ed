"""What experiments on a user's own model ask for, and how they say so."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from isometry._errors import BuilderError, LabError, ModelError, NotApplicableError
from isometry.anatomy.task import Task, make_task
from isometry.lab.experiment import EXPERIMENTS, ON_TASK, OwnTask
from isometry.lab.settings import assigned
from tests.lab.experiments.seeds import Shares
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


def test_each_belongs_to_an_experiment_of_its_name() -> None:
    assert set(ON_TASK) <= set(EXPERIMENTS)


@pytest.mark.parametrize("name", TRAINED)
def test_a_task_without_a_data_set_is_told_what_to_bring(name: str) -> None:
    with pytest.raises(
        NotApplicableError, match=r"no data set, and this experiment trains copies: it needs at least 50"
    ):
        measure(name, single_batch())


@pytest.mark.parametrize("name", TRAINED)
def test_a_small_data_set_is_refused_with_its_size(name: str) -> None:
    with pytest.raises(NotApplicableError, match="a data set of 40 examples"):
        measure(name, mlp(count=40))


@pytest.mark.parametrize("name", OF_CLASSES)
def test_numbers_are_refused_where_right_answers_are_counted(name: str) -> None:
    with pytest.raises(NotApplicableError, match="the targets of Sequential are numbers"):
        measure(name, regression())


def with_a_bug() -> Task:
    model = nn.Sequential(nn.Linear(4, 8), nn.Linear(7, 2))
    return make_task(model, torch.ones(64, 4), torch.zeros(64).long(), loss=functional.cross_entropy)


@pytest.mark.parametrize("name", TRAINED)
def test_a_model_that_fails_on_its_batch_is_told_in_a_sentence(name: str) -> None:
    with pytest.raises(ModelError, match=r"Sequential failed on its batch: .*shapes cannot be multiplied"):
        measure(name, with_a_bug())


def test_a_loss_that_is_no_number_is_told_and_nothing_is_trained() -> None:
    task = make_task(
        nn.Linear(4, 2), torch.full((64, 4), torch.nan), torch.zeros(64).long(), loss=functional.cross_entropy
    )

    for name in TRAINED:
        with pytest.raises(ModelError, match="the loss of Linear on its batch is nan"):
            measure(name, task)


def with_labels_inside(*, count: int = 100) -> Task:
    """Return a transformer that takes its targets among its inputs and gives its own loss."""
    task = vit(count=count)
    images, labels = digits()
    return make_task(task.model, {"pixel_values": images[:count].view(-1, 1, 8, 8), "labels": labels[:count]})


@pytest.mark.parametrize("name", TRAINED)
def test_targets_among_the_inputs_are_a_data_set(name: str) -> None:
    assert measure(name, with_labels_inside(), **CHEAP[name])


def test_few_targets_among_the_inputs_are_too_few() -> None:
    with pytest.raises(NotApplicableError, match="a data set of 40 examples"):
        measure("early-stopping", with_labels_inside(count=40))


def test_a_part_of_too_few_examples_is_refused() -> None:
    with pytest.raises(LabError, match="max_examples=10 was given"):
        measure("early-stopping", mlp(), max_examples=10)


def mean_square(outputs: torch.Tensor, _targets: object) -> torch.Tensor:
    return outputs.square().mean()


def spread(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return a loss of a mean and a deviation for each target."""
    return functional.gaussian_nll_loss(outputs[:, 0], targets, outputs[:, 1].square())


@pytest.mark.parametrize("name", TRAINED)
@pytest.mark.parametrize("targets", [torch.arange(64) % 2, torch.linspace(0, 1, 64)], ids=["classes", "numbers"])
def test_a_loss_that_ignores_its_targets_is_a_mistake(name: str, targets: torch.Tensor) -> None:
    with pytest.raises(BuilderError, match=r"the loss of Linear .* does not use the targets"):
        measure(name, make_task(nn.Linear(4, 2), torch.randn(64, 4), targets, loss=mean_square))


@pytest.mark.parametrize("name", TRAINED)
@pytest.mark.parametrize("is_loaded", [False, True], ids=["tensor", "loader"])
def test_what_has_no_targets_by_nature_is_told_what_to_bring(name: str, is_loaded: bool) -> None:
    images = torch.randn(64, 4)
    inputs = DataLoader(TensorDataset(images), 16) if is_loaded else images
    with pytest.raises(NotApplicableError, match=r"Let the builder return \(model, inputs, targets, loss\)"):
        measure(name, make_task(nn.Linear(4, 2), inputs, loss=mean_square))


@pytest.mark.parametrize("name", TRAINED)
def test_targets_that_are_all_alike_teach_nothing(name: str) -> None:
    task = make_task(nn.Linear(4, 2), torch.randn(64, 4), torch.ones(64).long(), loss=functional.cross_entropy)

    with pytest.raises(NotApplicableError, match="the targets of all 64 examples of Linear are alike"):
        measure(name, task)


@pytest.mark.parametrize("name", TRAINED)
def test_answers_that_are_held_against_no_target_are_told_with_their_shape(name: str) -> None:
    with pytest.raises(NotApplicableError, match=r"shape \(64, 2\) to targets of shape \(64,\)"):
        measure(name, make_task(nn.Linear(4, 2), torch.randn(64, 4), torch.linspace(0, 1, 64), loss=spread))


def test_without_rows_there_is_no_kernel() -> None:
    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(8, 2)

        def forward(self, words: list[str]) -> torch.Tensor:
            return self.table(torch.tensor([len(word) for word in words]))

    with pytest.raises(NotApplicableError, match="Words takes inputs without a tensor that has rows"):
        measure("kernels", make_task(Words(), {"words": ["one", "three"]}, loss=mean_square))


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("symmetry", "learning_rate=-1"),
        ("memorise", "max_seconds=-1"),
        ("memorise", "max_examples=1"),
        ("lars", "rates=0.1,-1"),
        ("lars", "lars_rates=0"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused_before_anything_is_measured(name: str, word: str) -> None:
    with pytest.raises(LabError, match=f"--set '{word}' cannot be meant: "):
        assigned(ON_TASK[name].settings, [word], owner=name)


class Recurrent(nn.Module):
    """Has one layer before its head, and inputs that are neither vectors nor images."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.GRU(8, 6, batch_first=True), nn.Linear(6, 10)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.head(self.layer(rows)[0][:, -1])


class Graph(nn.Module):
    """Mixes the rows of its input along edges, as one whole."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.head = nn.Linear(8, 6), nn.Linear(6, 2)

    def forward(self, nodes: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
        return self.head(self.hidden(nodes).index_add(0, edges[1], self.hidden(nodes)[edges[0]]).relu())


def task_of(kind: str) -> Task:
    """Return tasks unlike those that the experiments were made for."""
    torch.manual_seed(0)
    images, labels = digits()
    if kind == "recurrent":
        return make_task(Recurrent(), images[:100].view(-1, 8, 8), labels[:100], loss=functional.cross_entropy)
    if kind == "graph":
        inputs = torch.randn(60, 8), torch.randint(60, (2, 90))
        return make_task(Graph(), inputs, torch.arange(60) % 2, loss=functional.cross_entropy)
    model = nn.Sequential(nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 1))
    return Task(model=model, batch=[images[:9]], step=lambda net, batch: net(batch[0]).square().mean())


APPLIES = {
    "recurrent": {"early-stopping", "kernels", "lars", "memorise", "symmetry", "weight-decay"},
    "graph": {"symmetry"},
    "own step": {"symmetry"},
}


@pytest.mark.parametrize("kind", APPLIES)
def test_other_tasks_are_measured_or_told_what_is_needed(kind: str) -> None:
    told: dict[str, str] = {}
    for name in ON_TASK:
        try:
            measure(name, task_of(kind), **CHEAP.get(name, {}))
        except NotApplicableError as error:
            told[name] = str(error)

    assert set(ON_TASK) - set(told) == APPLIES[kind]
    assert all("this experiment" in sentence for sentence in told.values()), told


@pytest.mark.parametrize("name", ["kernels", "memorise", "symmetry"])
def test_a_long_measurement_tells_how_far_it_is(name: str) -> None:
    shares = Shares()
    cheap = {"kernels": {"num_steps": 8}, "memorise": {"max_epochs": 4}, "symmetry": {"num_steps": 4}}
    settings = replace(ON_TASK[name].settings, **cheap[name])
    ON_TASK[name].measure(settings, OwnTask(mlp(count=60), 0), shares)

    assert len(shares) >= 8
    assert max(after - before for before, after in pairwise([0.0, *shares])) <= 0.5


@pytest.mark.parametrize("name", sorted(ON_TASK))
def test_one_seed_always_measures_the_same(name: str) -> None:
    one, again = measure(name, cnn(count=100), 0, 0, **CHEAP.get(name, {}))

    assert one == again
