"""Single units: which are silent, and which are copies of each other for ever."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from isometry.anatomy.record import record_step
from isometry.anatomy.task import Task
from isometry.probes.evidence import gather, measure
from isometry.probes.twins import TwinTable
from isometry.probes.units import UnitActivity, UnitPrints, UnitTwins
from tests.anatomy.layers import mean_square


def net(*between: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), *between, nn.Linear(8, 3))


def copy_units(model: nn.Sequential, of: int, into: int) -> None:
    """Make one hidden unit a copy of another, incoming and outgoing weights."""
    first, last = model[0], model[-1]
    with torch.no_grad():
        for tensor in (first.weight, first.bias):
            tensor[into] = tensor[of]
        last.weight[:, into] = last.weight[:, of]


def twins_of(model: nn.Module, x: Tensor) -> tuple[tuple[int, ...], ...]:
    watch = UnitTwins()
    record_step(Task(model=model, batch=x, step=mean_square), [watch])
    return next(iter(watch.prints().values())).twins()


def nudge(model: nn.Sequential) -> None:
    with torch.no_grad():
        model[0].weight[3] *= 1.001


def part_outgoing(model: nn.Sequential) -> None:
    with torch.no_grad():
        model[-1].weight[:, 3] += torch.tensor([0.1, 0.0, -0.1])


def flip(model: nn.Sequential) -> None:
    with torch.no_grad():
        model[0].weight[3] *= -1


@pytest.mark.parametrize(
    ("change", "between", "expected"),
    [
        pytest.param(lambda _: None, (nn.Tanh(),), ((1, 3),), id="exact copies"),
        pytest.param(lambda m: copy_units(m, 1, 6), (nn.Tanh(),), ((1, 3, 6),), id="three copies"),
        pytest.param(lambda m: copy_units(m, 0, 7), (nn.ReLU(),), ((0, 7), (1, 3)), id="two pairs"),
        pytest.param(nudge, (nn.Tanh(),), (), id="a thousandth apart"),
        pytest.param(part_outgoing, (nn.Tanh(),), (), id="other weights behind them"),
        pytest.param(flip, (nn.Tanh(),), (), id="mirror images"),
        pytest.param(lambda _: None, (nn.Tanh(), nn.Dropout(0.3)), (), id="dropout parts them"),
    ],
)
def test_copies_are_found_unless_something_parts_them(
    change: Callable[[Any], None], between: tuple[nn.Module, ...], expected: tuple[tuple[int, ...], ...]
) -> None:
    model = net(*between)
    copy_units(model, 1, 3)
    change(model)

    assert tuple(sorted(twins_of(model, torch.randn(64, 5)))) == expected


def test_copies_whose_gradients_take_turns_are_found_in_both_groups() -> None:
    forward = torch.tensor([1.0, 1.0, 1.0, 1.0, 2.0])
    backward = torch.tensor([3.0, 5.0, 3.0, 5.0, 3.0])

    assert sorted(UnitPrints(forward, backward).twins()) == [(0, 2), (1, 3)]


@given(
    pairs=st.lists(
        st.tuples(st.sampled_from([-2.0, 0.5, 1.0]), st.sampled_from([-1e-20, 1e-20, 3e-20])), min_size=1, max_size=12
    )
)
def test_twins_are_the_units_that_share_both_numbers(pairs: list[tuple[float, float]]) -> None:
    prints = UnitPrints(*(torch.tensor(column, dtype=torch.float64) for column in zip(*pairs, strict=True)))
    groups = {pair: tuple(i for i, each in enumerate(pairs) if each == pair) for pair in pairs}

    assert sorted(prints.twins()) == sorted(group for group in groups.values() if len(group) > 1)


def test_units_without_signal_or_gradient_are_no_twins() -> None:
    prints = UnitPrints(torch.tensor([0.0, 0.0, 1.0, 1.0, torch.nan]), torch.tensor([1.0, 1.0, 0.0, 0.0, 1.0]))

    assert prints.twins() == ()


def test_convolutions_have_channels_for_units() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Tanh(), nn.Conv2d(4, 2, 3))
    with torch.no_grad():
        model[0].weight[2], model[0].bias[2] = model[0].weight[0], model[0].bias[0]
        model[2].weight[:, 2] = model[2].weight[:, 0]

    assert twins_of(model, torch.randn(4, 2, 8, 8)) == ((0, 2),)


def test_the_table_names_hidden_layers_with_twins_and_spares_heads() -> None:
    model = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 4))
    for parameter in model.parameters():
        nn.init.constant_(parameter, 0.1)
    evidence = gather(Task(model=model, batch=torch.randn(32, 5), step=mean_square), [TwinTable])

    assert measure(evidence, TwinTable) == TwinTable(("0",), (6,), (1,))


def silent_shares(model: nn.Module, x: Tensor) -> list[float]:
    watch = UnitActivity()
    record_step(Task(model=model, batch=x, step=mean_square), [watch])
    return list(watch.silent_shares().values())


@pytest.mark.parametrize("dead", [0, 3, 8])
def test_units_that_no_sample_wakes_are_counted(dead: int) -> None:
    model = net(nn.ReLU())
    with torch.no_grad():
        model[0].bias[:dead] = -100.0
        model[0].bias[dead:] = 100.0

    assert silent_shares(model, torch.randn(64, 5)) == [dead / 8]


def test_on_few_samples_silence_says_nothing() -> None:
    assert silent_shares(net(nn.ReLU()), torch.randn(15, 5)) == []
    assert len(silent_shares(net(nn.ReLU()), torch.randn(16, 5))) == 1


def test_places_of_a_map_count_as_samples() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 1), nn.ReLU())
    with torch.no_grad():
        model[0].weight.fill_(1.0)
        model[0].bias.copy_(torch.tensor([0.0, 0.0, -50.0, -50.0]))

    assert silent_shares(model, torch.randn(1, 1, 8, 8)) == [0.5]
