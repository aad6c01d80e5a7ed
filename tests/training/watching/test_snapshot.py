import copy
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from isometry.training.optim.lamb import LAMB
from isometry.training.optim.lars import LARS
from isometry.training.watching.snapshot import RandomState, Snapshot, Training, copied

Make = Callable[[nn.Module], torch.optim.Optimizer]
OPTIMIZERS: dict[str, Make] = {
    "sgd with momentum": lambda model: torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True),
    "adam": lambda model: torch.optim.Adam(model.parameters(), lr=0.01, amsgrad=True),
    "adamw foreach": lambda model: torch.optim.AdamW(model.parameters(), lr=0.01, foreach=True),
    "adamw fused": lambda model: torch.optim.AdamW(model.parameters(), lr=0.01, fused=True),
    "adam with a rate that is a tensor": lambda model: torch.optim.Adam(model.parameters(), lr=torch.tensor(0.01)),
    "rmsprop": lambda model: torch.optim.RMSprop(model.parameters(), lr=0.01, centered=True, momentum=0.9),
    "lbfgs": lambda model: torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=4, history_size=3),
    "lars": lambda model: LARS(model.parameters(), lr=0.1, momentum=0.9),
    "lamb": lambda model: LAMB(model.parameters(), lr=0.01),
    "two groups": lambda model: torch.optim.SGD(
        [
            {"params": list(model.parameters())[:2], "lr": 0.1},
            {"params": list(model.parameters())[2:], "momentum": 0.8},
        ],
        lr=0.05,
    ),
}


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(0.3), nn.Linear(12, 3))


def one_step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    inputs = torch.randn(8, 6)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = model(inputs).square().mean()
        loss.backward()
        return loss

    optimizer.step(closure)


def whole_state(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[object]:
    """Everything that decides how a training goes on, in a form that can be compared bit for bit."""
    tensors = [*model.state_dict().values(), torch.get_rng_state()]
    return [*exact(tensors), exact(optimizer.state_dict()), random.getstate()]


def exact(value: object) -> Any:
    """Tensors as lists of their numbers, which Python compares bit for bit."""
    if isinstance(value, Tensor):
        return value.tolist()
    if isinstance(value, dict):
        return {key: exact(each) for key, each in value.items()}
    return [exact(each) for each in value] if isinstance(value, list | tuple) else value


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS.keys())
def test_a_restored_training_goes_on_bit_for_bit_as_it_did(make: Make) -> None:
    model = network()
    optimizer = make(model)
    cycles = not optimizer.defaults.keys().isdisjoint({"momentum", "betas"})
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=40, cycle_momentum=cycles)
    snapshot = Snapshot(Training(model, optimizer, scheduler))
    for _ in range(5):
        one_step(model, optimizer)
        scheduler.step()

    snapshot.take(5)
    at_snapshot = whole_state(model, optimizer)
    for _ in range(2):  # twice: what was put back must not be the snapshot's own memory
        for _ in range(3):
            one_step(model, optimizer)
            scheduler.step()
        after, rate = whole_state(model, optimizer), float(optimizer.param_groups[0]["lr"])
        snapshot.restore()

        assert whole_state(model, optimizer) == at_snapshot
    for _ in range(3):
        one_step(model, optimizer)
        scheduler.step()

    assert whole_state(model, optimizer) == after
    assert float(optimizer.param_groups[0]["lr"]) == rate


def test_moments_in_float32_of_weights_in_bfloat16_come_back_as_they_were() -> None:
    weight = nn.Parameter(torch.ones(3, dtype=torch.bfloat16))
    model = nn.ParameterList([weight])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    optimizer.state[weight]["momentum"] = torch.tensor([1.000001, 2.0, 3.0])
    snapshot = Snapshot(Training(model, optimizer))

    snapshot.take(1)
    optimizer.state[weight]["momentum"].zero_()
    snapshot.restore()

    assert torch.equal(optimizer.state[weight]["momentum"], torch.tensor([1.000001, 2.0, 3.0]))


def test_weights_stay_the_same_tensors_and_states_that_came_later_go() -> None:
    model = network()
    optimizer = torch.optim.Adam(model.parameters())
    before = [id(each) for each in model.parameters()]
    snapshot = Snapshot(Training(model, optimizer))

    snapshot.take(0)
    one_step(model, optimizer)
    snapshot.restore()

    assert [id(each) for each in model.parameters()] == before
    assert not optimizer.state


def test_a_gradient_scaler_and_a_scheduler_by_plateau_go_back() -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=1)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)
    scaler.scale(torch.ones(1))
    snapshot = Snapshot(Training(model, optimizer, scheduler, scaler))
    scheduler.step(1.0)

    snapshot.take(1)
    scaler.update(7.0)
    for loss in (2.0, 3.0):
        scheduler.step(loss)
    snapshot.restore()

    assert scaler.get_scale() == 1024.0
    assert optimizer.param_groups[0]["lr"] == 0.5
    assert scheduler.best == 1.0


def test_milestones_that_are_counted_come_back() -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [2, 2, 5], gamma=0.1)
    snapshot = Snapshot(Training(model, optimizer, scheduler))

    snapshot.take(0)
    snapshot.restore()

    assert scheduler.milestones == {2: 2, 5: 1}


def test_random_states_of_all_kinds_are_put_back() -> None:
    def draw() -> tuple[float, float, float]:
        return torch.rand(()).item(), float(np.random.rand()), random.random()  # noqa: NPY002, S311 - the global states

    state = RandomState.now(nn.Linear(1, 1))
    first = draw()
    draw()
    state.restore()

    assert draw() == first


def test_a_copy_of_a_state_shares_no_memory_with_it() -> None:
    state = {"tensors": [torch.ones(2)], "pair": (1, torch.zeros(1)), "number": 3}
    twin = copy.deepcopy(state)

    taken = copied(state)
    state["tensors"][0].fill_(5.0)

    assert str(taken) == str(twin)


def test_a_rate_that_is_a_tensor_stays_the_one_that_a_compiled_step_holds() -> None:
    model = network()
    rate = torch.tensor(0.5)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    snapshot = Snapshot(Training(model, optimizer))

    snapshot.take(1)
    rate.fill_(7.0)
    optimizer.param_groups[0]["added"] = 1
    snapshot.restore()

    assert optimizer.param_groups[0]["lr"] is rate
    assert rate.item() == 0.5
    assert "added" not in optimizer.param_groups[0]
