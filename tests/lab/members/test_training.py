"""Members side by side against the plain loop over modules with torch's own AdamW."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from isometry._errors import DomainError, ShapeError
from isometry.lab.members.member import Member, initial_weights
from isometry.lab.members.training import Examples, Order, SideBySide
from tests.lab.members.plain_modules import relu_module


def digits(count: int, *, seed: int, num_members: int | None = None) -> Examples:
    generator = torch.Generator().manual_seed(seed)
    shape = (count,) if num_members is None else (num_members, count)
    inputs = torch.randn(count, 12, generator=generator, dtype=torch.float64)
    return Examples(inputs=inputs, labels=torch.randint(4, shape, generator=generator), num_classes=4)


def in_a_loop(
    members: list[Member], examples: Examples, *, epochs: int, batch_size: int, order: Order
) -> list[list[Tensor]]:
    """Train each member on its own, as one would without this module."""
    trained: list[list[Tensor]] = []
    for index, member in enumerate(members):
        model = relu_module(initial_weights(member, 12, 4, dtype=torch.float64))
        optimizer = torch.optim.AdamW(model.parameters(), member.learning_rate, weight_decay=member.weight_decay)
        generator = torch.Generator().manual_seed(member.seed if order == "own" else 0)
        labels = examples.labels.expand(len(members), -1)[index]
        for _ in range(epochs):
            shuffled = torch.randperm(len(labels), generator=generator)
            for rows in shuffled[: len(labels) // batch_size * batch_size].split(batch_size):
                optimizer.zero_grad()
                functional.cross_entropy(model(examples.inputs[rows]), labels[rows]).backward()
                optimizer.step()
        trained.append([parameter.detach() for parameter in model.parameters()])
    return trained


MEMBERS = [
    Member(hidden=(5,), seed=1),
    Member(hidden=(9,), learning_rate=3e-3, seed=2),
    Member(hidden=(8,), weight_decay=0.5, seed=3),
    Member(hidden=(6, 7), seed=4),
    Member(hidden=(40,), learning_rate=3e-4, weight_decay=0.1, seed=5),
]


OF_ONE_RATE = [
    Member(hidden=(7, 11), learning_rate=3e-3, seed=1),
    Member(hidden=(9, 5), learning_rate=3e-3, weight_decay=0.3, seed=2),
    Member(hidden=(4,), learning_rate=3e-3, seed=3),
]
STEPS = 1000
slow = pytest.mark.slow


@pytest.mark.parametrize("members", [pytest.param(MEMBERS, id="own rates"), pytest.param(OF_ONE_RATE, id="one rate")])
@pytest.mark.parametrize(
    ("order", "own_labels", "steps"),
    [
        pytest.param("shared", False, 30, id="shared batches"),
        pytest.param("own", True, 30, id="own batches and labels"),
        pytest.param("shared", False, STEPS, id="a thousand steps, shared batches", marks=slow),
        pytest.param("own", True, STEPS, id="a thousand steps, own batches and labels", marks=slow),
        pytest.param("shared", True, STEPS, id="a thousand steps, own labels", marks=slow),
    ],
)
def test_members_end_where_a_plain_loop_ends(members: list[Member], order: Order, own_labels: bool, steps: int) -> None:
    examples = digits(60, seed=0, num_members=len(members) if own_labels else None)
    together = SideBySide(members, examples, order=order)
    epochs = steps // 5  # five batches of 12
    for _ in together.train(epochs, batch_size=12):
        pass
    alone = in_a_loop(members, examples, epochs=epochs, batch_size=12, order=order)

    for index, weights in enumerate(alone):
        for found, expected in zip(together.weights_of(index), weights, strict=True):
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


def test_a_rest_that_fills_no_batch_is_left_out_of_its_epoch() -> None:
    examples = digits(25, seed=0)
    together = SideBySide(MEMBERS, examples, order="own")
    assert list(together.train(2, batch_size=10)) == [1, 2]
    alone = in_a_loop(MEMBERS, examples, epochs=2, batch_size=10, order="own")

    for index, weights in enumerate(alone):
        torch.testing.assert_close(together.weights_of(index), weights, rtol=0, atol=1e-9)


def test_a_member_whose_outputs_are_no_numbers_is_right_nowhere() -> None:
    examples = digits(20, seed=0)
    together = SideBySide([Member(hidden=(4,)), Member(hidden=(5,))], examples)
    together.buckets[0].parameters[0][0].fill_(torch.nan)
    errors = together.errors(examples)

    assert errors[0] == 1.0
    assert errors[1] < 1.0


@pytest.mark.parametrize("label", [0, 1])
def test_of_equal_outputs_the_first_is_the_answer(label: int) -> None:
    inputs, labels = torch.ones(6, 3), torch.full((6,), label)
    together = SideBySide([Member(hidden=(4,))], Examples(inputs=inputs, labels=labels, num_classes=2))
    for parameter in together.buckets[0].parameters:
        parameter.zero_()

    assert together.errors(together.examples).tolist() == [label]


def test_errors_of_small_floats_are_exact_shares() -> None:
    examples = digits(1000, seed=0)
    coarse = Examples(inputs=examples.inputs.bfloat16(), labels=examples.labels, num_classes=4)
    together = SideBySide([Member(hidden=(5,))], coarse)
    error = together.errors(coarse).item()
    wrong = relu_module(together.weights_of(0))(coarse.inputs).argmax(1) != coarse.labels

    assert 1000 * error == pytest.approx(int(wrong.sum()), abs=1e-9)


def test_errors_are_those_of_the_members_as_modules() -> None:
    examples, test = digits(50, seed=0, num_members=len(MEMBERS)), digits(30, seed=1)
    together = SideBySide(MEMBERS, examples)
    list(together.train(1, batch_size=10))
    shares = [together.errors(each) for each in (examples, test)]

    for index in range(len(MEMBERS)):
        model = relu_module(together.weights_of(index))
        for found, inputs, labels in zip(
            shares, (examples.inputs, test.inputs), (examples.labels[index], test.labels), strict=True
        ):
            assert found[index].item() == (model(inputs).argmax(1) != labels).double().mean().item()


@settings(max_examples=20)
@given(widths=st.lists(st.integers(1, 60), min_size=1, max_size=12))
def test_every_member_is_in_one_bucket_and_padding_stays_zero(widths: list[int]) -> None:
    members = [Member(hidden=(width,), seed=seed) for seed, width in enumerate(widths)]
    together = SideBySide(members, digits(20, seed=0))
    list(together.train(1, batch_size=10))

    assert sorted(len(bucket.members) for bucket in together.buckets) != []
    assert sum(len(bucket.members) for bucket in together.buckets) == len(members)
    for bucket in together.buckets:
        for index, member in enumerate(bucket.members):
            width = member.hidden[0]
            assert not bucket.parameters[0][index, width:].any()
            assert not bucket.parameters[2][index, :, width:].any()


def test_members_of_one_size_share_a_bucket_and_far_sizes_do_not() -> None:
    members = [Member(hidden=(8,), seed=seed) for seed in range(6)] + [Member(hidden=(512,))]
    together = SideBySide(members, digits(20, seed=0))

    assert [len(bucket.members) for bucket in together.buckets] == [6, 1]
    assert all(first.sizes[1] <= second.sizes[1] for first, second in pairwise(together.buckets))


def test_many_members_are_in_buckets_of_a_size_that_caches_hold() -> None:
    members = [Member(hidden=(300, 300), seed=seed) for seed in range(8)]
    together = SideBySide(members, digits(20, seed=0))

    assert [len(bucket.members) for bucket in together.buckets] == [6, 2]  # of 95,404 numbers each


def test_a_network_larger_than_a_bucket_is_in_one_of_its_own() -> None:
    members = [Member(hidden=(width, 900)) for width in (4, 900, 900)]
    together = SideBySide(members, digits(20, seed=0))

    assert [len(bucket.members) for bucket in together.buckets] == [1, 1, 1]


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(DomainError, match="at least one unit"):
        Member(hidden=())
    with pytest.raises(DomainError, match="a rate is positive"):
        Member(hidden=(3,), learning_rate=0.0)
    with pytest.raises(ShapeError, match="as many as its rows"):
        Examples(inputs=torch.ones(3, 2), labels=torch.zeros(4, dtype=torch.long), num_classes=2)
    one = [Member(hidden=(3,))]
    with pytest.raises(ShapeError, match="labels for 2 members"):
        SideBySide(one, digits(10, seed=0, num_members=2))
    with pytest.raises(ShapeError, match="labels for 2 members"):
        SideBySide(one, digits(10, seed=0)).errors(digits(10, seed=0, num_members=2))
    with pytest.raises(ShapeError, match="as many as its rows"):
        Examples(inputs=torch.ones(3, 2), labels=torch.tensor(0), num_classes=2)
    with pytest.raises(DomainError, match="floating numbers"):
        Examples(inputs=torch.ones(3, 2, dtype=torch.long), labels=torch.zeros(3, dtype=torch.long), num_classes=2)
    with pytest.raises(DomainError, match="on meta"):
        Examples(inputs=torch.ones(3, 2, device="meta"), labels=torch.zeros(3, dtype=torch.long), num_classes=2)
    with pytest.raises(DomainError, match="between 0 and 1"):
        Examples(inputs=torch.ones(3, 2), labels=torch.tensor([0, 1, 2]), num_classes=2)


@pytest.mark.parametrize(
    ("members", "order", "word"),
    [pytest.param(0, "own", "0 members", id="nobody"), pytest.param(1, "Own", "order='Own'", id="no such order")],
)
def test_what_cannot_be_meant_is_not_trained(members: int, order: Any, word: str) -> None:
    with pytest.raises(DomainError, match=word):
        SideBySide([Member(hidden=(3,))] * members, digits(10, seed=0), order=order)


@pytest.mark.parametrize("batch_size", [0, 11])
def test_an_epoch_has_at_least_one_step(batch_size: int) -> None:
    with pytest.raises(DomainError, match="batch_size"):
        list(SideBySide([Member(hidden=(3,))], digits(10, seed=0)).train(1, batch_size=batch_size))
