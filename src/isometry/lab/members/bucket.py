"""Networks of nearly one size as batched matrices: forward, backward and AdamW written out.

A narrower network is padded with units whose weights in and out are zero. They give zero, get a gradient of zero and so
stay zero: padding costs time, and changes nothing.

Signals are (members, units, batch), the batch last: softmax over the classes and products with few units are several
times as fast so as with the batch before the units.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from isometry.lab.members.member import Member, initial_weights


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
            shapes += [(count, out, into), (count, out, 1)]
        self._flat = torch.zeros(sum(map(math.prod, shapes)), dtype=dtype)
        self.parameters = _views(self._flat, shapes)
        self._fill()
        self._adamw = _AdamW(self._flat, self.members, shapes)
        self._gradients = _views(self._adamw.gradient, shapes)

    def outputs(self, inputs: Tensor) -> list[Tensor]:
        """Return what every layer gives, the inputs first.

        Args:
            inputs: One batch for all, (batch, inputs), or one each, (members, batch, inputs).

        Returns:
            Inputs, hidden layers behind their ReLU, and outputs, each (members, units, batch).
        """
        signals = [inputs.mT.expand(len(self.members), *inputs.shape[:-3:-1])]
        layers = list(zip(self.parameters[::2], self.parameters[1::2], strict=True))
        for number, (weight, bias) in enumerate(layers):
            signal = torch.baddbmm(bias, weight, signals[-1])
            signals.append(signal if number == len(layers) - 1 else signal.relu_())
        return signals

    def step(self, inputs: Tensor, labels: Tensor) -> None:
        """Make one step of every member on its mean cross-entropy.

        Args:
            inputs: One batch for all, (batch, inputs), or one each, (members, batch, inputs).
            labels: Classes, (members, batch).
        """
        signals = self.outputs(inputs)
        gradient = _slope(signals[-1], labels)
        for layer in reversed(range(len(self.sizes) - 1)):
            weights, biases = self._gradients[2 * layer], self._gradients[2 * layer + 1]
            torch.bmm(gradient, signals[layer].mT, out=weights)
            torch.sum(gradient, 2, keepdim=True, out=biases)
            if layer:
                gradient = torch.bmm(self.parameters[2 * layer].mT, gradient)
                gradient.mul_(signals[layer].sign_())  # the slope of ReLU, and faster than a mask
        self._adamw.step()

    def weights_of(self, index: int) -> list[Tensor]:
        """Return the weights and biases of one member without its padding, as `initial_weights` gives them."""
        sizes = (self.sizes[0], *self.members[index].hidden, self.sizes[-1])
        found: list[Tensor] = []
        for layer, (into, out) in enumerate(pairwise(sizes)):
            weight, bias = self.parameters[2 * layer][index], self.parameters[2 * layer + 1][index]
            found += [weight[:out, :into].clone(), bias[:out, 0].clone()]
        return found

    def _fill(self) -> None:
        for index, member in enumerate(self.members):
            drawn = initial_weights(member, self.sizes[0], self.sizes[-1], dtype=self._flat.dtype)
            for place, values in enumerate(drawn):
                padded = self.parameters[place][index]
                padded[: len(values), : values[0].numel()] = values.view(len(values), -1)


class _AdamW:
    """AdamW on all members' numbers at once, by torch's own fused Adam, each with its rate and decay."""

    def __init__(self, flat: Tensor, members: Sequence[Member], shapes: Sequence[tuple[int, ...]]) -> None:
        self._flat = flat
        rates, decays = (
            torch.tensor([getattr(member, name) for member in members], dtype=flat.dtype)
            for name in ("learning_rate", "weight_decay")
        )
        self._kept = _spread(1 - rates * decays, flat, shapes) if decays.any() else None
        # Adam knows one rate: where members differ it moves a vector of zeros at rate 1, which is then scaled.
        has_one_rate = bool((rates == rates[0]).all())
        self._rates = None if has_one_rate else _spread(rates, flat, shapes)
        self._moved = nn.Parameter(flat if has_one_rate else torch.zeros_like(flat))
        self.gradient = torch.zeros_like(flat)
        self._moved.grad = self.gradient
        self._adam = torch.optim.Adam([self._moved], members[0].learning_rate if has_one_rate else 1.0, fused=True)

    @torch.no_grad()
    def step(self) -> None:
        """Move all numbers."""
        if self._kept is not None:
            self._flat.mul_(self._kept)
        if self._rates is None:
            self._adam.step()
            return
        self._moved.zero_()
        self._adam.step()
        self._flat.addcmul_(self._moved, self._rates)


def _slope(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return the gradient of each member's mean cross-entropy at its outputs, (members, outputs, batch)."""
    rows = labels.unsqueeze(1)
    gradient = torch.softmax(outputs, 1)
    gradient.scatter_add_(1, rows, gradient.new_full((1, 1, 1), -1.0).expand(rows.shape))
    return gradient.div_(labels.shape[1])


def _spread(values: Tensor, flat: Tensor, shapes: Sequence[tuple[int, ...]]) -> Tensor:
    """Return a flat tensor with each member's value at all of its numbers."""
    spread = torch.empty_like(flat)
    for view in _views(spread, shapes):
        view.copy_(values[:, None, None].expand_as(view))
    return spread


def _views(flat: Tensor, shapes: Sequence[tuple[int, ...]]) -> list[Tensor]:
    parts = flat.split([math.prod(shape) for shape in shapes])
    return [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]
