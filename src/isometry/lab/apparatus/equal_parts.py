"""Small networks whose parts may be exchanged, and that start with all of these doing the same.

Each takes sequences of 6 tokens of 8 numbers and gives 4 classes, in double precision.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

TOKENS, NUMBERS, CLASSES = 6, 8, 4
INPUTS = TOKENS * NUMBERS
HEAD = 4  # numbers of a head's queries, keys and values
HIDDEN = 4  # units of an expert
WINDOW = 3  # tokens that a channel sees
CONSTANT = 0.1  # of weights that all start with one value
MOST_SCALE = 4.0  # of a ReLU unit; the least is one over it


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """A network of parts that may be exchanged.

    Attributes:
        parameters: By name; a training moves them.
        outputs: From inputs, (examples, tokens, numbers), to logits, (examples, classes).
        rows: What belongs to each part now, (parts, numbers): parts with equal rows do the same.
    """

    parameters: Mapping[str, Tensor]
    outputs: Callable[[Tensor], Tensor]
    rows: Callable[[], Tensor]


def constant_units(count: int, generator: Generator, *, dropout: float = 0.0) -> Parts:
    """Hidden units of tanh, all weights of one value.

    Args:
        count: Units.
        generator: Of the units that are left out.
        dropout: Share of the units that is left out each time.

    Returns:
        The network.
    """
    into, out = torch.full((count, INPUTS), CONSTANT), torch.full((count, CLASSES), CONSTANT)

    def activation(signal: Tensor) -> Tensor:
        if not dropout:
            return signal.tanh()
        kept = torch.rand(signal.shape, generator=generator) >= dropout
        return signal.tanh() * kept / (1 - dropout)

    return _units(into, out, activation)


def random_units(count: int, generator: Generator) -> Parts:
    """Hidden units of tanh, each drawn for itself."""
    return _units(_normal(generator, count, INPUTS), _normal(generator, count, CLASSES), torch.tanh)


def mirrored_units(count: int, generator: Generator) -> Parts:
    """Units of tanh, an odd function: one that changes the sign of all its weights does the same, and half do."""
    sign = torch.where(torch.arange(count) % 2 == 0, 1.0, -1.0)[:, None]
    parts = _units(sign * _normal(generator, 1, INPUTS), sign * _normal(generator, 1, CLASSES), torch.tanh)

    def rows() -> Tensor:
        plain = parts.rows()
        return plain * plain[:, :1].sign()

    return Parts(parameters=parts.parameters, outputs=parts.outputs, rows=rows)


def scaled_units(count: int, generator: Generator, *, activation: Callable[[Tensor], Tensor] = torch.relu) -> Parts:
    """Units of ReLU, where weights in may grow as weights out shrink: all do the same, each at a scale of its own.

    Args:
        count: Units.
        generator: Of the one that all others are.
        activation: Another than ReLU makes units that are not the same.

    Returns:
        The network.
    """
    reach = math.log(MOST_SCALE)
    scale = torch.linspace(-reach, reach, count).exp()[:, None]
    parts = _units(scale * _normal(generator, 1, INPUTS), _normal(generator, 1, CLASSES) / scale, activation)

    def rows() -> Tensor:
        into = torch.cat([parts.parameters["into"], parts.parameters["bias"]], 1)
        size = into.norm(dim=1, keepdim=True)
        return torch.cat([into / size, parts.parameters["out"] * size], 1)

    return Parts(parameters=parts.parameters, outputs=parts.outputs, rows=rows)


def balance(parameters: Mapping[str, Tensor]) -> Tensor:
    """Return what gradient flow keeps of each ReLU unit: the square of its weights in less that of its weights out.

    Args:
        parameters: Those of `scaled_units`.

    Returns:
        A number a unit, (units,).

    Source:
        Du, Hu, Lee 2018, arXiv:1806.00900, theorem 2.1.
    """
    into, bias, out = (parameters[name].detach().square().sum(1) for name in ("into", "bias", "out"))
    return into + bias - out


def heads(count: int, generator: Generator) -> Parts:
    """Heads of attention, whose outputs are added up; all start as one that is drawn."""
    maps = _leaf(_normal(generator, 4, 1, NUMBERS, HEAD).repeat(1, count, 1, 1))  # the way out is transposed
    out = _leaf(_normal(generator, NUMBERS, CLASSES))

    def outputs(inputs: Tensor) -> Tensor:
        query, key, value = (inputs[:, None] @ each for each in maps[:3])
        shares = (query @ key.transpose(2, 3) / math.sqrt(HEAD)).softmax(3)
        return (shares @ value @ maps[3].transpose(1, 2)).sum(1).mean(1) @ out

    return Parts(parameters={"maps": maps, "out": out}, outputs=outputs, rows=lambda: maps.transpose(0, 1).flatten(1))


def channels(count: int, generator: Generator) -> Parts:
    """Channels of a convolution over the tokens; all start as one that is drawn."""
    into = _leaf(_normal(generator, 1, NUMBERS, WINDOW).repeat(count, 1, 1))
    out = _leaf(_normal(generator, 1, CLASSES).repeat(count, 1))

    def outputs(inputs: Tensor) -> Tensor:
        return torch.nn.functional.conv1d(inputs.transpose(1, 2), into).tanh().mean(2) @ out

    return Parts(
        parameters={"into": into, "out": out}, outputs=outputs, rows=lambda: torch.cat([into.flatten(1), out], 1)
    )


def recurrent_units(count: int, generator: Generator) -> Parts:  # noqa: ARG001 - nothing is drawn, and all are called alike
    """Units of a recurrent layer, each of which reads all of them; all weights of one value."""
    into, out = _leaf(torch.full((count, NUMBERS), CONSTANT)), _leaf(torch.full((count, CLASSES), CONSTANT))
    around = _leaf(torch.full((count, count), CONSTANT))

    def outputs(inputs: Tensor) -> Tensor:
        state = inputs.new_zeros(len(inputs), count)
        for token in inputs.unbind(1):
            state = (token @ into.T + state @ around.T).tanh()
        return state @ out

    return Parts(
        parameters={"into": into, "around": around, "out": out},
        outputs=outputs,
        rows=lambda: torch.cat([into, out], 1),
    )


def experts(count: int, generator: Generator, *, router_scale: float) -> Parts:
    """Experts whose answers are mixed by a router's shares; all start as one that is drawn.

    Args:
        count: Experts.
        generator: Of the expert and the router.
        router_scale: Of the router's random weights; at 0 all of these are 0.

    Returns:
        The network.
    """
    into = _leaf(_normal(generator, 1, INPUTS, HIDDEN).repeat(count, 1, 1))
    out = _leaf(_normal(generator, 1, HIDDEN, CLASSES).repeat(count, 1, 1))
    router = _leaf(router_scale * _normal(generator, count, INPUTS))

    def outputs(inputs: Tensor) -> Tensor:
        flat = inputs.flatten(1)
        answers = (flat @ into).tanh() @ out
        return ((flat @ router.T).softmax(1).T[:, :, None] * answers).sum(0)

    return Parts(
        parameters={"into": into, "out": out, "router": router},
        outputs=outputs,
        rows=lambda: torch.cat([into.flatten(1), out.flatten(1)], 1),
    )


def _units(into: Tensor, out: Tensor, activation: Callable[[Tensor], Tensor]) -> Parts:
    """Return hidden units with weights in, (units, inputs), weights out, (units, classes), and biases of 0."""
    named = {"into": _leaf(into), "bias": _leaf(torch.zeros(len(into), 1)), "out": _leaf(out)}

    def outputs(inputs: Tensor) -> Tensor:
        # A product a unit: in one for all the last bit differs by the place in the matrix, and Adam makes much of it.
        flat = inputs.flatten(1).expand(len(into), len(inputs), -1)
        signal = torch.bmm(flat, named["into"][:, :, None]) + named["bias"][:, :, None]
        return torch.bmm(activation(signal), named["out"][:, None, :]).sum(0)

    return Parts(parameters=named, outputs=outputs, rows=lambda: torch.cat([*named.values()], 1))


def _normal(generator: Generator, *sizes: int) -> Tensor:
    """Draw weights whose variance is one over their longest axis but the first, which counts parts."""
    return torch.randn(sizes, generator=generator, dtype=torch.float64) / math.sqrt(max(sizes[1:]))


def _leaf(values: Tensor) -> Tensor:
    return values.detach().double().clone().requires_grad_()
