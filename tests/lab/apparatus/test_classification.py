import pytest
import torch

from isometry.lab.apparatus.classification import accuracy_of, error_of, one_hot

LABELS = torch.tensor([2, 0, 1])
RIGHT_TWICE = torch.tensor([[0.0, 1.0, 3.0], [5.0, 4.0, 1.0], [2.0, 2.0, 0.0]])  # of equal outputs the first counts


def test_answers_are_counted_for_one_network_and_for_several() -> None:
    several = torch.stack([RIGHT_TWICE, -RIGHT_TWICE, torch.eye(3)[LABELS]])

    assert error_of(RIGHT_TWICE, LABELS).item() == pytest.approx(1 / 3)
    assert accuracy_of(RIGHT_TWICE, LABELS).item() == pytest.approx(200 / 3)
    assert error_of(several, LABELS).tolist() == pytest.approx([1 / 3, 1.0, 0.0])
    assert accuracy_of(several, LABELS).tolist() == pytest.approx([200 / 3, 0.0, 100.0])


def test_shares_of_small_floats_are_exact() -> None:
    outputs, labels = torch.zeros(1000, 2, dtype=torch.bfloat16), torch.arange(1000) % 1000 // 999

    assert error_of(outputs, labels).item() == 1 / 1000
    assert accuracy_of(outputs, labels).item() == 100 * (999 / 1000)


def test_targets_are_1_for_the_class_alone() -> None:
    targets = one_hot(LABELS)

    assert (targets.shape, targets.dtype) == ((3, 10), torch.float64)
    assert targets.argmax(1).tolist() == LABELS.tolist()
    assert targets.sum(1).tolist() == [1.0] * 3
