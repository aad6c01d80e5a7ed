import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isometry.probes.running.rows import MAX_NUMBERS, MIN_ROWS, RowSampler

shapes = st.lists(st.integers(1, 9), min_size=1, max_size=4)


@given(shape=shapes, axis=st.integers(0, 3), limit=st.integers(1, 400), is_transposed=st.booleans())
def test_rows_are_different_rows_of_the_tensor(shape: list[int], axis: int, limit: int, is_transposed: bool) -> None:
    axis %= len(shape)
    tensor = torch.arange(torch.Size(shape).numel(), dtype=torch.float32).reshape(shape)
    tensor = tensor.transpose(0, -1) if is_transposed else tensor
    rows = {tuple(row) for row in tensor.movedim(axis, -1).reshape(-1, tensor.shape[axis]).tolist()}

    drawn = [tuple(row) for row in RowSampler(limit).sample(tensor, axis).tolist()]

    assert len(set(drawn)) == len(drawn) == min(len(rows), max(limit, MIN_ROWS))
    assert set(drawn) <= rows


def test_wide_rows_are_fewer() -> None:
    sampler = RowSampler(64)

    assert len(sampler.sample(torch.ones(500, MAX_NUMBERS // 32), 1)) == 32
    assert len(sampler.sample(torch.ones(500, MAX_NUMBERS), 1)) == MIN_ROWS


@pytest.mark.parametrize("length", [8, 16, 32, 100, 128])
def test_no_place_of_a_line_or_a_sequence_is_preferred(length: int) -> None:
    places = torch.arange(length, dtype=torch.float32).expand(64, length).reshape(-1, 1)

    drawn = RowSampler(64).sample(places, 1)

    assert drawn.unique().numel() >= min(length, 64) / 2
    assert drawn.mean() == pytest.approx((length - 1) / 2, rel=0.15)


def test_rows_are_copies() -> None:
    tensor = torch.ones(3, 2)

    rows = RowSampler(64).sample(tensor, 1)
    tensor.zero_()

    assert rows.sum() == 6
