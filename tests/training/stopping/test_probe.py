import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import Dataset, TensorDataset

from isometry._errors import DomainError, ShapeError
from isometry.training.stopping.probe import RandomLabelProbe, probed, with_random_labels
from tests.training.stopping.curves import curve, decisions, stop_of

NAN = math.nan
SHARES = st.integers(0, 64).map(lambda number: number / 64)


@pytest.mark.parametrize(
    ("train", "probe", "stops", "best"),
    [
        pytest.param((0.5, 0.75, 0.875, 1.0), (0.125, 0.125, 0.5, 0.75), 4, 2, id="memorises after the second"),
        pytest.param((0.5, 0.75, 0.875, 1.0), (0.125, 0.125, 0.125, 0.125), None, 4, id="memorises nothing"),
        pytest.param((0.5, 0.75, 0.75), (0.125, 0.125, 0.125), None, 2, id="no better once"),
    ],
)
def test_it_keeps_where_training_accuracy_is_furthest_above_the_probes(
    train: tuple[float, ...], probe: tuple[float, ...], stops: int | None, best: int
) -> None:
    rule = RandomLabelProbe(patience=2)

    assert stop_of(rule, curve(train_accuracy=train, probe_accuracy=probe)) == stops
    assert rule.best is not None
    assert rule.best.step == best


@given(rows=st.lists(st.tuples(SHARES, SHARES), min_size=1, max_size=20))
def test_without_a_stop_the_best_is_the_first_of_the_highest_scores(rows: list[tuple[float, float]]) -> None:
    rule = RandomLabelProbe(patience=100)
    scores = [train - probe for train, probe in rows]
    train, probe = zip(*rows, strict=True)

    assert stop_of(rule, curve(train_accuracy=train, probe_accuracy=probe)) is None
    assert rule.best is not None
    assert rule.best.step == scores.index(max(scores)) + 1


@given(seed=st.integers(0, 2**32), share=st.floats(0.01, 0.99), count=st.integers(60, 200))
def test_exactly_a_share_of_the_labels_is_drawn_and_the_others_stay(seed: int, share: float, count: int) -> None:
    labels = torch.arange(count) % 7
    random = torch.random.get_rng_state()
    found = with_random_labels(labels, share=share, seed=seed)

    assert int(found.is_probe.sum()) == round(share * count)
    assert torch.equal(found.labels[~found.is_probe], labels[~found.is_probe])
    assert 0 <= int(found.labels.min()) <= int(found.labels.max()) < 7
    assert torch.equal(torch.random.get_rng_state(), random)


def test_the_probes_labels_are_uniform_and_may_be_right_by_chance() -> None:
    labels = torch.zeros(40_000, dtype=torch.long)
    found = with_random_labels(labels, share=0.5, seed=3, num_classes=4)
    counts = torch.bincount(found.labels[found.is_probe], minlength=4)

    assert (counts - 5000).abs().max() < 5 * 61  # five standard deviations of a count of mean 5,000


def test_the_seed_decides_the_draw() -> None:
    labels = torch.arange(100) % 10
    one, again, other = (with_random_labels(labels, seed=seed) for seed in (1, 1, 2))

    assert torch.equal(one.labels, again.labels)
    assert not torch.equal(one.is_probe, other.is_probe)


def test_a_data_set_keeps_its_items_but_for_the_probes_labels() -> None:
    images, labels = torch.randn(50, 3), torch.arange(50) % 5
    found = probed(TensorDataset(images, labels), share=0.2, seed=1)

    assert len(found) == 50
    assert int(found.is_probe.sum()) == 10
    for row in range(50):
        image, label = found[row]
        assert torch.equal(image, images[row])
        assert label.dtype == labels.dtype
        assert found.is_probe[row] or label == labels[row]


class Relabelled(Dataset[Any]):
    """As torchvision's: `targets` are those before `target_transform`."""

    targets = tuple(2 * (row % 4) for row in range(40))

    def __len__(self) -> int:
        return 40

    def __getitem__(self, index: int) -> Any:
        return [float(index), self.targets[index] // 2]


def test_labels_are_those_that_training_gets_and_other_items_stay_as_they_are() -> None:
    dataset = Relabelled()
    found = probed(dataset, share=0.5, num_classes=4)

    assert all(found[row] == dataset[row] for row in range(40) if not found.is_probe[row])
    assert {found[row][-1] for row in range(40) if found.is_probe[row]} == {0, 1, 2, 3}


def test_labels_that_are_tensors_of_one_keep_their_shape() -> None:
    found = probed(TensorDataset(torch.randn(20, 3), torch.arange(20)[:, None] % 2), share=0.5)

    assert {found[row][-1].shape for row in range(20)} == {(1,)}


def test_a_data_set_whose_labels_are_rows_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"labels have shape \(6, 3\)"):
        probed(TensorDataset(torch.randn(6, 3), torch.eye(3).repeat(2, 1)))
    with pytest.raises(ShapeError, match=r"labels have shape \(0,\)"):
        probed(TensorDataset(torch.randn(0, 3), torch.zeros(0)))


def test_accuracies_that_are_no_numbers_are_said_to_be_so() -> None:
    rule = RandomLabelProbe(patience=2)
    told = decisions(rule, curve(train_accuracy=(NAN, 0.5, NAN, NAN), probe_accuracy=(0.25,) * 4))

    assert told[0].reason == (
        "training accuracy less that on random labels was no finite number for 1 of 2 evaluations"
    )
    assert told[3].reason == (
        "training accuracy less that on random labels was highest at 0.25, and not higher for 2 of 2 evaluations"
    )
    assert [each.is_best for each in told] == [False, True, False, False]


def test_a_data_set_of_lists_and_plain_labels_will_do() -> None:
    found = probed([([1.0], 0), ([2.0], 1), ([3.0], 0), ([4.0], 1)], share=0.5)  # pyright: ignore[reportArgumentType]

    assert [type(found[row][-1]) for row in range(4)] == [int] * 4


@pytest.mark.parametrize(
    ("labels", "settings", "error", "words"),
    [
        (torch.zeros(10, dtype=torch.long), {}, DomainError, "in 1 classes"),
        (torch.arange(10), {"share": 0.0}, DomainError, "leaves 0 for the probe"),
        (torch.arange(10), {"share": 1.0}, DomainError, "leaves 10 for the probe"),
        (torch.rand(10), {}, ShapeError, "one class, a whole number"),
        (torch.zeros(5, 2, dtype=torch.long), {}, ShapeError, r"shape \(5, 2\)"),
        (torch.zeros(0, dtype=torch.long), {}, ShapeError, r"shape \(0,\)"),
        (torch.arange(10), {"num_classes": 3}, DomainError, "labels go from 0 to 9, and the 3 classes are 0 to 2"),
        (torch.arange(10), {"num_classes": 0}, DomainError, "in 0 classes"),
        (torch.tensor([0, 1, 2, -100]), {"share": 0.5}, DomainError, "labels go from -100 to 2"),
    ],
)
def test_what_leaves_no_probe_is_refused(
    labels: torch.Tensor, settings: dict[str, float], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        with_random_labels(labels, **settings)  # pyright: ignore[reportArgumentType] - of the table


def test_a_patience_below_one_is_refused() -> None:
    with pytest.raises(DomainError, match="patience=0"):
        RandomLabelProbe(patience=0)
