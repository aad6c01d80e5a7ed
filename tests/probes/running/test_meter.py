import copy

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from isometry.probes.running.meter import Meter
from tests.probes.running.steps import layers_of, measured, rms


def tanh_network() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 7), nn.ReLU(), nn.Linear(7, 3))


def test_layers_have_the_numbers_of_plain_hooks() -> None:
    model, x = tanh_network(), 4 * torch.randn(40, 6)
    outputs = [x]
    for module in model:
        outputs.append(module(outputs[-1]))

    layers = layers_of(model, x)

    assert list(layers) == ["0", "2", "4"]
    for name, place in (("0", 1), ("2", 3), ("4", 5)):
        assert layers[name].activation_rms == pytest.approx(rms(outputs[place]), rel=1e-6)
    flat = (1 - outputs[2].double().square() < 0.05).double().mean()
    assert layers["0"].saturated_share == pytest.approx(float(flat), abs=1e-3)
    assert layers["2"].zero_share == pytest.approx(float((outputs[4] == 0).double().mean()), abs=1e-9)
    assert layers["4"].zero_share is None


def test_parameters_have_the_numbers_of_plain_formulas() -> None:
    model, x = tanh_network(), torch.randn(40, 6)
    other = copy.deepcopy(model)
    optimizer = torch.optim.Adam(other.parameters(), lr=0.05)
    other(x).square().mean().backward()
    before = {name: each.detach().clone() for name, each in other.named_parameters()}
    gradients = {name: each.grad for name, each in other.named_parameters()}
    optimizer.step()

    reading = measured(model, lambda: model(x).square().mean(), optimizer=torch.optim.Adam(model.parameters(), lr=0.05))

    assert [each.name for each in reading.parameters] == list(before)
    for each in reading.parameters:
        now = dict(other.named_parameters())[each.name]
        assert each.weight_rms == pytest.approx(rms(before[each.name]), rel=1e-6)
        assert each.gradient_rms == pytest.approx(rms(gradients[each.name]), rel=1e-6)
        assert each.update_rms == pytest.approx(rms(now - before[each.name]), rel=1e-4)
    total = sum(float(each.double().square().sum()) for each in gradients.values()) ** 0.5
    assert reading.gradient_norm == pytest.approx(total, rel=1e-6)
    assert reading.learning_rates == (0.05,)
    assert reading.nonfinite == ()


def test_of_large_parameters_some_numbers_stand_for_all() -> None:
    torch.manual_seed(0)
    model = nn.Linear(1024, 100)
    before = model.weight.detach().clone()

    reading = measured(model, lambda: model(torch.randn(5, 1024)).square().mean())

    weight = reading.parameters[0]
    assert weight.weight_rms == pytest.approx(rms(before), rel=0.02)
    assert weight.update_rms == pytest.approx(rms(model.weight - before), rel=0.02)


@pytest.mark.parametrize("size", [1e-25, 1e25])
def test_sizes_whose_squares_single_precision_cannot_hold_are_measured(size: float) -> None:
    model, x = nn.Linear(4, 4, bias=False), torch.randn(8, 4)

    reading = measured(model, lambda: model(x).mean() * size, steps=3, optimizer=torch.optim.SGD(model.parameters(), 0))

    gradient = x.double().mean(0) / 4 * size
    assert reading.parameters[0].gradient_rms == pytest.approx(rms(gradient.expand(4, 4)), rel=1e-5)


def test_a_training_under_the_meter_is_the_training_without_it_bit_for_bit() -> None:
    def train(*, is_measured: bool) -> tuple[list[Tensor], Tensor]:
        torch.manual_seed(3)
        model = nn.Sequential(
            nn.Conv2d(1, 4, 3),
            nn.BatchNorm2d(4),
            nn.ReLU(inplace=True),
            nn.Dropout(0.3),
            nn.Flatten(),
            nn.Linear(64, 2),
        )
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        meter = Meter(model, optimizer, rows=4)
        for step in range(1, 6):
            if is_measured:
                meter.open()
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(torch.randn(8, 1, 6, 6)), torch.randint(2, (8,)))
            loss.backward()
            meter.before_update()
            optimizer.step()
            meter.after_update()
            if is_measured:
                meter.close([loss], step=step, seconds=0.0, micro_batches=1, loss_scale=None)
        return [*model.state_dict().values()], torch.get_rng_state()

    (with_meter, state), (without, other) = train(is_measured=True), train(is_measured=False)

    assert all(torch.equal(one, two) for one, two in zip(with_meter, without, strict=True))
    assert torch.equal(state, other)


def test_dead_units_are_known_after_the_window_and_enough_rows() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    with torch.no_grad():
        model[0].bias.copy_(torch.tensor([100.0] * 5 + [-100.0] * 3))
    x = torch.randn(64, 4)

    def share(steps: int) -> float | None:
        own = copy.deepcopy(model)
        return measured(own, lambda: own(x).mean(), steps=steps).layers[0].dead_share

    assert share(9) is None
    assert share(10) == 3 / 8


def test_a_unit_that_wakes_once_in_the_window_is_not_dead() -> None:
    model = nn.Sequential(nn.Linear(1, 2, bias=False), nn.ReLU(), nn.Linear(2, 1))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0], [-1.0]]))
    batches = iter([torch.ones(64, 1)] * 6 + [-torch.ones(64, 1)] + [torch.ones(64, 1)] * 6)

    reading = measured(model, lambda: model(next(batches)).mean() * 0, steps=12)

    assert reading.layers[0].dead_share == 0


def test_names_of_what_is_not_finite_are_given() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))

    reading = measured(model, lambda: model[1](model[0](torch.ones(4, 2)).detach()).mean() * torch.inf)

    assert reading.nonfinite == ("1.weight", "1.bias")


def test_a_frozen_parameter_is_left_out_and_one_without_gradient_has_none() -> None:
    model = nn.ModuleDict({"used": nn.Linear(2, 1), "idle": nn.Linear(2, 1, bias=False), "frozen": nn.Linear(1, 1)})
    model["frozen"].requires_grad_(requires_grad=False)

    reading = measured(model, lambda: model["frozen"](model["used"](torch.ones(4, 2))).mean(), steps=2)

    assert [each.name for each in reading.parameters] == ["used.weight", "used.bias", "idle.weight"]
    assert reading.parameters[2].gradient_rms is None
    assert reading.parameters[2].update_rms == 0
    assert [each.name for each in reading.layers] == ["used", "frozen"]


def test_rates_and_losses_are_read_on_the_host_once() -> None:
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    asked: list[str] = []

    class Questions(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # noqa: ANN001, ANN204 - torch's signature
            if "local_scalar_dense" in str(func):
                asked.append(str(func))
            return func(*args, **(kwargs or {}))

    meter = Meter(model, optimizer)
    with Questions():
        meter.open()
        loss = model(torch.ones(3, 2)).mean()
        loss.backward()
        meter.before_update()
        optimizer.step()
        meter.after_update()
        losses = [torch.tensor(3.0), torch.tensor(2.0)]
        reading = meter.close(losses, step=7, seconds=1.5, micro_batches=1, loss_scale=torch.tensor(8.0))

    assert asked == []
    assert (reading.step, reading.seconds, reading.losses) == (7, 1.5, (3.0, 2.0))
    assert (reading.learning_rates, reading.loss_scale) == ((0.5,), 8.0)


def test_gradients_that_the_optimiser_unscales_itself_are_divided() -> None:
    model = nn.Linear(2, 1)
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    optimizer.grad_scale, optimizer.found_inf = torch.tensor(64.0), torch.tensor(0.0)

    reading = measured(model, lambda: 64 * model(torch.ones(3, 2)).mean(), optimizer=optimizer)

    assert reading.parameters[0].gradient_rms == pytest.approx(1.0)


def test_several_readings_of_parametrised_and_tied_weights_have_names_of_their_own() -> None:
    model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(3, 3)), nn.Linear(3, 3))
    model[1].bias = model[0].bias

    reading = measured(model, lambda: model(torch.ones(4, 3)).mean())

    names = [each.name for each in reading.parameters]
    assert len(set(names)) == len(names) == 4
    assert [each.name for each in reading.layers] == ["0", "1"]
