"""Gradients that fade or grow through depth and through time."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from isometry.anatomy.task import Task, make_task
from tests.suite.case import adam, faulty, sgd
from tests.suite.data import digit_images, digits, images, remembered

FADING = ("vanishing-gradient", "vanishing-activation")
THROUGH_TIME = ("vanishing-gradient", "vanishing-activation", "rank-collapse")


def plain(depth: int, activation: Callable[[], nn.Module], *, into: int = 64, out: int = 10) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Linear(into, 64), activation()]
    for _ in range(depth - 1):
        layers += [nn.Linear(64, 64), activation()]
    return nn.Sequential(*layers, nn.Linear(64, out))


@faulty(*FADING, "rank-collapse", steps=300)
def sigmoid_of_ten_layers(*, broken: bool) -> Task:
    model = plain(10, nn.Sigmoid) if broken else plain(3, nn.ReLU)
    return make_task(model, *digits(), loss=F.cross_entropy, optimizer_factory=sgd(0.1, 0.9))


@faulty(*FADING, steps=200)
def tanh_of_thirty_layers(*, broken: bool) -> Task:
    model = plain(30, nn.Tanh)
    if not broken:
        for layer in model[::2]:
            nn.init.orthogonal_(layer.weight, gain=1.05)
    return make_task(model, *digits(), loss=F.cross_entropy, optimizer_factory=adam(1e-3))


@faulty(*FADING, "rank-collapse", steps=200)
def relu_of_twenty_four_layers(*, broken: bool) -> Task:
    model = plain(24, nn.ReLU)
    if not broken:
        for layer in model[::2]:
            nn.init.kaiming_normal_(layer.weight)
            nn.init.zeros_(layer.bias)
    return make_task(model, *digits(), loss=F.cross_entropy, optimizer_factory=adam(1e-3))


@faulty(*FADING, "rank-collapse", steps=200)
def old_convolutional_net_with_sigmoids(*, broken: bool) -> Task:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(1, 16, 3, padding=1)
            self.convs = nn.ModuleList([nn.Conv2d(16, 16, 3, padding=1) for _ in range(6)])
            self.fc1, self.fc2 = nn.Linear(16 * 16, 64), nn.Linear(64, 10)

        def forward(self, x: Tensor) -> Tensor:
            squash = torch.sigmoid if broken else F.leaky_relu
            x = squash(self.stem(x))
            for conv in self.convs:
                x = squash(conv(x))
            return self.fc2(squash(self.fc1(F.avg_pool2d(x, 2).flatten(1))))

    return make_task(Net(), *digit_images(), loss=F.cross_entropy, optimizer_factory=adam(1e-3))


@faulty(*FADING, "rank-collapse", steps=150)
def vgg_of_twenty_without_norm(*, broken: bool) -> Task:
    layers: list[nn.Module] = []
    channels = 3
    for depth in range(20):
        layers += [nn.Conv2d(channels, 24, 3, padding=1)]
        layers += [nn.ReLU()] if broken else [nn.BatchNorm2d(24), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] if depth in {5, 10} else []
        channels = 24
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 4))
    return make_task(model, *images(128), loss=F.cross_entropy, optimizer_factory=sgd(0.02, 0.9))


class Reader(nn.Module):
    """A recurrent layer over a sequence and a head on its last state."""

    def __init__(self, core: nn.RNNBase, *, into_head: int, classes: int = 4) -> None:
        super().__init__()
        self.core = core
        self.head = nn.Linear(into_head, classes)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.core(x)
        return self.head(states[:, -1])


@faulty(*THROUGH_TIME, modules=("core", "core.weight_hh_l0"), steps=200)
def rnn_that_forgets_its_first_step(*, broken: bool) -> Task:
    core = nn.RNN(6, 48, batch_first=True)
    if not broken:
        nn.init.orthogonal_(core.weight_hh_l0)
        nn.init.normal_(core.weight_ih_l0, std=0.1)
    return make_task(
        Reader(core, into_head=48), *remembered(256, 60), loss=F.cross_entropy, optimizer_factory=adam(2e-3)
    )


@faulty(*THROUGH_TIME, steps=200)
def hand_made_rnn_with_small_weights(*, broken: bool) -> Task:
    class Cell(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.into = nn.Parameter(torch.randn(6, width) * 0.1)
            small = torch.randn(width, width) * 0.01
            self.across = nn.Parameter(small if broken else torch.eye(width))
            self.bias = nn.Parameter(torch.zeros(width))
            self.head = nn.Linear(width, 4)

        def forward(self, x: Tensor) -> Tensor:
            state = x.new_zeros(len(x), len(self.bias))
            for step in x.unbind(1):
                state = torch.tanh(step @ self.into + state @ self.across + self.bias)
            return self.head(state)

    return make_task(Cell(32), *remembered(2048, 25), loss=F.cross_entropy, optimizer_factory=adam(2e-3))


@faulty(*THROUGH_TIME, "saturated-activation", modules=("core", "core.bias_ih_l0", "core.bias_hh_l0"), steps=200)
def lstm_whose_forget_gate_is_shut(*, broken: bool) -> Task:
    core = nn.LSTM(6, 32, batch_first=True)
    with torch.no_grad():
        core.bias_ih_l0[32:64] = -4.0 if broken else 3.0
    return make_task(
        Reader(core, into_head=32), *remembered(256, 40), loss=F.cross_entropy, optimizer_factory=adam(5e-3)
    )


@faulty("exploding-gradient", "exploding-activation", "start-loss", modules=("core", "core.weight_hh_l0"), steps=150)
def relu_rnn_that_grows_through_time(*, broken: bool) -> Task:
    core = nn.RNN(6, 48, nonlinearity="relu", batch_first=True)
    nn.init.normal_(core.weight_hh_l0, std=0.4 if broken else 0.1)
    if not broken:
        nn.init.eye_(core.weight_hh_l0)
    return make_task(
        Reader(core, into_head=48), *remembered(256, 30), loss=F.cross_entropy, optimizer_factory=sgd(0.01)
    )


@faulty("exploding-gradient", "saturated-activation", modules=("core", "core.weight_hh_l0"), steps=200)
def chaotic_tanh_rnn(*, broken: bool) -> Task:
    core = nn.RNN(6, 64, batch_first=True)
    if broken:
        nn.init.normal_(core.weight_hh_l0, std=0.6)
    else:
        nn.init.orthogonal_(core.weight_hh_l0)
        nn.init.normal_(core.weight_ih_l0, std=0.1)
    return make_task(
        Reader(core, into_head=64), *remembered(2048, 40), loss=F.cross_entropy, optimizer_factory=adam(1e-3)
    )


@faulty("exploding-gradient", steps=150)
def batch_norm_of_fifty_layers_without_shortcuts(*, broken: bool) -> Task:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.bn = nn.Linear(48, 48, bias=False), nn.BatchNorm1d(48)

        def forward(self, x: Tensor) -> Tensor:
            out = F.relu(self.bn(self.fc(x)))
            return out if broken else x + out / 7

    model = nn.Sequential(nn.Linear(64, 48), *[Block() for _ in range(50)], nn.Linear(48, 10))
    return make_task(model, *digits(), loss=F.cross_entropy, optimizer_factory=sgd(0.05, 0.9))


@faulty("exploding-gradient", "saturated-activation", steps=150)
def tanh_far_in_its_chaotic_phase(*, broken: bool) -> Task:
    model = plain(16, nn.Tanh)
    for layer in model[::2]:
        nn.init.normal_(layer.weight, std=(4.0 if broken else 1.05) / math.sqrt(layer.in_features))
    return make_task(model, *digits(), loss=F.cross_entropy, optimizer_factory=sgd(0.02, 0.9))
