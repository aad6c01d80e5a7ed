"""Plain tanh networks as torch would write them."""

from torch import nn

from isometry.lab.members.plain_tanh import PlainTanh


def as_module(networks: PlainTanh, place: int) -> nn.Sequential:
    """Return a copy of one of the networks."""
    first, hidden, head, biases = networks.parameters
    weights = [first[place], *hidden[:, place]]
    layers: list[nn.Module] = []
    for weight, bias in zip(weights, biases[:, place, 0], strict=True):
        linear = nn.Linear(weight.shape[1], weight.shape[0])
        linear.weight.data, linear.bias.data = weight.clone(), bias.clone()
        layers += [linear, nn.Tanh()]
    last = nn.Linear(head.shape[2], head.shape[1], bias=False)
    last.weight.data = head[place].clone()
    return nn.Sequential(*layers, last)
