"""Networks that the lab trains side by side, as torch would write them."""

from collections.abc import Sequence

from torch import Tensor, nn

from isometry.lab.members.plain_tanh import PlainTanh


def relu_module(weights: Sequence[Tensor]) -> nn.Sequential:
    """Return linear layers with ReLU between them.

    Args:
        weights: Weights and biases in turn, as `initial_weights` gives them.
    """
    pairs = list(zip(weights[::2], weights[1::2], strict=True))
    layers = [layer for weight, bias in pairs for layer in (_linear(weight, bias), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


def tanh_module(networks: PlainTanh, place: int) -> nn.Sequential:
    """Return a copy of one of several tanh networks."""
    first, hidden, head, biases = (parameter.detach() for parameter in networks.parameters)
    pairs = zip([first[place], *hidden[:, place]], biases[:, place, 0], strict=True)
    layers = [layer for weight, bias in pairs for layer in (_linear(weight, bias), nn.Tanh())]
    return nn.Sequential(*layers, _linear(head[place]))


def _linear(weight: Tensor, bias: Tensor | None = None) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, dtype=weight.dtype)
    layer.weight.data = weight.clone()
    if bias is not None:
        layer.bias.data = bias.clone()
    return layer
