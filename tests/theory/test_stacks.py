"""Stacks against closed forms and against simulated networks of finite width."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from isometry._errors import DomainError
from isometry.theory.stacks import Stack, log_norm_variance, passages

Array = NDArray[np.float64]


def relu(x: Array) -> Array:
    return np.maximum(x, 0)


def test_a_plain_relu_stack_at_two_keeps_length_and_gradient() -> None:
    found = list(passages(Stack(function=relu, weight_variance=2.0), 1.7, 5))

    assert [each.length for each in found] == pytest.approx([1.7] * 5)
    assert [each.factor for each in found] == pytest.approx([1.0] * 5)


def test_a_residual_stack_doubles_and_a_scaled_branch_keeps_it_bounded() -> None:
    doubled = list(passages(Stack(function=relu, kind="residual", weight_variance=2.0), 1.0, 10))
    scaled = Stack(function=relu, kind="residual", weight_variance=2.0, branch_scale=math.sqrt(0.1))

    assert doubled[-1].length == pytest.approx(2.0**10)
    assert list(passages(scaled, 1.0, 10))[-1].length == pytest.approx(1.1**10)


def test_pre_norm_grows_by_one_branch_a_block_and_its_gradients_settle() -> None:
    found = list(passages(Stack(function=relu, kind="pre-norm", weight_variance=2.0), 1.0, 20))

    assert [each.length for each in found] == pytest.approx([2.0 + block for block in range(20)])
    assert [each.factor for each in found] == pytest.approx([1 + 1 / (1 + block) for block in range(20)])


def test_post_norm_keeps_the_length_and_loses_gradient_in_every_block() -> None:
    found = list(passages(Stack(function=np.tanh, kind="post-norm", weight_variance=2.0), 1.0, 6))

    assert {each.length for each in found} == {1.0}
    assert len({each.factor for each in found}) == 1


def test_a_signal_that_dies_out_ends_the_passage() -> None:
    assert len(list(passages(Stack(function=lambda x: 0 * x), 1.0, 5))) == 1


def test_a_start_of_zero_is_refused() -> None:
    with pytest.raises(DomainError, match="not positive"):
        list(passages(Stack(function=relu), 0.0, 1))


@pytest.mark.slow
@pytest.mark.parametrize(("width", "depth"), [(60, 10), (120, 30)])
def test_log_gradient_norms_of_relu_networks_spread_by_depth_over_width(width: int, depth: int) -> None:
    generator, draws = np.random.default_rng(0), 600
    signal = np.tile(generator.standard_normal(width), (draws, 1))
    gradient = np.tile(np.eye(width)[0], (draws, 1))
    for _ in range(depth):  # a gradient pushed forward spreads as one pulled back does
        weights = generator.standard_normal((draws, width, width)) * math.sqrt(2 / width)
        signal = np.einsum("dij,dj->di", weights, signal)
        gradient = np.einsum("dij,dj->di", weights, gradient) * (signal > 0)
        signal = relu(signal)
    logs = np.log((gradient**2).sum(1))
    predicted = log_norm_variance(relu, 1.0, (width,) * depth)

    assert logs.var() == pytest.approx(predicted, rel=0.25)
