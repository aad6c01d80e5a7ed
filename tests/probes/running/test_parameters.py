import pytest
import torch
from torch import Tensor, nn

from tests.probes.running.steps import measured, rms


def test_only_what_the_optimiser_holds_is_measured() -> None:
    model, x = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1)), torch.randn(12, 4)

    reading = measured(model, lambda: model(x).mean(), optimizer=torch.optim.SGD(model[2].parameters(), lr=0.1))

    assert [each.name for each in reading.parameters] == ["2.weight", "2.bias"]
    assert model[0].weight.grad is not None
    total = sum(float(each.grad.double().square().sum()) for each in model[2].parameters()) ** 0.5
    assert reading.gradient_norm == pytest.approx(total, rel=1e-6)


def test_a_group_that_is_added_later_is_measured_from_then_on() -> None:
    model, x = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1)), torch.randn(12, 4)
    optimizer = torch.optim.SGD(model[2].parameters(), lr=0.1)

    def loss() -> Tensor:
        if len(optimizer.param_groups) == 1:
            optimizer.add_param_group({"params": list(model[0].parameters())})
        return model(x).mean()

    reading = measured(model, loss, optimizer=optimizer, steps=2)

    assert [each.name for each in reading.parameters] == ["0.weight", "0.bias", "2.weight", "2.bias"]


def test_what_is_looked_at_of_a_large_parameter_are_not_all_numbers_of_the_same_columns() -> None:
    model = nn.Linear(1024, 1024, bias=False)
    with torch.no_grad():
        model.weight.fill_(1.0)[:, :16] = 0.0

    weight = measured(model, lambda: model(torch.randn(5, 1024)).mean()).parameters[0]

    assert weight.sampled == 4096
    assert weight.weight_rms == pytest.approx(1.0, rel=0.02)


def test_an_update_of_which_nothing_was_looked_at_is_not_known_rather_than_zero() -> None:
    model = nn.ModuleList([nn.Embedding(10_000, 8), nn.Embedding(10, 8)])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    large, small = measured(
        model, lambda: sum(each(torch.tensor([3])).sum() for each in model), optimizer=optimizer
    ).parameters

    assert (large.update_rms, large.update_ratio, large.sampled) == (None, None, 4096)
    assert small.sampled is None
    assert small.update_rms == pytest.approx(0.1 / 10**0.5, rel=1e-5)


def test_an_optimiser_that_puts_another_tensor_in_the_place_of_a_weight_is_measured() -> None:
    class Replacing(torch.optim.SGD):
        def step(self, closure: object = None) -> None:
            assert closure is None
            for group in self.param_groups:
                for each in group["params"]:
                    each.data = each.data - group["lr"] * each.grad

    model, x = nn.Linear(4, 4, bias=False), torch.randn(8, 4)
    for steps in (1, 3):
        optimizer = Replacing(model.parameters(), lr=0.1)
        weight = measured(model, lambda: model(x).square().mean(), optimizer=optimizer, steps=steps).parameters[0]

        assert weight.update_rms == pytest.approx(0.1 * weight.gradient_rms, rel=1e-4)
        assert rms(model.weight) == pytest.approx(weight.weight_rms, rel=0.2)
