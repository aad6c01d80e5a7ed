"""What a builder may return, and how its data are split."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from isometry._errors import BuilderError, DomainError
from isometry.anatomy.task import make_task
from isometry.lab.curve.family import Data, Family, Split, built, split_of
from tests.lab.curve.families import LABELLED, network


class Sum(nn.Module):
    """A network that takes its inputs by name."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        return self.layer(first + second)


def split(data: Data, *, share: float = 0.25, seed: int = 0) -> Split:
    return split_of(built(Family(Sum, data), (), seed=0), data, test_share=share, seed=seed)


def inputs(count: int, *, form: str) -> Any:
    first, second = torch.arange(3.0 * count).reshape(count, 3), torch.zeros(count, 3)
    return (first, second) if form == "tuple" else {"first": first, "second": second}


@pytest.mark.parametrize("form", ["tuple", "mapping"])
def test_a_test_set_of_its_own_is_never_learnt(form: str) -> None:
    labels = torch.arange(50) % 2
    data = Data(
        inputs=inputs(50, form=form), targets=labels, loss=F.cross_entropy, test=(inputs(40, form=form), labels[:40])
    )
    found = split(data)
    batch: Any = found.examples.take(found.test[:2]).inputs
    first = batch[0] if form == "tuple" else batch["first"]

    assert sorted(found.train.tolist()) == list(range(50))
    assert found.test.tolist() == list(range(50, 90))
    assert torch.equal(first, torch.arange(6.0).reshape(2, 3))
    assert torch.equal(found.examples.targets[found.test], labels[:40])


def test_a_share_is_held_out_by_the_seed_of_the_split_alone() -> None:
    data = Data(inputs=inputs(200, form="tuple"), targets=torch.arange(200) % 2, loss=F.cross_entropy)
    one, again, other = (split(data, seed=seed) for seed in (0, 0, 1))

    assert len(one.test) == 50
    assert sorted([*one.train.tolist(), *one.test.tolist()]) == list(range(200))
    assert torch.equal(one.train, again.train)
    assert not torch.equal(one.train, other.train)


@pytest.mark.parametrize("seed", [0, 7])
@pytest.mark.parametrize("is_given", [False, True], ids=["a share", "test="])
def test_what_a_builder_draws_with_the_same_seed_is_nothing_by_itself(seed: int, is_given: bool) -> None:
    labels = torch.arange(2500) % 2
    test = (inputs(40, form="tuple"), labels[:40]) if is_given else None
    found = split(Data(inputs=inputs(2500, form="tuple"), targets=labels, loss=F.cross_entropy, test=test), seed=seed)
    wrong = torch.randperm(2500, generator=torch.Generator().manual_seed(seed))[:500]
    looked_at = found.train[:1000]  # of the order, of which training errors are read from the head

    assert torch.isin(looked_at, wrong).double().mean() == pytest.approx(0.2, abs=0.05)
    assert is_given or torch.isin(found.test, wrong).double().mean() == pytest.approx(0.2, abs=0.05)


def test_test_inputs_in_another_form_are_refused() -> None:
    labels = torch.arange(50) % 2
    data = Data(inputs=inputs(50, form="tuple"), targets=labels, test=(torch.zeros(50, 3), labels))

    with pytest.raises(BuilderError, match=r"the inputs are tuple and those of test= Tensor"):
        split(data)


def test_too_few_examples_are_refused() -> None:
    data = Data(inputs=inputs(40, form="tuple"), targets=torch.arange(40) % 2)

    with pytest.raises(DomainError, match="10 examples are held out and 30 are left"):
        split(data)


@pytest.mark.parametrize(
    "made",
    [
        pytest.param(lambda: (network(2), *LABELLED, F.cross_entropy), id="a tuple"),
        pytest.param(lambda: make_task(network(2), *LABELLED, loss=F.cross_entropy), id="a task"),
        pytest.param(
            lambda: (network(2), DataLoader(TensorDataset(*LABELLED), 10), None, F.cross_entropy), id="a loader"
        ),
    ],
)
def test_a_builder_may_bring_its_data(made: Any) -> None:
    task = built(Family(made), (), seed=0)
    found = split_of(task, Data(), test_share=0.5, seed=0)

    assert len(found.train) == len(found.test) == len(LABELLED[1]) // 2
    assert torch.equal(found.examples.targets, LABELLED[1])


def test_members_of_other_seeds_start_elsewhere_and_those_of_one_seed_alike() -> None:
    family = Family(network, Data(inputs=LABELLED[0], targets=LABELLED[1]))
    one, again, other = (built(family, (2,), seed=seed).model.state_dict()["0.weight"] for seed in (1, 1, 2))

    assert torch.equal(one, again)
    assert not torch.equal(one, other)
