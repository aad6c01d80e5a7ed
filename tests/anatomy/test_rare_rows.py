"""What a batch does not miss of a data set in memory."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from isometry.anatomy.rare_rows import broken_rows, extreme_rows
from isometry.anatomy.task import make_task
from isometry.checking.check import check
from isometry.checking.settings import Settings

ROWS = [3, 4, 5]
RULES_ALONE = Settings(steps=0, proofs=0)


def numbers(*, row: int | None = None, value: float = math.nan, dtype: torch.dtype = torch.float32) -> Tensor:
    tensor = torch.ones(20, 2, 3, dtype=dtype)
    if row is not None:
        tensor[row, 1, 2] = value
    return tensor


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_an_example_that_is_not_finite_is_found_wherever_it_lies(dtype: torch.dtype, value: float) -> None:
    assert broken_rows([numbers(), numbers(row=17, value=value, dtype=dtype)], ROWS) == [17]
    assert broken_rows([numbers(row=17, value=value)[:, 1, 2]], ROWS) == [17]


@pytest.mark.parametrize(
    "tensor",
    [
        pytest.param(numbers(), id="all are finite"),
        pytest.param(numbers(row=4), id="the batch has one"),
        pytest.param(torch.full((20, 4), 1e308, dtype=torch.float64), id="only their sum is not finite"),
        pytest.param(torch.full((20, 4), 6e4, dtype=torch.float16), id="a sum beyond half precision"),
        pytest.param(numbers(row=17).to_sparse(), id="sparse"),
        pytest.param(torch.ones(20, 3, device="meta"), id="without numbers"),
        pytest.param(torch.ones(20, 0), id="empty"),
        pytest.param(torch.ones(20, 3, dtype=torch.int64), id="whole numbers"),
    ],
)
def test_nothing_is_added_where_nothing_is_missed(tensor: Tensor) -> None:
    assert broken_rows([tensor], ROWS) == []


@pytest.mark.parametrize(
    ("labels", "added"),
    [
        pytest.param([2, 1, 1, 0, 1, 2, 1], [], id="the batch has them all"),
        pytest.param([0, 1, 10, 0, 1, 2, 1], [2], id="one too large"),
        pytest.param([0, -1, 10, 0, 1, 2, 1], [1, 2], id="at both ends"),
        pytest.param([0, 1, 350_000, 0, 1, 2, 1], [], id="an amount, of which one is an outlier"),
    ],
)
def test_the_ends_of_whole_numbers_are_added(labels: list[int], added: list[int]) -> None:
    assert extreme_rows([torch.tensor(labels)], ROWS) == added
    assert extreme_rows([torch.tensor(labels)[:, None].expand(-1, 2)], ROWS) == added
    assert extreme_rows([torch.tensor(labels, dtype=torch.float32)], ROWS) == []


def whole() -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.randn(2000, 3), torch.randint(4, (2000,))


def task_of(inputs: Any, targets: Any = None) -> Any:
    return make_task(nn.Linear(3, 4), inputs, targets, loss=F.cross_entropy, batch_size=16)


def test_a_batch_holds_what_a_training_run_would_meet() -> None:
    inputs, targets = whole()
    inputs[7, 1], targets[9] = math.nan, 4
    task = task_of(inputs, targets)

    assert len(task.batch.targets) == 16
    assert bool(task.batch.inputs.isnan().any())
    assert int(task.batch.targets.max()) == 4
    assert [str(each) for each in task.warnings] == [
        "Example 7 of the data set holds numbers that are not finite; the batch was made to hold it."
    ]


def test_so_does_the_batch_of_a_loader_of_tensors() -> None:
    inputs, targets = whole()
    inputs[7, 1] = math.inf
    task = task_of(DataLoader(TensorDataset(inputs, targets), batch_size=16))

    assert not bool(task.batch.inputs.isfinite().all())


def test_a_batch_of_sound_data_is_the_one_that_was_drawn() -> None:
    inputs, targets = whole()
    task = make_task(nn.Linear(3, 4), inputs, targets, loss=F.cross_entropy)
    rows = torch.randperm(2000, generator=torch.Generator().manual_seed(0))[:256]

    assert torch.equal(task.batch.inputs, inputs[rows])
    assert task.warnings == ()


@pytest.mark.parametrize("code", ["NUM101", "LOS103"])
def test_one_bad_example_of_two_thousand_is_found(code: str) -> None:
    inputs, targets = whole()
    if code == "NUM101":
        inputs[7, 1] = math.nan
    else:
        targets[7] = 4
    found = check(nn.Linear(3, 4), inputs, targets, loss=F.cross_entropy, settings=RULES_ALONE)

    assert [each.code for each in found.findings if each.severity == "error"] == [code]
