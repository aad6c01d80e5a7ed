import pytest
import torch

from isometry.lab.apparatus.distinct import num_distinct


def test_rows_are_counted_once_whatever_their_order() -> None:
    rows = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1e-14], [0.0, 1.0], [0.5, 0.5]], dtype=torch.float64)

    assert [num_distinct(each, equal=1e-12) for each in (rows, rows[:1], rows.flip(0))] == [3, 1, 3]


def test_what_counts_as_equal_is_relative_to_the_largest_row() -> None:
    rows = torch.tensor([[100.0], [100.5], [1.0]])

    assert [num_distinct(rows, equal=equal) for equal in (1e-3, 1e-2)] == [3, 2]


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
@pytest.mark.parametrize("copies", [2, 8, 26, 64])  # torch.cdist takes a matrix product for more than 25
def test_copies_are_one_however_many_there_are(copies: int, kind: torch.dtype) -> None:
    kinds = torch.randn(3, 60, dtype=kind, generator=torch.Generator().manual_seed(copies))
    rows = torch.cat([kinds.repeat(copies, 1), kinds[:1] * (1 + 1e-5)])

    assert [num_distinct(rows, equal=equal) for equal in (1e-4, 0.0)] == [3, 4]


def test_rows_of_zeros_are_one() -> None:
    assert num_distinct(torch.zeros(4, 3), equal=1e-12) == 1
