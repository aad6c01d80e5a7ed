import math

import pytest
import torch
from torch import Tensor, nn

from isometry.fills.orthogonal import Orthogonal
from isometry.lab.members.plain_tanh import PlainTanh, TanhShape, TanhStart, gaussian
from tests.lab.members.plain_modules import tanh_module

SHAPE = TanhShape(inputs=7, width=5, depth=3, outputs=4)
STARTS = [
    TanhStart(first=gaussian(1.0, 7), hidden=Orthogonal(), head=gaussian(1.0, 5)),
    TanhStart(first=gaussian(1.3, 7), hidden=gaussian(1.3, 5), head=gaussian(1.0, 5), bias_std=0.2),
]


def examples(count: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, 7, generator=generator), torch.randint(4, (count,), generator=generator)


@pytest.mark.parametrize("place", [0, 1])
def test_outputs_and_gradients_are_those_of_torch(place: int) -> None:
    networks, (inputs, labels) = PlainTanh(STARTS, SHAPE, seed=1), examples()
    module = tanh_module(networks, place)
    nn.functional.cross_entropy(module(inputs), labels).backward()
    networks.backward(inputs, labels)
    first, hidden, head, biases = networks.gradients
    ours = [first[place], *hidden[:, place], head[place], *biases[:, place, 0]]
    theirs = [parameter.grad for name, parameter in module.named_parameters() if name.endswith("weight")]
    theirs += [parameter.grad for name, parameter in module.named_parameters() if name.endswith("bias")]

    torch.testing.assert_close(networks.outputs(inputs)[place], module(inputs))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)


def test_the_sizes_that_are_returned_are_those_of_the_gradients_by_layer() -> None:
    networks, (inputs, labels) = PlainTanh(STARTS, SHAPE, seed=1), examples()
    module = tanh_module(networks, 1)
    found: list[Tensor] = []
    signal = inputs
    for layer in module:
        signal = layer(signal)
        if isinstance(layer, nn.Linear):
            signal.retain_grad()
            found.append(signal)
    nn.functional.cross_entropy(signal, labels).backward()
    exact = [float(each.grad.square().mean()) for each in found[:-1] if each.grad is not None]

    assert networks.backward(inputs, labels)[:, 1].tolist() == pytest.approx(exact, rel=1e-5)


def test_hidden_layers_are_apart_and_networks_of_one_seed_the_same() -> None:
    one, again, other = (PlainTanh(STARTS, SHAPE, seed=seed).parameters[1] for seed in (1, 1, 2))

    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert not torch.equal(one[0], one[1])
    torch.testing.assert_close(one[2, 0] @ one[2, 0].T, torch.eye(5))


def test_every_tensor_has_the_deviation_that_its_start_asks_for() -> None:
    shape = TanhShape(inputs=300, width=64, depth=20, outputs=100)
    start = TanhStart(first=gaussian(1.3, 300), hidden=gaussian(0.7, 64), head=gaussian(2.0, 64), bias_std=0.2)
    first, hidden, head, biases = PlainTanh([start], shape, seed=3).parameters

    assert float(first.std()) == pytest.approx(1.3 / 300**0.5, rel=0.03)
    assert float(hidden.std()) == pytest.approx(0.7 / 8, rel=0.03)
    assert float(head.std()) == pytest.approx(2.0 / 8, rel=0.03)
    assert float(biases.std()) == pytest.approx(0.2, rel=0.06)


def test_lengths_are_mean_squares_behind_each_layer() -> None:
    networks = PlainTanh(STARTS, SHAPE, seed=1)
    inputs, _ = examples()
    module = tanh_module(networks, 0)
    expected = [float(module[: 2 * layer](inputs).detach().square().mean()) for layer in range(1, 5)]

    assert networks.lengths(inputs)[:, 0].tolist() == pytest.approx(expected, rel=1e-5)


def test_one_network_is_as_accurate_as_its_outputs_say() -> None:
    networks, (inputs, _) = PlainTanh(STARTS, SHAPE, seed=1), examples()

    assert networks.accuracy(inputs, networks.outputs(inputs)[0].argmax(1))[0] == 1.0


def test_an_optimiser_of_torch_trains_them() -> None:
    networks, (inputs, labels) = PlainTanh(STARTS, SHAPE, seed=1), examples(16)
    optimizer = torch.optim.Adam(networks.parameters, 1e-2)
    before = networks.accuracy(inputs, labels)
    for _ in range(200):
        networks.backward(inputs, labels)
        optimizer.step()

    assert (networks.accuracy(inputs, labels) > before).all()
    assert float(networks.accuracy(inputs, labels).min()) > 0.9


def test_a_gain_is_a_standard_deviation_times_the_root_of_the_fan_in() -> None:
    assert gaussian(3.0, 25).std == pytest.approx(3.0 / math.sqrt(25))
