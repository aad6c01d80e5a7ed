"""Errors of single examples, what stopping is worth, and decays that are the same under every optimiser."""

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from isometry.lab.curve.family import Data, Family, built, split_of
from isometry.lab.curve.member import Job, cut_of, errors_of, train_member
from isometry.training.labels.answers import Kind, error_of
from tests.lab.curve.families import LABELLED, network

NAN, INF = float("nan"), float("inf")
JOB = Job(
    sizes=(4,), looks=(1, 3), num_train=None, batch_size=30, decay=0.0, test_share=0.5, seed=0, split_seed=0
)  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "answers", "targets", "errors"),
    [
        pytest.param("classes", [[1.0, 0.0], [1.0, 0.0]], [0, 1], [0.0, 1.0], id="classes"),
        pytest.param("classes", [[NAN, 0.0], [INF, 0.0]], [1, 0], [1.0, 1.0], id="classes of no number"),
        pytest.param("labels", [[2.0, -1.0], [-2.0, -1.0]], [[1.0, 0.0], [1.0, 0.0]], [0.0, 0.5], id="on or off"),
        pytest.param("numbers", [[1.0, 2.0], [0.0, 0.0]], [[1.0, 0.0], [0.0, 0.0]], [2.0, 0.0], id="numbers"),
        pytest.param("numbers", [[NAN], [-INF]], [[1.0], [0.0]], [INF, INF], id="numbers that are none"),
    ],
)
def test_errors_are_of_each_example(kind: Kind, answers: Any, targets: Any, errors: list[float]) -> None:
    assert errors_of(torch.tensor(answers), torch.tensor(targets), kind).tolist() == errors


def test_places_without_a_target_are_left_out() -> None:
    logits = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]], [[1.0, 0.0]] * 3])
    targets = torch.tensor([[0, 0, -100], [-100, -100, -100]])

    assert errors_of(logits, targets, "classes").tolist() == [0.5, 0.0]


def test_of_probabilities_a_half_parts_labels_and_of_logits_nothing() -> None:
    labels = torch.tensor([[1.0], [0.0]])

    assert cut_of(torch.tensor([[0.9], [0.2]]), labels) == 0.5
    assert cut_of(torch.tensor([[0.3], [-0.2]]), labels) == 0.0
    assert errors_of(torch.tensor([[0.9], [0.2]]), labels, "labels", cut=0.5).tolist() == [0.0, 0.0]


def test_the_mean_of_the_errors_is_that_of_the_whole() -> None:
    generator = torch.Generator().manual_seed(0)
    answers, labels = torch.randn(50, 4, generator=generator), torch.randint(0, 4, (50,), generator=generator)

    assert errors_of(answers, labels, "classes").mean().item() == pytest.approx(error_of(answers, labels, "classes"))


def measured(**changes: Any) -> Any:
    data = Data(
        inputs=LABELLED[0], targets=LABELLED[1], loss=F.cross_entropy, optimizer_factory=changes.pop("by", None)
    )
    shares: list[float] = []

    def tell(share: float, /, **_: float) -> None:
        shares.append(share)

    found = train_member(Family(network, data), replace(JOB, **changes), tell)

    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    return found


def test_a_member_is_measured_at_each_look_and_always_the_same() -> None:
    found = measured()

    assert len(found["train_error"]) == len(found["test_errors"]) == 2
    assert {len(each) for each in found["test_errors"]} == {60}
    assert found["num_train"] == 60
    assert found == measured()
    assert found["data"] == measured(seed=1)["data"] != measured(split_seed=1)["data"]


def tell_nobody(_: float, /, **__: float) -> None:
    pass


def test_of_noise_alone_stopping_at_the_best_epoch_gains_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs, labels = torch.randn(1200, 10, generator=generator), torch.randint(0, 2, (1200,), generator=generator)
    data = Data(inputs=inputs, targets=labels, loss=F.cross_entropy)
    found = train_member(Family(network, data), replace(JOB, looks=(30,), num_train=200), tell_nobody)

    assert sum(found["best_errors"][-1]) / 600 == pytest.approx(0.5, abs=0.05)


def test_over_samples_each_seed_learns_a_draw_of_its_own_and_all_are_asked_about_the_same() -> None:
    learnt: list[set[float]] = []  # the first numbers of the examples, by training
    asked: list[set[float]] = []

    class Seeing(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's own name
            (learnt if self.training else asked)[-1].update(input[:, 0].tolist())
            return super().forward(input)

    data = Data(inputs=torch.arange(200.0)[:, None], targets=torch.arange(200) % 2, loss=F.cross_entropy)
    family = Family(lambda: Seeing(1, 2), data)
    held_out = set(split_of(built(family, (), seed=0), data, test_share=0.5, seed=0).test.tolist())
    for seed in (0, 1):
        learnt.append(set())
        asked.append(set())
        train_member(family, replace(JOB, sizes=(), num_train=50, seed=seed), tell_nobody)
    one, other = learnt

    assert len(one) == len(other) == 50
    assert 10 < len(one & other) < 40  # of the hundred that can be learnt
    assert held_out <= asked[0] & asked[1]
    assert not held_out & (one | other)


class Still(torch.optim.Optimizer):
    """An optimiser that moves nothing."""

    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters, {"lr": 0.1})

    def step(self, closure: Any = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] - torch has two
        pass


def test_a_decay_shrinks_matrices_by_its_share_of_the_rate_and_leaves_biases() -> None:
    seen: list[Tensor] = []

    def still(parameters: Any) -> torch.optim.Optimizer:
        found: list[Tensor] = list(parameters)
        seen.extend([found[0], found[1], found[0].detach().clone(), found[1].detach().clone()])
        return Still(found)

    measured(by=still, decay=2.0, looks=(1,))
    weight, bias, first, offset = seen

    assert torch.allclose(weight, first * (1 - 0.1 * 2.0) ** 2)
    assert torch.equal(bias, offset)
