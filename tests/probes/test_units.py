"""Single units: which are silent on every sample, also of other batches."""

import pytest
import torch
from torch import Tensor, nn

from isometry.anatomy.record import record_step
from isometry.anatomy.task import Task, make_task
from isometry.probes.activations import ActivationTable
from isometry.probes.evidence import gather, measure
from isometry.probes.units import UnitActivity
from tests.anatomy.layers import mean_square


def net(*between: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), *between, nn.Linear(8, 3))


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


def test_many_outputs_on_few_samples_are_enough() -> None:
    torch.manual_seed(0)
    wide = nn.Sequential(nn.Linear(5, 64), nn.ReLU(), nn.Linear(64, 3))

    assert len(silent_shares(wide, torch.randn(4, 5))) == 1
    assert silent_shares(wide, torch.randn(3, 5)) == []


def rare() -> tuple[nn.Sequential, Tensor]:
    """Units that wake on one sample in forty, which a batch of 16 seldom holds."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 3))
    with torch.no_grad():
        model[0].weight.copy_(torch.eye(40))
        model[0].bias.fill_(-0.5)
    return model, torch.eye(40).repeat(25, 1)


def test_units_that_wake_on_other_batches_of_the_data_are_not_silent() -> None:
    model, x = rare()
    with_data = gather(make_task(model, x, torch.zeros(1000), batch_size=16), [ActivationTable])
    alone = gather(make_task(model, x[:8].repeat(2, 1)), [ActivationTable])
    (over_data,), (on_batch,) = (measure(each, ActivationTable).activations for each in (with_data, alone))

    assert on_batch.silent_share == pytest.approx(0.8)
    assert over_data.silent_share is not None
    assert over_data.silent_share < 0.4


def test_a_data_set_that_wakes_no_unit_leaves_them_silent() -> None:
    model, x = rare()
    with torch.no_grad():
        model[0].bias.fill_(-2.0)
    (row,) = measure(gather(make_task(model, x, torch.zeros(1000)), [ActivationTable]), ActivationTable).activations

    assert row.silent_share == 1


@pytest.mark.parametrize(("bias", "share"), [(-50.0, 1.0), (0.0, 0.0)])
def test_a_rectifier_that_makes_the_output_is_measured(bias: float, share: float) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 1), nn.ReLU())
    nn.init.constant_(model[2].bias, bias)
    task = make_task(model, torch.randn(64, 5), torch.ones(64, 1), loss=nn.functional.mse_loss)
    table = measure(gather(task, [ActivationTable]), ActivationTable)

    assert [(row.name, row.is_output, row.silent_share) for row in table.activations] == [
        ("tanh", False, None),
        ("relu", True, share),
    ]


def test_a_hinge_in_the_loss_is_no_output() -> None:
    model = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 1))
    task = Task(model=model, batch=torch.randn(64, 5), step=lambda model, x: torch.relu(1 - model(x)).mean())

    assert [row.name for row in measure(gather(task, [ActivationTable]), ActivationTable).activations] == ["tanh"]
