import math

import pytest
import torch
from torch import Tensor, nn

from isometry.training.watching.faults import GradientGuard, are_finite, loss_is_finite
from isometry.training.watching.ranks import Ranks

HUGE = 3e38  # finite in float32, its square is not


def guarded(*gradients: Tensor | None) -> tuple[GradientGuard, nn.ParameterList]:
    model = nn.ParameterList([nn.Parameter(torch.zeros(2)) for _ in gradients])
    for parameter, gradient in zip(model, gradients, strict=True):
        parameter.grad = gradient
    return GradientGuard(model, torch.optim.SGD(model.parameters(), lr=0.1), ranks=Ranks()), model


@pytest.mark.parametrize(
    ("gradients", "bad"),
    [
        pytest.param((torch.ones(2), torch.ones(2)), (), id="well"),
        pytest.param((torch.ones(2), torch.tensor([1.0, math.nan])), ("1",), id="nan"),
        pytest.param((torch.tensor([math.inf, -math.inf]), torch.ones(2)), ("0",), id="infinities that cancel"),
        pytest.param((torch.full((2,), HUGE), torch.ones(2)), (), id="huge, and its norm overflows"),
        pytest.param((None, torch.tensor([0.0, math.inf])), ("1",), id="one without a gradient"),
        pytest.param((None, None), (), id="none"),
    ],
)
def test_bad_gradients_are_named_and_large_ones_are_not_bad(gradients: tuple[Tensor], bad: tuple[str, ...]) -> None:
    guard, _ = guarded(*gradients)

    assert guard.test() == bad


def test_sparse_gradients_are_tested_by_the_numbers_they_hold() -> None:
    model = nn.Embedding(5, 2, sparse=True)
    guard = GradientGuard(model, torch.optim.SGD(model.parameters(), lr=0.1), ranks=Ranks())
    results: list[tuple[str, ...]] = []
    for factor in (1.0, math.nan):
        model.zero_grad()
        (model(torch.tensor([1, 1, 3])).sum() * factor).backward()
        results.append(guard.test())

    assert results == [(), ("weight",)]


def test_dropped_gradients_are_none() -> None:
    guard, model = guarded(torch.ones(2), torch.ones(2))

    guard.drop()

    assert all(each.grad is None for each in model)


def test_gradients_that_overflowed_by_the_scale_are_the_scalers_own_business() -> None:
    model = nn.ParameterList([nn.Parameter(torch.zeros(2))])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, fused=True)
    guard = GradientGuard(model, optimizer, ranks=Ranks())
    model[0].grad = torch.full((2,), math.inf)

    alone = guard.test()
    optimizer.found_inf = torch.ones(())
    with_scaler = guard.test()

    assert (alone, with_scaler) == (("0",), ())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64])
def test_every_type_of_number_is_told_from_what_is_none(dtype: torch.dtype) -> None:
    well = torch.full((1000,), 200.0, dtype=dtype)  # the norm of a thousand such overflows in no type but float16
    ill = well.clone()
    ill[7] = math.nan

    assert are_finite([well, torch.ones(3, dtype=torch.int64)])
    assert not are_finite([well, ill])


@pytest.mark.parametrize(("loss", "is_finite"), [(1.0, True), (math.inf, False), (torch.tensor(math.nan), False)])
def test_a_loss_is_a_number_or_a_tensor(loss: Tensor | float, is_finite: bool) -> None:
    assert loss_is_finite(loss) == is_finite
