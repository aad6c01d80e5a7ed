"""Networks of nearly one size as batched matrices: forward, backward and AdamW written out.

A narrower network is padded with units whose weights in and out are zero. They give zero, get a gradient of zero and so
stay zero: padding costs time, and changes nothing.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from isometry.lab.members.member import Member, initial_weights

Slope = Callable[[Tensor], Tensor]
FIRST_DECAY, SECOND_DECAY, EPS = 0.9, 0.999, 1e-8  # AdamW's own


class Bucket:
    """The parameters of K members and their training; all of one depth.

    All of a kind lie in one flat tensor, gradients and moments too, so that an optimiser's step is a few operations on
    long vectors, however many members and layers there are.
    """

    def __init__(self, members: Sequence[Member], num_inputs: int, num_outputs: int, *, dtype: torch.dtype) -> None:
        """Draw the initial weights of all members.

        Args:
            members: At least one, all with as many hidden layers.
            num_inputs: Numbers of one example, counts.
            num_outputs: Classes or predicted numbers, counts.
            dtype: Of weights and arithmetic.
        """
        self.members = tuple(members)
        widths = [max(sizes) for sizes in zip(*(member.hidden for member in members), strict=True)]
        self.sizes = (num_inputs, *widths, num_outputs)
        count = len(self.members)
        shapes: list[tuple[int, int, int]] = []
        for into, out in pairwise(self.sizes):
            shapes += [(count, into, out), (count, 1, out)]
        lengths = [math.prod(shape) for shape in shapes]
        self._flat, self._gradient, self._first, self._second, self._scratch = (
            torch.zeros(sum(lengths), dtype=dtype) for _ in range(5)
        )
        self.parameters = _views(self._flat, lengths, shapes)
        self._gradients = _views(self._gradient, lengths, shapes)
        self._rates = torch.empty_like(self._flat)
        self._decays = torch.empty_like(self._flat)
        self._steps = 0
        self._fill(num_inputs, num_outputs, dtype=dtype)
        settings = [("learning_rate", self._rates), ("weight_decay", self._decays)]
        for name, vector in settings:
            values = torch.tensor([getattr(member, name) for member in self.members], dtype=dtype)
            for view in _views(vector, lengths, shapes):
                view.copy_(values[:, None, None].expand_as(view))
        self._decays.mul_(self._rates)
        self._has_decay = bool(self._decays.any())

    def outputs(self, inputs: Tensor) -> list[Tensor]:
        """Return what every layer gives, the inputs first.

        Args:
            inputs: One batch for all, (batch, inputs), or one each, (members, batch, inputs).

        Returns:
            Inputs, hidden layers behind their ReLU, and outputs, each (members, batch, units).
        """
        count = len(self.members)
        signals = [inputs if inputs.ndim == 3 else inputs.expand(count, *inputs.shape)]  # noqa: PLR2004 - with members
        layers = list(zip(self.parameters[::2], self.parameters[1::2], strict=True))
        for number, (weight, bias) in enumerate(layers):
            signal = torch.baddbmm(bias, signals[-1], weight)
            signals.append(signal if number == len(layers) - 1 else signal.relu_())
        return signals

    def step(self, inputs: Tensor, slope: Slope) -> None:
        """Make one step of every member.

        Args:
            inputs: One batch for all, (batch, inputs), or one each, (members, batch, inputs).
            slope: From outputs, (members, batch, outputs), to the loss's gradient there; it may write into them.
        """
        signals = self.outputs(inputs)
        gradient = slope(signals[-1])
        for layer in reversed(range(len(self.sizes) - 1)):
            weights, biases = self._gradients[2 * layer], self._gradients[2 * layer + 1]
            torch.bmm(signals[layer].transpose(1, 2), gradient, out=weights)
            torch.sum(gradient, 1, keepdim=True, out=biases)
            if layer:
                gradient = torch.bmm(gradient, self.parameters[2 * layer].transpose(1, 2))
                gradient.masked_fill_(signals[layer] == 0, 0.0)
        self._adamw()

    def weights_of(self, index: int) -> list[Tensor]:
        """Return the weights and biases of one member without its padding, as `initial_weights` gives them."""
        sizes = (self.sizes[0], *self.members[index].hidden, self.sizes[-1])
        found: list[Tensor] = []
        for layer, (into, out) in enumerate(pairwise(sizes)):
            weight, bias = self.parameters[2 * layer][index], self.parameters[2 * layer + 1][index]
            found += [weight[:into, :out].T.clone(), bias[0, :out].clone()]
        return found

    def _fill(self, num_inputs: int, num_outputs: int, *, dtype: torch.dtype) -> None:
        for index, member in enumerate(self.members):
            drawn = initial_weights(member, num_inputs, num_outputs, dtype=dtype)
            for layer in range(len(drawn) // 2):
                weight, bias = drawn[2 * layer], drawn[2 * layer + 1]
                out, into = weight.shape
                self.parameters[2 * layer][index, :into, :out] = weight.T
                self.parameters[2 * layer + 1][index, 0, :out] = bias

    def _adamw(self) -> None:
        """Move all numbers as torch.optim.AdamW does."""
        self._steps += 1
        first, second = 1 - FIRST_DECAY**self._steps, 1 - SECOND_DECAY**self._steps
        self._first.lerp_(self._gradient, 1 - FIRST_DECAY)
        self._second.mul_(SECOND_DECAY).addcmul_(self._gradient, self._gradient, value=1 - SECOND_DECAY)
        torch.sqrt(self._second, out=self._scratch)
        self._scratch.div_(math.sqrt(second)).add_(EPS)
        torch.div(self._first, self._scratch, out=self._scratch)
        if self._has_decay:
            self._flat.addcmul_(self._flat, self._decays, value=-1)
        self._flat.addcmul_(self._scratch, self._rates, value=-1 / first)


def _views(flat: Tensor, lengths: Sequence[int], shapes: Sequence[tuple[int, ...]]) -> list[Tensor]:
    return [part.view(shape) for part, shape in zip(flat.split(list(lengths)), shapes, strict=True)]
