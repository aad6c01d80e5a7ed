import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from isometry.probes.contents import CHUNK, has_one_huge_value, is_huge, looks_unwritten, numbers_of

FLOATS = st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=50)


@given(values=FLOATS)
def test_numbers_are_those_of_the_whole_tensor_in_double_precision(values: list[float]) -> None:
    exact = torch.tensor(values, dtype=torch.float64)
    (numbers,) = numbers_of([exact.float()])
    assert numbers is not None

    assert numbers.mean == pytest.approx(float(exact.mean()), rel=1e-9, abs=1e-9)
    assert numbers.rms == pytest.approx(float(exact.square().mean().sqrt()), rel=1e-9)
    assert (numbers.low, numbers.high, numbers.largest) == (exact.min(), exact.max(), exact.abs().max())
    assert numbers.num_zero == int((exact == 0).sum())


def test_tensors_longer_than_a_chunk_are_summed_whole() -> None:
    tensor = torch.arange(2 * CHUNK + 3, dtype=torch.float32) / CHUNK
    (numbers,) = numbers_of([tensor])
    assert numbers is not None

    assert numbers.size == 2 * CHUNK + 3
    assert numbers.std == pytest.approx(float(tensor.double().std(correction=0)), rel=1e-9)
    assert numbers.high == float(tensor[-1])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn])
def test_every_type_of_weight_is_read(dtype: torch.dtype) -> None:
    (numbers,) = numbers_of([torch.tensor([-1.5, 0.5, 0.0, 2.0]).to(dtype)])
    assert numbers is not None

    assert (numbers.low, numbers.high, numbers.num_zero, numbers.mean) == (-1.5, 2.0, 1, 0.25)


def test_the_typical_size_is_the_deviation_of_a_normal_draw_and_outliers_do_not_move_it() -> None:
    drawn = torch.randn(100_000, generator=torch.Generator().manual_seed(0))
    spoilt = drawn.clone()
    spoilt[::10_000] = 1e6
    sizes = [numbers.typical for numbers in numbers_of([drawn, spoilt]) if numbers is not None]

    assert sizes == pytest.approx([1.0, 1.0], rel=0.02)


@pytest.mark.parametrize(
    ("values", "dtype", "count"),
    [
        ([1e-42, 0.0, 1.0], torch.float32, 1),
        ([1e-37, 0.0, 1.0], torch.float32, 0),
        ([1e-39, 2e-39, 1.0], torch.bfloat16, 2),
        ([1e-310, 1e-300], torch.float64, 1),
        ([1e-6, 1.0], torch.float16, 0),
    ],
)
def test_numbers_below_full_precision_are_counted_where_a_type_reaches_far(
    values: list[float], dtype: torch.dtype, count: int
) -> None:
    (numbers,) = numbers_of([torch.tensor(values, dtype=torch.float64).to(dtype)])
    assert numbers is not None

    assert numbers.num_subnormal == count


@pytest.mark.parametrize(
    ("values", "huge", "one"),
    [
        ([1.0, 2.0], False, False),
        ([1.0, 1e30], True, True),
        ([1e30, -1e30], True, True),
        ([1e30, -2e30], True, False),
        ([-math.inf, 0.0, -math.inf], True, True),
        ([math.nan, 1.0], True, False),
    ],
)
def test_masks_have_one_huge_value(values: list[float], huge: bool, one: bool) -> None:
    tensor = torch.tensor(values)
    (numbers,) = numbers_of([tensor])
    assert numbers is not None

    assert is_huge(numbers) == huge
    assert has_one_huge_value(tensor) == one


@pytest.mark.parametrize("tensor", [torch.arange(3), torch.empty(0), torch.empty(3, device="meta")], ids=str)
def test_what_has_no_floating_point_numbers_has_none(tensor: Tensor) -> None:
    assert numbers_of([tensor]) == [None]


def test_complex_numbers_count_by_their_parts() -> None:
    (numbers,) = numbers_of([torch.tensor([1 + 2j, -3j])])
    assert numbers is not None

    assert (numbers.size, numbers.low, numbers.high, numbers.mean) == (4, -3.0, 2.0, 0.0)


def holding(shape: tuple[int, ...], place: tuple[int | slice, ...], value: float) -> Tensor:
    tensor = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    tensor[place] = value
    return tensor


ALL = slice(None)


@pytest.mark.parametrize(
    ("tensor", "expected"),
    [
        pytest.param(torch.randn(8, 8), False, id="draws"),
        pytest.param(holding((8, 8), (2, 3), 1e-40), True, id="one number among draws"),
        pytest.param(holding((8, 8), (2, ALL), 1e-40), False, id="a unit that decayed"),
        pytest.param(holding((8, 8), (ALL, 2), 1e-40), False, id="what reads a unit that decayed"),
        pytest.param(holding((8, 4, 3, 3), (ALL, 2), 1e-40), False, id="a channel that decayed"),
        pytest.param(holding((8, 4, 3, 3), (1, 2, 0, 1), 1e-40), True, id="one number of a filter"),
        pytest.param(holding((8,), (2,), 1e-40), False, id="a scale that decayed"),
        pytest.param(torch.full((8, 8), 1e-40), True, id="nothing but small numbers"),
        pytest.param(torch.zeros(8, 8), False, id="zeros"),
        pytest.param(1e-37 * torch.randn(8, 8), False, id="a layer that decayed"),
        pytest.param(10.0 ** -torch.linspace(30, 44, 64).reshape(8, 8), True, id="small numbers of every size"),
        pytest.param(holding((8, 8), (2, 3), 1e30), True, id="absurd size"),
        pytest.param(holding((8, 8), (2, 3), math.nan), False, id="a NaN alone"),
        pytest.param(holding((8, 8), (2, 3), 1e30).index_fill(0, torch.tensor([5]), math.nan), True, id="and NaN"),
    ],
)
def test_bits_of_something_else_are_told_from_what_training_leaves(tensor: Tensor, *, expected: bool) -> None:
    assert looks_unwritten(tensor) == expected
