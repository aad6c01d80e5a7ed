"""What holds for both optimisers that scale their steps by a ratio of norms."""

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from isometry._errors import DomainError
from isometry.training.optim.lamb import LAMB
from isometry.training.optim.lars import LARS
from isometry.training.optim.trust import TrustRatioOptimizer
from tests.training.optim.driven import Transfers, drawn, drive, gradients, state, weights

Make = Callable[..., TrustRatioOptimizer]
BOTH = pytest.mark.parametrize("make", [LARS, LAMB])


def rows(steps: int = 7, dtype: torch.dtype = torch.float64) -> list[tuple[Tensor | None, ...]]:
    return list(zip(*gradients(dtype, steps), strict=True))


@BOTH
def test_a_resumed_optimiser_goes_on_to_the_bit(make: Make) -> None:
    through, resumed = weights(), weights()
    given = rows()
    first, before = make(through, 0.1, weight_decay=0.02), make(resumed, 0.1, weight_decay=0.02)
    drive(first, through, given)
    drive(before, resumed, given[:3])
    after = make(resumed, 0.7)

    after.load_state_dict(copy.deepcopy(before.state_dict()))
    drive(after, resumed, given[3:], start=3)

    assert all(torch.equal(mine, other) for mine, other in zip(through, resumed, strict=True))
    assert [str(each) for each in state(first)] == [str(each) for each in state(after)]


@pytest.mark.parametrize(
    ("make", "dtype"),
    [
        *((make, dtype) for make in (LARS, LAMB) for dtype in (torch.float32, torch.bfloat16)),
        (LARS, torch.float16),
    ],
)
def test_low_precision_follows_float64_within_its_own_rounding(make: Make, dtype: torch.dtype) -> None:
    exact, rounded = weights(), weights(dtype)

    drive(make(exact, 0.1, weight_decay=0.01), exact, rows(3))
    drive(make(rounded, 0.1, weight_decay=0.01), rounded, rows(3, dtype))

    worst = 40 * torch.finfo(dtype).eps  # three steps of about ten roundings
    for mine, other in zip(exact, rounded, strict=True):
        assert float((mine - other).detach().norm() / mine.detach().norm()) < worst


def test_lamb_refuses_float16_which_holds_no_squares_of_gradients() -> None:
    with pytest.raises(DomainError, match=r"float16 parameters, and the squares .* torch\.autocast, or take bfloat16"):
        LAMB(weights(torch.float16), 0.1)


def test_the_norm_of_a_float16_gradient_may_pass_its_range() -> None:
    parameter = nn.Parameter(torch.full((100, 100), 100.0, dtype=torch.float16))
    parameter.grad = torch.full((100, 100), 3000.0, dtype=torch.float16)  # a norm of 300,000

    optimizer = LARS([parameter], 0.1)
    optimizer.step()

    assert bool(parameter.isfinite().all())
    assert 0 < optimizer.trust_ratios()[parameter] < 1e4


@pytest.mark.parametrize(("make", "ratio"), [(LARS, 0.001), (LAMB, 1.0)])
@pytest.mark.parametrize("zero", ["weight", "gradient"])
def test_a_ratio_without_a_norm_is_that_of_equal_norms(make: Make, ratio: float, zero: str) -> None:
    parameter = nn.Parameter(torch.zeros(3, 2) if zero == "weight" else torch.ones(3, 2))
    parameter.grad = torch.zeros(3, 2) if zero == "gradient" else torch.ones(3, 2)
    optimizer = make([parameter], 0.1)

    optimizer.step()

    assert optimizer.trust_ratios() == {parameter: pytest.approx(ratio)}
    assert bool(parameter.isfinite().all())
    assert bool((parameter != 0).all())


@BOTH
def test_the_ratio_of_a_gradient_that_is_nan_is_nan(make: Make) -> None:
    parameter = nn.Parameter(torch.ones(3, 2))
    parameter.grad = torch.full((3, 2), torch.nan)
    optimizer = make([parameter], 0.1)

    optimizer.step()

    assert math.isnan(optimizer.trust_ratios()[parameter])


@BOTH
def test_to_maximise_is_to_minimise_the_opposite(make: Make) -> None:
    up, down = weights(), weights()
    opposite = [tuple(None if each is None else -each for each in row) for row in rows()]

    drive(make(up, 0.1, maximize=True), up, rows())
    drive(make(down, 0.1), down, opposite)

    assert all(torch.equal(mine, other) for mine, other in zip(up, down, strict=True))


@BOTH
def test_gradients_are_left_as_they_are(make: Make) -> None:
    parameters = weights()
    optimizer = make(parameters, 0.1, weight_decay=0.5, maximize=True)
    row = rows()[0]

    drive(optimizer, parameters, [row])

    assert all(torch.equal(each.grad, gradient) for each, gradient in zip(parameters, row, strict=True))


@BOTH
def test_what_has_no_gradient_for_a_while_moves_as_if_the_others_were_not_there(make: Make) -> None:
    together, alone = weights(), weights()
    given = rows()
    gaps = [(row[0], None if step % 3 else row[1], row[2], row[3]) for step, row in enumerate(given)]

    drive(make(together, 0.1), together, gaps)
    drive(make(alone[1:2], 0.1), alone[1:2], [(row[1],) for row in gaps])

    assert torch.equal(together[1], alone[1])


@BOTH
def test_groups_differ_and_more_can_be_added(make: Make) -> None:
    both, first, second = weights(), weights(), weights()
    optimizer = make(both[:2], 0.1, weight_decay=0.3)

    optimizer.add_param_group({"params": both[2:], "weight_decay": 0.0, "is_adapted": False})
    drive(optimizer, both, rows())
    drive(make(first[:2], 0.1, weight_decay=0.3), first[:2], [row[:2] for row in rows()])
    drive(make([{"params": second[2:], "is_adapted": False}], 0.1), second[2:], [row[2:] for row in rows()])

    assert all(torch.equal(mine, other) for mine, other in zip(both, [*first[:2], *second[2:]], strict=True))
    assert set(optimizer.trust_ratios()) == set(both[:2])


@BOTH
def test_a_copy_steps_like_the_original(make: Make) -> None:
    parameters = weights()
    optimizer = make(parameters, 0.1)
    drive(optimizer, parameters, rows(2))
    other = copy.deepcopy(optimizer)
    copied = [each for group in other.param_groups for each in group["params"]]

    assert other.trust_ratios() == {}
    drive(optimizer, parameters, rows(1))
    drive(other, copied, rows(1))
    assert all(torch.equal(mine, each) for mine, each in zip(parameters, copied, strict=True))


@BOTH
def test_a_closure_computes_the_gradients_and_its_loss_comes_back(make: Make) -> None:
    parameter = nn.Parameter(torch.ones(2, 2))
    optimizer = make([parameter], 0.1)

    def closure() -> float:
        optimizer.zero_grad()
        loss = parameter.square().sum()
        loss.backward()
        return float(loss.detach())

    assert optimizer.step(closure) == 4.0
    assert float(parameter.detach().norm()) < 2.0


@BOTH
@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"lr": -0.1}, r"lr=-0.1 is out of range; give a number in \[0, inf\)"),
        ({"lr": torch.tensor(0.1)}, r"lr is a tensor, and a number is needed"),
        ({"lr": 0.1, "weight_decay": float("nan")}, r"weight_decay=nan is out of range"),
        ({"lr": 0.1, "weight_decay": float("inf")}, r"weight_decay=inf is out of range"),
        ({"lr": 0.1, "weight_decay": None}, r"weight_decay=None is out of range"),
        ({"lr": "0.1"}, r"lr='0.1' is out of range"),
    ],
)
def test_settings_out_of_range_are_refused(make: Make, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(DomainError, match=words):
        make(weights(), **settings)


def test_momenta_of_one_are_refused() -> None:
    with pytest.raises(DomainError, match=r"momentum=1.0 is out of range; give a number in \[0, 1\)"):
        LARS(weights(), 0.1, momentum=1.0)
    with pytest.raises(DomainError, match=r"the second beta=1.0 is out of range"):
        LAMB(weights(), 0.1, betas=(0.9, 1.0))


@pytest.mark.parametrize("settings", [{"betas": (0.9,)}, {"betas": 0.9}, {"norm_bounds": 10.0}], ids=str)
def test_one_number_where_two_are_needed_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(DomainError, match=r"was given, and two numbers are needed"):
        LAMB(weights(), 0.1, **settings)


@BOTH
def test_a_refused_group_is_not_taken(make: Make) -> None:
    parameters = weights()
    optimizer = make(parameters[:1], 0.1)

    with pytest.raises(DomainError, match=r"weight_decay=-1 is out of range"):
        optimizer.add_param_group({"params": parameters[1:], "weight_decay": -1})

    assert len(optimizer.param_groups) == 1


@BOTH
def test_complex_parameters_and_sparse_gradients_are_refused_with_a_way_out(make: Make) -> None:
    with pytest.raises(DomainError, match=r"complex parameters, and takes real ones.*view_as_real"):
        make([nn.Parameter(torch.zeros(2, dtype=torch.complex64))], 0.1)
    table = nn.Embedding(5, 3, sparse=True)
    table(torch.tensor([1, 2])).sum().backward()

    with pytest.raises(DomainError, match=r"sparse gradient of shape \(5, 3\).*sparse=False"):
        make(table.parameters(), 0.1).step()


@BOTH
def test_a_small_network_learns(make: Make) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 1))
    inputs = drawn(64, 4, seed=1, dtype=torch.float32)
    targets = inputs.prod(1, keepdim=True)
    optimizer = make(model.parameters(), 20.0 if make is LARS else 0.02)
    losses: list[float] = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(inputs), targets)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))

    assert losses[-1] < 0.7 * losses[0]


@BOTH
def test_a_step_reads_no_number_from_the_device(make: Make) -> None:
    parameters = weights()
    optimizer = make(parameters, 0.1, weight_decay=0.1)
    drive(optimizer, parameters, rows(1))

    with Transfers() as transfers:
        optimizer.step()
        during = transfers.count
        float(parameters[0].detach().sum())  # so that it is known to count

    assert (during, transfers.count) == (0, 1)


@BOTH
def test_hooks_and_schedules_of_torch_see_the_steps(make: Make) -> None:
    parameters = weights()
    optimizer = make(parameters, 0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.2, total_steps=5)
    seen: list[str] = []
    optimizer.register_step_pre_hook(lambda *_: seen.append("before"))
    optimizer.register_step_post_hook(lambda *_: seen.append("after"))
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)

    optimizer.step()
    schedule.step()

    assert seen == ["before", "after"]
    assert optimizer.param_groups[0]["lr"] == pytest.approx(schedule.get_last_lr()[0])
