"""Networks with faults in their weights, units and parameters, each with the finding that must lead."""

import copy
import math

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from isometry.anatomy.task import Task, make_task
from tests.findings.broken import broken
from tests.findings.networks import Function, classify, stack

# ---- what nobody wrote ----


@broken("uninitialised-memory")
def addresses_in_a_weight() -> Task:
    """Pointers, of which torch.empty often shows the halves."""
    model = stack(16, 64, 64, 10)
    bits = torch.randint(0x7F00_0000_0000, 0x7FFF_FFFF_FFFF, (64, 32))
    model[2].weight = nn.Parameter(bits.view(torch.float32).clone())
    return classify(model)


@broken("outlier-weights")
def one_weight_of_a_million() -> Task:
    model = stack(16, 64, 64, 10, activation=nn.Tanh)
    model[0].weight.data[3, 4] = 1e6
    return classify(model)


# ---- units that are one ----


@broken("symmetric-units")
def experts_cloned_and_averaged() -> Task:
    class Mixture(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            expert = stack(16, 32, 10)
            self.experts = nn.ModuleList(copy.deepcopy(expert) for _ in range(4))

        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([expert(x) for expert in self.experts]).mean(0)

    return classify(Mixture())


@broken("symmetric-units")
def mirror_images_behind_tanh() -> Task:
    model = stack(16, 64, 10, activation=nn.Tanh)
    model[0].weight.data[32:], model[0].bias.data[32:] = -model[0].weight.data[:32], -model[0].bias.data[:32]
    model[2].weight.data[:, 32:] = -model[2].weight.data[:, :32]
    return classify(model)


@broken("symmetric-units")
def all_heads_alike() -> Task:
    class Attend(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention, self.head = nn.MultiheadAttention(32, 4, batch_first=True), nn.Linear(32, 10)
            with torch.no_grad():
                for part in self.attention.in_proj_weight.view(3, 4, 8, 32):
                    part.copy_(part[0].clone())
                out = self.attention.out_proj.weight
                out.copy_(out[:, :8].repeat(1, 4))

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.attention(x, x, x, need_weights=False)[0].mean(1))

    return make_task(Attend(), torch.randn(32, 6, 32), torch.randint(10, (32,)), loss=F.cross_entropy)


# ---- parameters that no step moves ----


class Plain(nn.Module):
    """Layers in a list that is none of torch's."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = [nn.Linear(16, 16) for _ in range(3)]
        self.head = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.relu(layer(x))
        return self.head(x)


@broken("no-gradient")
def layers_in_a_plain_list() -> Task:
    return classify(Plain())


@broken("no-gradient")
def layer_made_in_forward() -> Task:
    return classify(
        nn.Sequential(nn.Linear(16, 32), Function(lambda x: nn.Linear(32, 32)(x).relu()), nn.Linear(32, 10))
    )


@broken("no-gradient")
def wrapped_again_as_a_new_tensor() -> Task:
    return classify(
        nn.Sequential(nn.Linear(16, 32), nn.ReLU(), Function(lambda x: torch.tensor(x.tolist())), nn.Linear(32, 10))
    )


@broken("dying-relu")
def rectified_output_far_below_zero() -> Task:
    model = nn.Sequential(stack(16, 64, 1), nn.ReLU())
    nn.init.constant_(model[0][2].bias, -20.0)
    return make_task(model, torch.randn(128, 16), torch.rand(128, 1), loss=F.mse_loss)


@broken("dying-relu")
def dead_on_a_batch_of_eight() -> Task:
    model = stack(16, 128, 10)
    nn.init.constant_(model[0].bias, -20.0)
    return classify(model, count=8)


# ---- fans ----


@broken("wrong-fan")
def depthwise_as_if_dense() -> Task:
    layers: list[nn.Module] = [nn.Conv2d(3, 32, 3, padding=1), nn.ReLU()]
    for _ in range(6):
        layer = nn.Conv2d(32, 32, 3, padding=1, groups=32)
        nn.init.normal_(layer.weight, std=math.sqrt(2 / (9 * 32)))
        layers += [layer, nn.ReLU()]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10))
    return make_task(model, torch.randn(16, 3, 12, 12), torch.randint(10, (16,)), loss=F.cross_entropy)
