"""Plain tanh networks of one shape side by side, as deep as one likes, with their backward pass written out.

The passes know nothing of optimisers: `backward` leaves gradients where torch's own look for them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from isometry.fills.distribution import Distribution
from isometry.fills.distributions import Normal
from isometry.fills.fill import fill
from isometry.fills.matrices import Matrices
from isometry.fills.streams import Stream


@dataclass(frozen=True, slots=True, kw_only=True)
class TanhShape:
    """Sizes of a network.

    Attributes:
        inputs: Numbers of one example, counts.
        width: Units of each hidden layer, counts.
        depth: Hidden layers behind the first, counts from 1.
        outputs: Classes, counts.
    """

    inputs: int
    width: int
    depth: int
    outputs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TanhStart:
    """What the numbers of one network are drawn from.

    Attributes:
        first: Weights of the layer that reads the inputs.
        hidden: Weights of each layer behind it, apart from those of the others.
        bias_std: Standard deviation of the biases of all these, in units of the pre-activations; the head has none.
        head: Weights of the outputs.
    """

    first: Distribution
    hidden: Distribution
    head: Distribution
    bias_std: float = 0.0


class PlainTanh:
    """Networks with their parameters: a few long tensors, so that an optimiser's step is few operations.

    Attributes:
        parameters: Weights of the first layer, of the hidden ones, of the head, and all biases.
        gradients: Of the same, which `.grad` holds too.
    """

    def __init__(self, starts: Sequence[TanhStart], shape: TanhShape, *, seed: int) -> None:
        """Draw the networks.

        Args:
            starts: One a network; equal starts are equal networks.
            shape: Of all of them.
            seed: Of their numbers.
        """
        count, width, depth = len(starts), shape.width, shape.depth
        self._first = torch.empty(count, width, shape.inputs)
        self._hidden = torch.empty(depth, count, width, width)
        self._head = torch.empty(count, shape.outputs, width)
        self._biases = torch.empty(depth + 1, count, 1, width)
        for place, start in enumerate(starts):
            drawn = torch.empty(depth * width, width)  # by the same stream in every network, so that they are compared
            fill(drawn, start.hidden, Stream(seed, "init", "hidden"), matrices=Matrices(parts=depth))
            self._hidden[:, place] = drawn.view(depth, width, width)
            fill(self._first[place], start.first, Stream(seed, "init", "first"))
            fill(self._head[place], start.head, Stream(seed, "init", "head"))
            fill(self._biases[:, place], Normal(std=start.bias_std), Stream(seed, "init", "biases"))
        self.parameters = [self._first, self._hidden, self._head, self._biases]
        self.gradients = [torch.zeros_like(parameter) for parameter in self.parameters]
        for parameter, gradient in zip(self.parameters, self.gradients, strict=True):
            parameter.grad = gradient

    def outputs(self, inputs: Tensor) -> Tensor:
        """Return the outputs of every network, (networks, examples, outputs), for inputs (examples, numbers)."""
        signal = self._read(inputs)
        for weight, bias in zip(self._hidden, self._biases[1:], strict=True):
            signal = torch.baddbmm(bias, signal, weight.mT).tanh_()
        return signal @ self._head.mT

    def accuracy(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """Return the share of examples that every network gives their class, (networks,)."""
        return (self.outputs(inputs).argmax(2) == labels).float().mean(1)

    def lengths(self, inputs: Tensor) -> Tensor:
        """Return the mean square of every layer's activations, (layers, networks)."""
        return torch.stack([each.square().mean((1, 2)) for each in self._signals(inputs)])

    def backward(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """Put the gradients of the mean cross-entropy into all `.grad`.

        Args:
            inputs: (examples, numbers).
            labels: Classes, (examples,).

        Returns:
            The mean square of the gradient at the pre-activations of every layer, (layers, networks).
        """
        signals = self._signals(inputs)
        gradient = torch.softmax(signals[-1] @ self._head.mT, 2)
        gradient[:, torch.arange(len(labels)), labels] -= 1
        gradient /= len(labels)
        first, hidden, head, biases = self.gradients
        torch.bmm(gradient.mT, signals[-1], out=head)
        gradient = torch.bmm(gradient, self._head)
        sizes = torch.empty(len(signals), len(head))
        for layer in reversed(range(len(signals))):
            signal = signals[layer]
            gradient.addcmul_(gradient * signal, signal, value=-1)
            sizes[layer] = gradient.square().mean((1, 2))
            torch.sum(gradient, 1, keepdim=True, out=biases[layer])
            if layer:
                torch.bmm(gradient.mT, signals[layer - 1], out=hidden[layer - 1])
                gradient = torch.bmm(gradient, self._hidden[layer - 1])
        torch.matmul(gradient.mT, inputs, out=first)
        return sizes

    def _signals(self, inputs: Tensor) -> list[Tensor]:
        """Return what every layer gives behind its tanh."""
        signals = [self._read(inputs)]
        for weight, bias in zip(self._hidden, self._biases[1:], strict=True):
            signals.append(torch.baddbmm(bias, signals[-1], weight.mT).tanh_())
        return signals

    def _read(self, inputs: Tensor) -> Tensor:
        return (inputs @ self._first.mT).add_(self._biases[0]).tanh_()


def gaussian(gain: float, fan_in: int) -> Normal:
    """Return weights of the standard deviation gain / sqrt(fan_in)."""
    return Normal(std=gain / math.sqrt(fan_in))
