"""Stacks against closed forms and against simulated networks of finite width."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from isometry._errors import DomainError, UnknownNameError
from isometry.theory.quadrature import FloatArray as Array
from isometry.theory.quadrature import Function
from isometry.theory.stacks import Kind, Stack, passages


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


def test_post_norm_keeps_the_length_and_a_bent_activation_lets_the_gradient_grow() -> None:
    tanh, straight = (
        [each.factor for each in passages(Stack(function=function, kind="post-norm", weight_variance=2.0), 1.0, 6)]
        for function in (np.tanh, relu)
    )

    # (1 + 2 E[tanh'^2]) / (1 + 2 E[tanh^2]) at variance 1, both moments by scipy
    squares, slopes = quad(tanh_squared, -12, 12)[0], quad(slope_squared, -12, 12)[0]
    assert tanh == pytest.approx([(1 + 2 * slopes) / (1 + 2 * squares)] * 6)
    assert tanh[0] == pytest.approx(1.0784, abs=1e-4)
    assert straight == pytest.approx([1.0] * 6)


def test_batch_norm_lets_gradients_grow_by_the_share_of_the_slope_that_it_does_not_divide_by() -> None:
    straight, bent, smooth = (
        [each.factor for each in passages(Stack(function=function, kind="batch-norm"), 1.0, 3)]
        for function in (line, relu, np.tanh)
    )

    assert straight == pytest.approx([1.0] * 3)
    assert bent == pytest.approx([math.pi / (math.pi - 1)] * 3)  # Yang et al. 2019, theorem 8
    assert smooth == pytest.approx([quad(slope_squared, -12, 12)[0] / quad(tanh_squared, -12, 12)[0]] * 3)


def test_the_first_batch_norm_divides_by_the_size_of_what_enters() -> None:
    bent, _ = passages(Stack(function=relu, kind="batch-norm", weight_variance=3.0), 4.0, 2)
    faint, _ = passages(Stack(function=sigmoid, kind="batch-norm"), 1e-12, 2)

    assert bent.factor == pytest.approx(math.pi / (math.pi - 1) / 4)
    assert faint.factor == pytest.approx(1e12)


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def test_an_offset_does_not_matter_to_batch_norm() -> None:
    (found,) = passages(Stack(function=lambda x: x + 1e7, kind="batch-norm"), 1.0, 1)

    assert found.factor == pytest.approx(1)


def line(x: Array) -> Array:
    return 3 * x + 1


@given(weight_variance=st.floats(0.01, 100), bias_variance=st.floats(0, 10), bend=st.floats(0, 3))
@settings(max_examples=20)
def test_behind_batch_norm_gradients_never_shrink_and_neither_weights_nor_biases_matter(
    weight_variance: float, bias_variance: float, bend: float
) -> None:
    def function(x: Array) -> Array:
        return np.tanh(bend * x) + 0.1 * x

    stack = Stack(function=function, kind="batch-norm", weight_variance=weight_variance, bias_variance=bias_variance)
    (found,), (other,) = (passages(each, 1.0, 1) for each in (stack, Stack(function=function, kind="batch-norm")))

    assert found.factor == pytest.approx(other.factor)
    assert found.length == 1
    assert found.factor >= 1 - 1e-9  # Poincaré's inequality


def test_a_skip_past_batch_norm_makes_the_gradient_a_power_of_the_depth() -> None:
    stack = Stack(function=relu, kind="pre-batch-norm", weight_variance=2.0)
    found = list(passages(stack, 1.0, 400))
    growth = math.prod(each.factor for each in found[200:])

    assert [each.length for each in found[:3]] == pytest.approx([1 + n * (1 - 1 / math.pi) for n in (1, 2, 3)])
    assert math.log2(growth) == pytest.approx(math.pi / (math.pi - 1), rel=0.01)


def silu(x: Array) -> Array:
    return x * sigmoid(x)


TENSORS: dict[Function, Callable[[torch.Tensor], torch.Tensor]] = {
    relu: torch.relu,
    np.tanh: torch.tanh,
    silu: torch.nn.functional.silu,
}


@pytest.mark.parametrize("kind", ["batch-norm", "pre-batch-norm"])
@pytest.mark.parametrize("function", TENSORS)
def test_drawn_networks_with_batch_norm_pass_signal_and_gradient_on_as_told(kind: Kind, function: Function) -> None:
    stack = Stack(function=function, kind=kind, weight_variance=1.6, bias_variance=0.3, branch_scale=0.7)
    told = list(passages(stack, 1.0, 12))
    lengths, squares = zip(*[drawn_with_batch(stack, 12, seed=seed) for seed in range(3)], strict=True)

    assert np.mean(lengths) == pytest.approx(told[-1].length, rel=0.01)
    # examples and units, 300 of each, add 1 / 300 and more a block
    assert np.mean(np.log(squares)) == pytest.approx(math.log(math.prod(each.factor for each in told)), abs=0.1)


def drawn_with_batch(stack: Stack, num_blocks: int, *, seed: int, size: int = 300) -> tuple[float, float]:
    """Return the last variance over a batch, and how much larger the mean squared gradient is at the first block."""
    generator = np.random.default_rng(seed)
    first = torch.from_numpy(centred(generator.standard_normal((size, size)))).requires_grad_()
    signal = first
    for _ in range(num_blocks):
        weights = generator.standard_normal((size, size)) * math.sqrt(stack.weight_variance / size)
        biases = generator.standard_normal(size) * math.sqrt(stack.bias_variance)
        read = signal if stack.kind == "batch-norm" else batch_norm(signal)
        branch = TENSORS[stack.function](read) @ torch.from_numpy(weights) + torch.from_numpy(biases)
        signal = batch_norm(branch) if stack.kind == "batch-norm" else signal + stack.branch_scale * branch
    (gradient,) = torch.autograd.grad(signal, first, torch.from_numpy(generator.standard_normal((size, size))))
    return float(signal.detach().var(0, correction=0).mean()), float(gradient.square().mean())


def batch_norm(signal: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.batch_norm(signal, None, None, training=True, eps=1e-12)


def centred(signals: Array) -> Array:
    return (signals - signals.mean(0)) / signals.std(0)


def tanh_squared(z: float) -> float:
    """Weighed by the density of z."""
    return math.tanh(z) ** 2 * float(norm.pdf(z))


def slope_squared(z: float) -> float:
    return (1 - math.tanh(z) ** 2) ** 2 * float(norm.pdf(z))


@pytest.mark.parametrize("kind", ["plain", "residual", "pre-norm", "post-norm"])
@pytest.mark.parametrize("function", [relu, np.tanh])
def test_drawn_stacks_of_each_kind_pass_signal_and_gradient_on_as_told(kind: Kind, function: Function) -> None:
    stack = Stack(function=function, kind=kind, weight_variance=1.6, bias_variance=0.1, branch_scale=0.6)
    told = list(passages(stack, 1.0, 4))
    lengths, squares = zip(*[drawn(stack, 4, seed=seed) for seed in range(24)], strict=True)

    # 24 draws of 200 units over 4 blocks err by some 3 %
    assert np.mean(lengths) == pytest.approx(told[-1].length, rel=0.1)
    assert np.mean(squares) == pytest.approx(math.prod(each.factor for each in told), rel=0.1)


def drawn(stack: Stack, num_blocks: int, *, seed: int, width: int = 200) -> tuple[float, float]:
    """Return the last mean square of a signal, and the mean squared singular value of the Jacobian up to there."""
    generator, step = np.random.default_rng(seed), 1e-6
    signal, changes = normalised(generator.standard_normal((width, 1))), np.eye(width)
    for _ in range(num_blocks):
        weights = generator.standard_normal((width, width)) * math.sqrt(stack.weight_variance / width)
        biases = generator.standard_normal((width, 1)) * math.sqrt(stack.bias_variance)
        moved, signal = (block(stack, weights, biases, each) for each in (signal + step * changes, signal))
        changes = (moved - signal) / step
    return float(np.mean(signal**2)), float(np.sum(changes**2)) / width


def block(stack: Stack, weights: Array, biases: Array, signal: Array) -> Array:
    branch = weights @ stack.function(normalised(signal) if stack.kind == "pre-norm" else signal) + biases
    if stack.kind == "plain":
        return branch
    added = signal + stack.branch_scale * branch
    return normalised(added) if stack.kind == "post-norm" else added


def normalised(signals: Array) -> Array:
    return signals / np.sqrt(np.mean(signals**2, axis=0))


def test_a_signal_that_dies_out_ends_the_passage() -> None:
    assert len(list(passages(Stack(function=lambda x: 0 * x), 1.0, 5))) == 1


@pytest.mark.parametrize("kind", ["batch-norm", "pre-batch-norm"])
def test_batch_norm_behind_a_constant_is_refused(kind: Kind) -> None:
    with pytest.raises(DomainError, match="constant"):
        list(passages(Stack(function=lambda x: 0 * x + 2, kind=kind), 1.0, 1))


def test_gradients_through_jumps_alone_have_no_growth_behind_batch_norm() -> None:
    with pytest.raises(DomainError, match="level"):
        list(passages(Stack(function=np.sign, kind="batch-norm"), 1.0, 1))
    (found,) = passages(Stack(function=np.sign, kind="pre-batch-norm"), 1.0, 1)

    assert found.factor == pytest.approx(1)  # the skip's


@pytest.mark.parametrize("start", [0.0, -1.0, math.nan, math.inf])
def test_a_start_that_no_signal_has_is_refused(start: float) -> None:
    with pytest.raises(DomainError, match=f"start={start}"):
        list(passages(Stack(function=relu), start, 1))


def test_a_signal_that_overflows_ends_the_passage() -> None:
    stack = Stack(function=relu, kind="residual", weight_variance=2.0)
    *_, last = passages(stack, 1.0, 1100)

    assert last.length == pytest.approx(2.0**997, rel=1e-9)  # of which each block rounds the last digit


@pytest.mark.parametrize(
    "changed",
    [
        {"weight_variance": -1.0},
        {"weight_variance": math.nan},
        {"bias_variance": -5.0},
        {"branch_scale": math.nan},
        {"branch_scale": math.inf},
    ],
)
def test_variances_that_no_layer_has_are_refused(changed: dict[str, float]) -> None:
    with pytest.raises(DomainError, match=next(iter(changed))):
        replace(Stack(function=relu), **changed)


def test_a_kind_that_is_misspelt_is_refused_with_those_there_are() -> None:
    stack = Stack(function=relu)
    object.__setattr__(stack, "kind", "pre_norm")  # past the type checker of these tests

    with pytest.raises(UnknownNameError, match=r"'pre_norm'.*pre-norm"):
        stack.__post_init__()
