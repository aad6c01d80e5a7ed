"""What float16 flushes to zero, and the loss scale that saves it."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from isometry.anatomy.task import Task
from isometry.probes.evidence import NotMeasuredError, gather, measure
from isometry.probes.underflow import GradientUnderflow


def task_of(factor: float, *, dtype: torch.dtype = torch.float16, extra: nn.Module | None = None) -> Task:
    """Two layers in half precision, whose loss is multiplied by a number."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), extra or nn.Identity(), nn.ReLU(), nn.Linear(16, 4))
    batch = torch.randn(32, 8), torch.randint(4, (32,))

    def step(model: nn.Module, batch: Any) -> Tensor:
        return F.cross_entropy(model(batch[0]).float(), batch[1]) * factor

    return Task(model=model, batch=batch, step=step, context=lambda: torch.autocast("cpu", dtype=dtype))


def underflow_of(task: Task) -> GradientUnderflow:
    return measure(gather(task, [GradientUnderflow]), GradientUnderflow)


@pytest.mark.parametrize(
    ("factor", "lost"),
    [
        pytest.param(1.0, (0.0, 0.01), id="a mean"),
        pytest.param(1024.0, (0.0, 0.01), id="scaled already"),
        pytest.param(1e-4, (0.001, 0.9), id="a small loss"),
        pytest.param(1e-7, (0.999, 1.0), id="a loss that float16 cannot follow"),
    ],
)
def test_what_is_lost_grows_as_the_loss_shrinks(factor: float, lost: tuple[float, float]) -> None:
    found = underflow_of(task_of(factor))

    assert lost[0] <= found.lost <= lost[1]


def test_the_scale_is_a_power_of_two_under_which_gradients_are_finite() -> None:
    found = underflow_of(task_of(1e-7))

    assert found.scale == 2.0**15
    assert 0 < found.largest < 65504


def test_the_scale_shrinks_where_the_gradients_are_large() -> None:
    assert underflow_of(task_of(64.0)).scale < 2.0**15


def test_rounding_where_the_gradient_is_zero_by_nature_is_no_loss() -> None:
    found = underflow_of(task_of(1.0, extra=nn.BatchNorm1d(16)))  # the bias before it cancels

    assert "0.bias" not in {each.parameter for each in found.parameters}
    assert {"0.weight", "3.weight"} <= {each.parameter for each in found.parameters}


def test_other_types_lose_nothing() -> None:
    with pytest.raises(NotMeasuredError, match="no gradient passes through float16"):
        underflow_of(task_of(1e-7, dtype=torch.bfloat16))


def test_a_matrix_whose_gradient_is_lost_as_a_whole_counts_beside_a_loud_head_and_a_vector_does_not() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 4)).half()
    with torch.no_grad():
        model[2].get_parameter("weight").mul_(1e-4)
    batch = torch.randn(32, 8).half(), torch.randint(4, (32,))

    def step(model: nn.Module, batch: Any) -> Tensor:
        return F.cross_entropy(model(batch[0]).float(), batch[1]) * 1e-2

    lost = {each.parameter: each.lost for each in underflow_of(Task(model=model, batch=batch, step=step)).parameters}

    assert lost["0.weight"] == 1
    assert lost["2.weight"] < 0.1
    assert "0.bias" not in lost
