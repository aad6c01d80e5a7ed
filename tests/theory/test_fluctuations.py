"""How gradients of narrow networks stray, against closed forms and against networks that are drawn."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isometry._errors import DomainError
from isometry.theory.fluctuations import log_norm_variance
from isometry.theory.quadrature import FloatArray as Array
from isometry.theory.stacks import Kind, Stack

SKIPS: tuple[Kind, ...] = ("residual", "pre-norm", "post-norm")


def relu(x: Array) -> Array:
    return np.maximum(x, 0)


def line(x: Array) -> Array:
    return x


def silu(x: Array) -> Array:
    return x / (1 + np.exp(-x))


def test_log_gradients_of_linear_networks_spread_by_two_over_width() -> None:
    # ln of a chi-squared number of n degrees has the variance 2/n to first order
    assert log_norm_variance(Stack(function=line), 1.0, (10, 20, 40)) == pytest.approx(0.2 + 0.1 + 0.05)


@pytest.mark.parametrize(("function", "each"), [(line, 0.0), (relu, 3.0)])
def test_orthogonal_weights_leave_only_what_the_activation_does(function: type, each: float) -> None:
    # half of the squares of a vector that lies anywhere on a sphere add up to 1 ± √(3/n) times their mean
    stack = Stack(function=function, weight_variance=2.0)

    assert log_norm_variance(stack, 1.0, (50,) * 6, is_orthogonal=True) == pytest.approx(6 * each / 50)


@pytest.mark.parametrize("is_orthogonal", [False, True])
def test_linear_blocks_with_a_skip_stray_one_by_one(is_orthogonal: bool) -> None:
    # |v + αWv|² is |v|² (1 + 2ασ z/√n + α²σ² χ²/n): 2 α⁴σ⁴ of it is the length of W v
    scale = 0.7**2 * 1.5
    each = (4 * scale + (0 if is_orthogonal else 2 * scale**2)) / (1 + scale) ** 2
    stack = Stack(function=line, kind="residual", weight_variance=1.5, branch_scale=0.7)
    normed = replace(stack, kind="post-norm")  # divides by the length of a signal that strays as the gradient does

    found, other = (log_norm_variance(kind, 1.0, (80,) * 5, is_orthogonal=is_orthogonal) for kind in (stack, normed))
    assert found == pytest.approx(5 * each / 80)
    assert other == pytest.approx(2 * found)


@given(kind=st.sampled_from(SKIPS), scale=st.floats(0.05, 1.5), weight=st.floats(0.3, 3), bias=st.floats(0, 0.5))
@settings(max_examples=15, deadline=None)
def test_what_strays_is_positive_falls_with_width_and_less_for_orthogonal_weights(
    kind: Kind, scale: float, weight: float, bias: float
) -> None:
    stack = Stack(function=np.tanh, kind=kind, weight_variance=weight, bias_variance=bias, branch_scale=scale)
    wide, narrow, kept = (
        log_norm_variance(stack, 1.0, (width,) * 3, is_orthogonal=is_orthogonal)
        for width, is_orthogonal in ((100, False), (50, False), (50, True))
    )

    assert narrow == pytest.approx(2 * wide)
    assert 0 < kept < narrow


def test_a_branch_that_says_nothing_lets_nothing_stray() -> None:
    stack = Stack(function=lambda x: 0 * x, kind="residual")

    assert log_norm_variance(stack, 1.0, (10,) * 3, is_orthogonal=True) == pytest.approx(0)
    assert log_norm_variance(stack, 1.0, ()) == 0


@pytest.mark.parametrize(
    ("stack", "widths", "word"),
    [
        pytest.param(Stack(function=relu, kind="batch-norm"), (10,), "without batch norm", id="batch norm"),
        pytest.param(Stack(function=relu, kind="residual"), (10, 20), "keep the width", id="a skip"),
        pytest.param(
            Stack(function=relu, kind="residual", weight_variance=1e200),
            (9,) * 9,
            "overflows behind 2 of 9",
            id="too much",
        ),
        pytest.param(Stack(function=relu, weight_variance=2.0), (10, 0), "widths", id="no units"),
        pytest.param(Stack(function=np.sign), (10,), "level", id="no slope"),
        pytest.param(Stack(function=lambda x: 0 * x), (10, 10, 10), "dies out behind 1 of 3", id="no signal"),
        pytest.param(
            Stack(function=relu, kind="residual", weight_variance=2.0), (9,) * 1100, "overflows behind 997", id="deep"
        ),
    ],
)
def test_a_spread_that_is_not_known_is_refused(stack: Stack, widths: tuple[int, ...], word: str) -> None:
    with pytest.raises(DomainError, match=word):
        log_norm_variance(stack, 1.0, widths)


@pytest.mark.parametrize("widths", [(), (10,)])
@pytest.mark.parametrize("start", [-1.0, 0.0, math.inf, math.nan])
def test_a_start_that_no_signal_has_is_refused(start: float, widths: tuple[int, ...]) -> None:
    with pytest.raises(DomainError, match=f"start={start}"):
        log_norm_variance(Stack(function=relu), start, widths)


def test_widths_may_be_an_array() -> None:
    stack = Stack(function=relu, kind="residual")

    assert log_norm_variance(stack, 1.0, np.array([10, 10])) == log_norm_variance(stack, 1.0, (10, 10))


def test_orthogonal_weights_between_layers_of_two_widths_are_refused() -> None:
    with pytest.raises(DomainError, match="keep the width"):
        log_norm_variance(Stack(function=relu), 1.0, (10, 20), is_orthogonal=True)


@pytest.mark.parametrize("is_orthogonal", [False, True])
@pytest.mark.parametrize("kind", ["plain", *SKIPS])
@pytest.mark.parametrize("function", [relu, np.tanh, np.sin, silu])
@pytest.mark.parametrize("bias", [0.2, 3.0])
def test_gradients_that_are_drawn_stray_as_told(function: type, kind: Kind, is_orthogonal: bool, bias: float) -> None:
    stack = Stack(function=function, kind=kind, weight_variance=1.8, bias_variance=bias, branch_scale=0.8)
    told = log_norm_variance(stack, 0.9, (80,) * 7, is_orthogonal=is_orthogonal)

    # 4,000 draws err by 2 %, the second order of depth over width by some more
    assert drawn_logs(stack, 0.9, 7, is_orthogonal=is_orthogonal).var() == pytest.approx(told, rel=0.12)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stack", "start", "is_orthogonal"),
    [
        # told 0.88 and 0.95 of it without what a length that strays does to slopes behind, and to lengths
        pytest.param(Stack(function=silu, kind="residual", branch_scale=1.5), 0.1, False, id="remembered"),
        # and 0.89 of it if lengths of biases strayed less
        pytest.param(
            Stack(function=np.sin, kind="post-norm", weight_variance=4.0, bias_variance=1.0, branch_scale=1.5),
            0.5,
            True,
            id="kept",
        ),
    ],
)
def test_small_terms_are_those_of_many_draws(stack: Stack, start: float, is_orthogonal: bool) -> None:
    told = log_norm_variance(stack, start, (240,) * 6, is_orthogonal=is_orthogonal)
    drawn = [drawn_logs(stack, start, 6, is_orthogonal=is_orthogonal, width=240, seed=seed) for seed in range(5)]

    # 20,000 draws err by 1 %, the second order by up to 3
    assert np.concatenate(drawn).var() == pytest.approx(told, rel=0.06)


@pytest.mark.parametrize(("is_orthogonal", "each"), [(False, 5.0), (True, 3.0)])
def test_a_branch_that_drowns_the_skip_strays_like_a_plain_layer(is_orthogonal: bool, each: float) -> None:
    stack = Stack(function=relu, kind="residual", branch_scale=1e3)

    assert log_norm_variance(stack, 1.0, (80,), is_orthogonal=is_orthogonal) == pytest.approx(each / 80, rel=1e-4)


def drawn_logs(stack: Stack, start: float, depth: int, *, is_orthogonal: bool, width: int = 80, seed: int = 0) -> Array:
    """Return ln |v|² of vectors sent through networks, which stray as gradients sent back do.

    A weight matrix meets but two vectors, of the signal and of v: their images are drawn, not the matrix.
    """
    generator, draws = np.random.default_rng(seed), 4000
    signal, vector = generator.standard_normal((2, draws, width))
    signal, vector = signal * math.sqrt(start) / sizes(signal), vector / np.linalg.norm(vector, axis=1, keepdims=True)
    for _ in range(depth):
        read, along = normed(signal, vector) if stack.kind == "pre-norm" else (signal, vector)
        along = along * (stack.function(read + 1e-6) - stack.function(read - 1e-6)) / 2e-6
        pushed, along = images(generator, stack.function(read), along, is_orthogonal=is_orthogonal)
        pushed, along = (each * math.sqrt(stack.weight_variance) for each in (pushed, along))
        pushed = pushed + generator.standard_normal((draws, width)) * math.sqrt(stack.bias_variance)
        if stack.kind == "plain":
            signal, vector = pushed, along
        else:
            signal, vector = signal + stack.branch_scale * pushed, vector + stack.branch_scale * along
        if stack.kind == "post-norm":
            signal, vector = normed(signal, vector)
    return np.log((vector**2).sum(1))


def images(generator: np.random.Generator, first: Array, second: Array, *, is_orthogonal: bool) -> tuple[Array, Array]:
    """Return W x and W y."""
    length = np.linalg.norm(first, axis=1, keepdims=True)
    common = (first * second).sum(1, keepdims=True) / length
    rest = np.sqrt(np.maximum((second**2).sum(1, keepdims=True) - common**2, 0))
    one, other = generator.standard_normal((2, *first.shape)) / math.sqrt(first.shape[1])
    if is_orthogonal:
        one = one / np.linalg.norm(one, axis=1, keepdims=True)
        other = other - one * (one * other).sum(1, keepdims=True)
        other = other / np.linalg.norm(other, axis=1, keepdims=True)
    return one * length, one * common + other * rest


def normed(signal: Array, vector: Array) -> tuple[Array, Array]:
    """Return a signal of mean square 1, and what that makes of a small change of it."""
    size = sizes(signal)
    found = signal / size
    return found, (vector - found * (found * vector).mean(1, keepdims=True)) / size


def sizes(signals: Array) -> Array:
    return np.sqrt((signals**2).mean(1, keepdims=True))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stack", "start", "width", "depth"),
    [
        pytest.param(Stack(function=relu, weight_variance=2.0), 1.0, 60, 10, id="relu, narrow"),
        pytest.param(Stack(function=relu, weight_variance=2.0), 1.0, 120, 30, id="relu, deep"),
        # at their settled lengths; without what the length adds they are told 0.77 and 0.79 of it
        pytest.param(Stack(function=np.tanh, weight_variance=1.76, bias_variance=0.05), 0.57, 100, 20, id="tanh, edge"),
        pytest.param(Stack(function=np.tanh, weight_variance=1.3, bias_variance=0.05), 0.32, 100, 20, id="tanh, order"),
        pytest.param(Stack(function=relu, kind="residual", weight_variance=2.0), 1.0, 60, 8, id="relu, residual"),
        pytest.param(Stack(function=np.tanh, kind="residual", weight_variance=2.0), 0.5, 60, 8, id="tanh, residual"),
        pytest.param(Stack(function=relu, kind="pre-norm", weight_variance=2.0), 1.0, 60, 10, id="relu, pre-norm"),
        pytest.param(Stack(function=np.tanh, kind="post-norm", weight_variance=2.0), 1.0, 60, 8, id="tanh, post-norm"),
    ],
)
def test_gradients_sent_back_through_drawn_networks_stray_as_told(
    stack: Stack, start: float, width: int, depth: int
) -> None:
    generator = torch.Generator().manual_seed(0)
    logs = torch.cat([sent_back(stack, start, (100, width, depth), generator) for _ in range(12)])

    # 1,200 draws err by 4 %, the second order of depth over width by some more
    assert float(logs.var()) == pytest.approx(log_norm_variance(stack, start, (width,) * depth), rel=0.15)


def sent_back(stack: Stack, start: float, shape: tuple[int, int, int], generator: torch.Generator) -> torch.Tensor:
    """Return ln |g|² of gradients of one size behind each network, at what enters it."""
    draws, width, depth = shape

    def normal(*sizes: int, variance: float = 1.0) -> torch.Tensor:
        return torch.randn(sizes, generator=generator) * math.sqrt(variance)

    first = (unit(normal(draws, width, 1)) * math.sqrt(start)).requires_grad_()
    signal, function = first, torch.tanh if stack.function is np.tanh else torch.relu
    for _ in range(depth):
        weights = normal(draws, width, width, variance=stack.weight_variance / width)
        read = unit(signal) if stack.kind == "pre-norm" else signal
        branch = weights @ function(read) + normal(draws, width, 1, variance=stack.bias_variance)
        signal = branch if stack.kind == "plain" else signal + stack.branch_scale * branch
        signal = unit(signal) if stack.kind == "post-norm" else signal
    (gradient,) = torch.autograd.grad(signal, first, unit(normal(draws, width, 1)))
    return gradient.square().sum((1, 2)).log()


def unit(signals: torch.Tensor) -> torch.Tensor:
    return signals / signals.square().mean(1, keepdim=True).sqrt()
