import math

import pytest
import torch

from isometry._errors import UnknownNameError
from isometry.lab.apparatus.plain_stacks import ACTIVATIONS, STARTS, Shape, follow, predicted, start_of


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_wide_network_does_what_theory_says(activation: str, start: str) -> None:
    shape = Shape(width=200, depth=6)
    seen, exact = (
        follow(activation, start, shape, num_examples=16, seed=3),
        predicted(activation, start, shape),
    )

    # The logarithm of one network's mean square strays by 5/n a layer in nats squared: 0.17 decades here.
    assert seen.signal == pytest.approx(exact.signal, abs=0.5)
    assert seen.gradient == pytest.approx(exact.gradient, abs=0.5)


@pytest.mark.parametrize(
    ("start", "square"),
    [("normal 0.01", 300 * 1e-4), ("torch default", 1 / 3 + 1 / 900), ("xavier", 1.0), ("he", 2.0)],
)
def test_the_first_layer_has_the_size_that_its_start_is_named_for(start: str, square: float) -> None:
    # U(-1/√n, 1/√n), for PyTorch's weights and biases, has the variance 1/(3n).
    course = follow("tanh", start, Shape(width=300, depth=2), num_examples=64, seed=1)

    assert course.signal[0] == pytest.approx(math.log10(square), abs=0.05)


def test_a_network_is_followed_as_in_a_plain_loop() -> None:
    found = follow("relu", "he", Shape(width=5, depth=3), num_examples=4, seed=6)
    generator = torch.Generator().manual_seed(6)

    def normal(*sizes: int) -> torch.Tensor:
        return torch.randn(sizes, generator=generator, dtype=torch.float64)

    signal, layers, weights = normal(4, 5), [], []
    for _ in range(3):
        weights.append((2 / 5) ** 0.5 * normal(5, 5))
        normal(5)  # biases, of variance 0
        layers.append(signal @ weights[-1])
        signal = layers[-1].clamp(min=0)
    head = normal(5, 10) / 5**0.5
    labels = torch.randint(10, (4,), generator=generator)
    gradient = ((signal @ head).softmax(1) - torch.eye(10, dtype=torch.float64)[labels]) / 4 @ head.T
    squares: list[float] = []
    for number in (2, 1, 0):
        gradient = gradient * (layers[number] > 0)
        squares.insert(0, float(gradient.square().mean()))
        gradient = gradient @ weights[number].T
    assert found.signal == pytest.approx([math.log10(float(each.square().mean())) for each in layers])
    assert found.gradient == pytest.approx([math.log10(square / squares[-1]) for square in squares])


def test_linear_layers_multiply_their_variances() -> None:
    found = predicted("linear", "he", Shape(width=64, depth=4))

    assert found.signal == pytest.approx([math.log10(2) * layer for layer in (1, 2, 3, 4)])
    assert found.gradient == pytest.approx([math.log10(2) * layer for layer in (3, 2, 1, 0)])


def test_gradients_that_no_square_could_hold_are_followed() -> None:
    found = follow("sigmoid", "normal 0.01", Shape(width=16, depth=100), num_examples=2, seed=0)

    assert -600 < found.gradient[0] < -380


def test_a_seed_always_draws_the_same_network() -> None:
    shape = Shape(width=8, depth=3)
    one, again, other = (follow("tanh", "xavier", shape, num_examples=4, seed=seed) for seed in (1, 1, 2))

    assert one == again
    assert one != other


def test_the_critical_start_of_sigmoids_takes_their_mean_away() -> None:
    start = start_of("critical", "sigmoid", 64)

    assert start.weight_variance == pytest.approx(16.0)
    assert start.mean == pytest.approx(0.5)


def test_a_start_that_does_not_exist_is_told_with_those_that_do() -> None:
    with pytest.raises(UnknownNameError, match=r"'henormal'\. Known: normal 0\.01, torch default"):
        start_of("henormal", "tanh", 8)
    with pytest.raises(UnknownNameError, match="activation of the lab"):
        follow("thanh", "critical", Shape(width=4, depth=1), num_examples=2, seed=0)
