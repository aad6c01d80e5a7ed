"""How far results are from the end of the numbers of their type."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from isometry.anatomy.task import Task
from isometry.probes.evidence import gather, measure
from isometry.probes.headroom import Headroom, limit_of

FUTURE = torch.ones(16, 16).triu(1)


def masked(value: float) -> Tensor:
    return torch.full((16, 16), value).triu(1).half()


class Net(nn.Module):
    """Two layers, and what is done with them."""

    def __init__(self, forward: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(8, 8), nn.Linear(8, 8)
        self._forward = forward

    def forward(self, x: Tensor) -> Tensor:
        return self._forward(self, x)


def headroom_of(
    forward: Callable[[Any, Tensor], Tensor],
    *,
    dtype: torch.dtype = torch.float16,
    loss: Callable[[Tensor], Tensor] = lambda out: out.float().square().mean(),
) -> Headroom:
    torch.manual_seed(0)
    model = Net(forward).to(dtype)
    task = Task(model=model, batch=torch.randn(16, 8).to(dtype), step=lambda model, batch: loss(model(batch)))
    return measure(gather(task, [Headroom]), Headroom)


OVERFLOWS: dict[str, tuple[Callable[[Any, Tensor], Tensor], str]] = {
    "square of a written norm": (lambda m, x: m.second(x * (x * 500).pow(2).mean().rsqrt()), "pow"),
    "sum of many": (lambda m, x: m.second(x) * (x.abs() * 6e3).sum().reciprocal(), "sum"),
    "exponential": (lambda m, x: m.second((m.first(x) * 30).exp()), "exp"),
    "scores": (lambda m, x: ((m.first(x) * 500) @ (m.second(x) * 500).T).softmax(-1) @ x, "matmul"),
    "cast": (lambda m, x: m.second((m.first(x).float() * 1e6).half()), "half"),
    "quotient": (lambda m, x: m.second(m.first(x) / torch.full((8,), 1e-6, dtype=x.dtype)), "div"),
}


@pytest.mark.parametrize(("forward", "operation"), OVERFLOWS.values(), ids=OVERFLOWS.keys())
def test_the_first_result_that_does_not_fit_is_told(forward: Callable[[Any, Tensor], Tensor], operation: str) -> None:
    first = headroom_of(forward).results[0]

    assert (first.operation, first.dtype) == (operation, "float16")
    assert first.infinite > 0
    assert not first.is_edge


FITS: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "two layers": lambda m, x: m.second(m.first(x).relu()),
    "torch's norms": lambda m, x: F.layer_norm(m.first(x) * 500, (8,)) + F.normalize(m.second(x) * 500),
    "a norm of squares": lambda m, x: m.second(F.rms_norm(m.first(x) * 500, (8,))),
    "a filled mask": lambda m, x: (m.first(x) @ x.T).masked_fill(FUTURE == 1, -math.inf).softmax(-1),
    "an added mask": lambda m, x: (m.first(x) @ x.T + masked(-65504.0)).softmax(-1),
    "an added mask of infinities": lambda m, x: (m.first(x) @ x.T + masked(-math.inf)).softmax(-1),
}


@pytest.mark.parametrize("forward", FITS.values(), ids=FITS.keys())
def test_results_that_fit_have_room(forward: Callable[[Any, Tensor], Tensor]) -> None:
    found = headroom_of(forward)

    assert not [each for each in found.results if each.infinite]
    assert found.is_narrow
    assert found.results[0].share < 0.25


@pytest.mark.parametrize(
    "forward",
    [
        pytest.param(lambda m, x: m.second(m.first(x).log()), id="log of a negative"),
        pytest.param(lambda m, x: m.second(m.first(x) / (x * 0)), id="nothing below the line"),
        pytest.param(lambda m, x: m.second(m.first(x) ** 0.5), id="root of a negative"),
    ],
)
def test_what_leaves_the_numbers_in_every_type_is_no_overflow(forward: Callable[[Any, Tensor], Tensor]) -> None:
    broken = [each for each in headroom_of(forward).results if each.infinite]

    assert [each.is_edge for each in broken] == [True]


@pytest.mark.parametrize(
    ("constant", "vanished"),
    [
        pytest.param(1e-8, 1e-8, id="zero in float16"),
        pytest.param(1e-2, None, id="a number in float16"),
    ],
)
def test_a_constant_that_is_zero_in_its_type_protects_from_nothing(constant: float, vanished: float | None) -> None:
    found = headroom_of(lambda m, x: m.second(x) + m.first(x) / ((x * 0).norm(dim=1, keepdim=True) + constant))
    broken = [each for each in found.results if each.infinite]

    assert [each.vanished for each in broken] == ([] if vanished is None else [vanished])


@pytest.mark.parametrize(
    ("factor", "largest"),
    [pytest.param(1.0, None, id="small"), pytest.param(1e6, 1e6, id="beyond float16")],
)
def test_wide_types_are_looked_at_only_where_they_hold_large_numbers(factor: float, largest: float | None) -> None:
    found = headroom_of(lambda m, x: m.second(m.first(x)) * factor, dtype=torch.float32)

    assert not found.is_narrow
    if largest is None:
        assert found.results == ()
    else:
        assert found.results[0].largest > largest


def test_the_mask_of_a_wide_step_is_no_large_number() -> None:
    mask = torch.full((16, 16), torch.finfo(torch.float32).min).triu(1)
    found = headroom_of(lambda m, x: (m.first(x) @ x.T + mask).softmax(-1), dtype=torch.float32)

    assert found.results == ()


def test_the_squares_inside_a_mean_square_count() -> None:
    found = headroom_of(
        lambda m, x: m.second(x), dtype=torch.float32, loss=lambda out: F.mse_loss(out, torch.full_like(out, 1e3))
    )

    assert found.results[0].operation == "mse_loss"
    assert found.results[0].largest == pytest.approx(1e6, rel=0.01)


@pytest.mark.parametrize(("dtype", "limit"), [("float16", 65504.0), ("float8_e4m3fn", 448.0), ("float8_e5m2", 57344.0)])
def test_limits_are_those_of_the_standard(dtype: str, limit: float) -> None:
    assert limit_of(dtype) == limit
