import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from isometry.training.labels.doubts import agreement_beyond_chance, doubts_of

CLASSES, EXAMPLES = 5, 2000


def scored(
    *, noise: float, hard: float = 0.03, seed: int = 0, is_paired: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """Return scores of a network that is right but for hard examples, given labels, and which of them are wrong."""
    generator = torch.Generator().manual_seed(seed)
    true = torch.randint(CLASSES, (EXAMPLES,), generator=generator)
    scores = torch.randn(EXAMPLES, CLASSES, generator=generator)
    scores[torch.arange(EXAMPLES), true] += 6 + 2 * torch.randn(EXAMPLES, generator=generator)
    is_hard = torch.rand(EXAMPLES, generator=generator) < hard
    neighbour = (true + 1) % CLASSES
    scores[torch.arange(EXAMPLES)[is_hard], neighbour[is_hard]] = 0.3 + scores[is_hard].amax(1)
    is_wrong = torch.rand(EXAMPLES, generator=generator) < noise
    steps = 1 if is_paired else torch.randint(1, CLASSES, (EXAMPLES,), generator=generator)
    return scores, torch.where(is_wrong, (true + steps) % CLASSES, true), is_wrong


@pytest.mark.parametrize("noise", [0.02, 0.1, 0.4])
@pytest.mark.parametrize("is_paired", [False, True])
def test_planted_wrong_labels_are_found_and_counted(noise: float, is_paired: bool) -> None:
    scores, labels, is_wrong = scored(noise=noise, hard=0.01, is_paired=is_paired)

    found = doubts_of(scores, labels)

    assert 0.6 * int(is_wrong.sum()) < found.num_wrong <= 1.2 * int(is_wrong.sum())
    assert float(is_wrong[found.is_suspect].double().mean()) > 0.85
    assert float(found.is_suspect[is_wrong].double().mean()) > 0.75


@pytest.mark.parametrize("hard", [0.0, 0.05, 0.2])
@pytest.mark.parametrize("seed", range(3))
def test_hard_examples_with_right_labels_are_not_suspected(hard: float, seed: int) -> None:
    scores, labels, _ = scored(noise=0.0, hard=hard, seed=seed)

    found = doubts_of(scores, labels)

    assert int((found.suggested != labels).sum()) > 0.9 * hard * EXAMPLES
    assert float(found.is_suspect.double().mean()) < 0.003
    assert found.num_wrong < 0.01 * EXAMPLES


def test_classes_that_cannot_be_told_apart_are_not_doubted() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(2, (500,), generator=generator)

    found = doubts_of(torch.randn(500, 2, generator=generator), labels)

    assert int((found.suggested != labels).sum()) > 200
    assert not found.is_suspect.any()


def test_a_class_with_hardly_an_example_of_its_own_suggests_nothing() -> None:
    scores = torch.tensor([[9.0, 0.0]] * 20 + [[0.0, 9.0]] * 4)
    labels = torch.tensor([0] * 20 + [1, 1, 1, 0])

    found = doubts_of(scores, labels)

    assert int(found.suggested[-1]) == 1
    assert float(found.rank[-1]) == 1
    assert not found.is_suspect.any()


@pytest.mark.parametrize(("size", "rank"), [(100.0, 0.1), (8.5, 0.2), (0.5, 1.0)])
def test_a_rank_is_the_share_of_the_classs_own_examples_that_are_as_clear(size: float, rank: float) -> None:
    own = torch.tensor([[float(place), 0.0] for place in range(1, 10)])
    scores = torch.cat([own, torch.tensor([[size, 0.0]]), torch.tensor([[0.0, 9.0]] * 9)])
    labels = torch.tensor([0] * 9 + [1] * 10)

    assert float(doubts_of(scores, labels).rank[9]) == pytest.approx(rank)


@settings(max_examples=10)
@given(seed=st.integers(0, 1000))
def test_the_order_of_the_examples_does_not_matter(seed: int) -> None:
    scores, labels, _ = scored(noise=0.2)
    order = torch.randperm(EXAMPLES, generator=torch.Generator().manual_seed(seed))

    plain, shuffled = doubts_of(scores, labels), doubts_of(scores[order], labels[order])

    assert torch.equal(plain.rank[order], shuffled.rank)
    assert torch.equal(plain.is_suspect[order], shuffled.is_suspect)


@settings(max_examples=10)
@given(offset=st.integers(-8, 8), names=st.permutations(range(CLASSES)))
def test_neither_the_names_of_classes_nor_an_offset_of_all_scores_matter(offset: int, names: list[int]) -> None:
    scores, labels, _ = scored(noise=0.2)
    scores = (scores * 64).round() / 64  # so that sums are exact
    renamed = torch.empty_like(scores)
    renamed[:, torch.tensor(names)] = scores + offset

    plain, other = doubts_of(scores, labels), doubts_of(renamed, torch.tensor(names)[labels])

    assert torch.equal(plain.rank, other.rank)
    assert plain.num_wrong == other.num_wrong


def test_agreement_beyond_chance_is_cohens() -> None:
    first = torch.tensor([0] * 25 + [1] * 25)
    second = torch.tensor([0] * 20 + [1] * 5 + [0] * 10 + [1] * 15)

    assert agreement_beyond_chance(first, second) == pytest.approx(0.4)
    assert agreement_beyond_chance(first, first) == 1
    assert agreement_beyond_chance(torch.zeros(9, dtype=torch.long), torch.zeros(9, dtype=torch.long)) == 0
