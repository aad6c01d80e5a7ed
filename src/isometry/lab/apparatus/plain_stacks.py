"""Plain deep networks as they start: what they do to signal and gradient, beside what theory says of wide ones.

A network here is inputs of N(0, 1), hidden layers of one width, a head of ten classes, and cross-entropy with labels
that are drawn at random.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

from isometry._errors import UnknownNameError
from isometry._registry import Registry
from isometry.theory.criticality import critical_point
from isometry.theory.quadrature import Function
from isometry.theory.stacks import Stack, passages

NUM_CLASSES = 10
SMALL = 0.01  # standard deviation of the book's default


@dataclass(frozen=True, slots=True)
class Activation:
    """One function twice.

    Attributes:
        of_tensors: With gradients.
        of_arrays: For quadrature.
    """

    of_tensors: Callable[[Tensor], Tensor]
    of_arrays: Function


ACTIVATIONS = Registry[Activation]("activation of the lab")
ACTIVATIONS.add("linear")(Activation(lambda x: x, lambda x: x))
ACTIVATIONS.add("sigmoid")(Activation(torch.sigmoid, lambda x: (1 + np.tanh(x / 2)) / 2))
ACTIVATIONS.add("tanh")(Activation(torch.tanh, np.tanh))
ACTIVATIONS.add("relu")(Activation(torch.relu, lambda x: np.maximum(x, 0.0)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """How weights and biases are drawn.

    Attributes:
        weight_variance: σ_w², the variance of a weight times fan-in, dimensionless.
        bias_variance: σ_b².
        mean: Of the activation, which the biases cancel: b_i = -mean · Σ_j W_ij.
        first: Mean square to which the first layer's weights bring its pre-activations; None draws them as all others.
    """

    weight_variance: float
    bias_variance: float = 0.0
    mean: float = 0.0
    first: float | None = None


STARTS = ("normal 0.01", "torch default", "xavier", "he", "critical")


@cache
def start_of(name: str, activation: str, width: int) -> Start:
    """Return a start by name for layers of one width.

    Args:
        name: One of `STARTS`. `critical` is theory's own: the gain that keeps signal and gradient of the activation.
        activation: One of `ACTIVATIONS`.
        width: Units of a layer, counts.

    Raises:
        UnknownNameError: If a name is unknown.
    """
    match name:
        case "normal 0.01":
            return Start(weight_variance=SMALL**2 * width)
        case "torch default":
            return Start(weight_variance=1 / 3, bias_variance=1 / (3 * width))
        case "xavier":
            return Start(weight_variance=1.0)
        case "he":
            return Start(weight_variance=2.0)
        case "critical":
            point = critical_point(ACTIVATIONS[activation].of_arrays)
            return Start(
                weight_variance=point.gain**2,
                bias_variance=point.bias_variance,
                mean=point.mean if point.is_compensated else 0.0,
                first=point.variance,
            )
        case _:
            raise UnknownNameError(f"no start is named {name!r}. Known: {', '.join(STARTS)}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """Mean squares by hidden layer, from the first to the last, in decades.

    Attributes:
        signal: Of the pre-activations.
        gradient: Of the loss's gradient there, over that at the last hidden layer.
    """

    signal: list[float]
    gradient: list[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Sizes of a network.

    Attributes:
        width: Inputs, and units of each hidden layer, counts.
        depth: Hidden layers, counts.
    """

    width: int
    depth: int


@cache
def predicted(activation: str, start: str, shape: Shape) -> Course:
    """Return what happens at infinite width.

    Args:
        activation: One of `ACTIVATIONS`.
        start: One of `STARTS`.
        shape: The width counts where a start's variance depends on it.

    Returns:
        The course, which ends early where the signal dies out.
    """
    chosen, function = start_of(start, activation, shape.width), ACTIVATIONS[activation].of_arrays
    stack = Stack(
        function=lambda x: function(x) - chosen.mean,
        weight_variance=chosen.weight_variance,
        bias_variance=chosen.bias_variance,
    )
    first = chosen.weight_variance + chosen.bias_variance if chosen.first is None else chosen.first
    found = list(passages(stack, first, shape.depth - 1))
    factors = np.log10([each.factor for each in found])
    # The gradient at layer l is that at the last one times the factors of the blocks from l on.
    gradient = np.append(np.cumsum(factors[::-1])[::-1], 0.0)
    return Course(signal=np.log10([first, *(each.length for each in found)]).tolist(), gradient=gradient.tolist())


def follow(activation: str, start: str, shape: Shape, *, num_examples: int, seed: int) -> Course:
    """Draw a network and a batch, and follow signal and gradient through all layers, in double precision.

    Args:
        activation: One of `ACTIVATIONS`.
        start: One of `STARTS`.
        shape: Width and depth.
        num_examples: Of the batch, counts.
        seed: Of weights, inputs and labels.

    Returns:
        Mean squares over examples and units.
    """
    generator = torch.Generator().manual_seed(seed)
    chosen, function = start_of(start, activation, shape.width), ACTIVATIONS[activation].of_tensors

    def normal(*sizes: int, variance: float) -> Tensor:
        return math.sqrt(variance) * torch.randn(sizes, generator=generator, dtype=torch.float64)

    signal, width = normal(num_examples, shape.width, variance=1.0).requires_grad_(), shape.width
    layers: list[Tensor] = []
    for layer in range(shape.depth):
        is_scaled = layer == 0 and chosen.first is not None
        gain = chosen.first if is_scaled and chosen.first is not None else chosen.weight_variance
        weight, bias = normal(width, width, variance=gain / width), normal(width, variance=chosen.bias_variance)
        layers.append(signal @ weight + bias)
        signal = function(layers[-1]) - chosen.mean
    outputs = signal @ normal(width, NUM_CLASSES, variance=1 / width)
    labels = torch.randint(NUM_CLASSES, (num_examples,), generator=generator)
    gradients = torch.autograd.grad(torch.nn.functional.cross_entropy(outputs, labels), layers)
    sizes = np.array([_decades(each) for each in gradients])
    return Course(signal=[_decades(each.detach()) for each in layers], gradient=(sizes - sizes[-1]).tolist())


def _decades(values: Tensor) -> float:
    """Return the logarithm of the mean square, which may itself be too small for a number."""
    peak = float(values.abs().max())
    if peak == 0:
        return -math.inf
    return 2 * math.log10(peak) + math.log10(float((values / peak).square().mean()))
