"""Sound neighbours of what fails in time, in attention or for want of a nonlinearity."""

import math

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from isometry.anatomy.task import Task, make_task
from tests.findings.broken_signal import Attention, LastState, Loop, sequences, set_gates
from tests.findings.networks import classify, classify_images, restore, sound

# ---- recurrences ----


@sound
def lstm_of_100_steps() -> Task:
    return sequences(LastState(nn.LSTM(8, 32, batch_first=True)), steps=100)


@sound
def lstm_with_open_forget_gates() -> Task:
    cells = nn.LSTM(8, 32, batch_first=True)
    set_gates(cells, forget=torch.tensor(5.0))
    return sequences(LastState(cells), steps=60)


@sound
def lstm_with_chrono_biases() -> Task:
    cells = nn.LSTM(8, 32, batch_first=True)
    forget = torch.empty(32).uniform_(1, 99).log()
    set_gates(cells, forget=forget, into=-forget)
    return sequences(LastState(cells), steps=100)


class MeanState(nn.Module):
    """A recurrence whose outputs are averaged, as both ends are read where it runs both ways."""

    def __init__(self, cells: nn.Module) -> None:
        super().__init__()
        self.cells, self.head = cells, nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cells(x)[0].mean(1))


@sound
def gru_both_ways_of_two_layers() -> Task:
    cells = nn.GRU(8, 16, num_layers=2, batch_first=True, bidirectional=True)
    return sequences(MeanState(cells), steps=80)


@sound
def orthogonal_tanh_recurrence_of_30_steps() -> Task:
    cells = nn.RNN(8, 32, batch_first=True)
    nn.init.orthogonal_(cells.all_weights[0][1])
    return sequences(LastState(cells), steps=30)


@sound
def identity_recurrence_of_60_steps() -> Task:
    cells = nn.RNN(8, 32, batch_first=True, nonlinearity="relu")
    into, back, *biases = cells.all_weights[0]
    nn.init.eye_(back)
    nn.init.normal_(into, std=1e-2)
    for bias in biases:
        nn.init.zeros_(bias)
    return sequences(LastState(cells), steps=60)


@sound
def loop_by_hand_of_40_steps() -> Task:
    return sequences(Loop(0.9), steps=40)


class EveryStep(nn.Module):
    """A recurrence that is read at every step, as that of a language model is."""

    def __init__(self) -> None:
        super().__init__()
        self.cells, self.head = nn.RNN(8, 32, batch_first=True), nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cells(x)[0]).flatten(0, 1)


@sound
def recurrence_read_at_every_step() -> Task:
    labels = torch.randint(10, (8 * 200,))
    return make_task(EveryStep(), torch.randn(8, 200, 8), labels, loss=F.cross_entropy)


class Cells(nn.Module):
    """LSTM cells in a loop, as in an attention decoder."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.LSTMCell(8, 32), nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        state = memory = x.new_zeros(len(x), 32)
        for step in range(x.shape[1]):
            state, memory = self.cell(x[:, step], (state, memory))
        return self.head(state)


@sound
def lstm_cells_of_50_steps() -> Task:
    return sequences(Cells(), steps=50)


# ---- attention ----


@sound
def attention_of_one_head() -> Task:
    return make_task(Attention(1.0), torch.randn(32, 12, 32), torch.randint(10, (32,)), loss=F.cross_entropy)


@sound
def attention_without_its_scale() -> Task:
    labels = torch.randint(10, (32,))
    return make_task(Attention(math.sqrt(32)), torch.randn(32, 12, 32), labels, loss=F.cross_entropy)


# ---- linear by intent ----


@sound
def linear_autoencoder() -> Task:
    return restore(nn.Sequential(nn.Linear(64, 8), nn.Linear(8, 64)), torch.randn(64, 64))


@sound
def deep_linear_network() -> Task:
    layers = [nn.Linear(32, 32, bias=False) for _ in range(10)]
    for layer in layers:
        nn.init.orthogonal_(layer.weight)
    return classify(nn.Sequential(nn.Linear(16, 32, bias=False), *layers, nn.Linear(32, 10, bias=False)))


@sound
def separable_convolutions_with_linear_ends() -> Task:
    def block(width: int) -> list[nn.Module]:
        wide = 4 * width
        expand = [nn.Conv2d(width, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU6()]
        depthwise = [nn.Conv2d(wide, wide, 3, 1, 1, groups=wide, bias=False), nn.BatchNorm2d(wide)]
        return [*expand, *depthwise, nn.ReLU6(), nn.Conv2d(wide, width, 1, bias=False), nn.BatchNorm2d(width)]

    body = [nn.Conv2d(3, 16, 3, 2, 1), *block(16), *block(16), *block(16)]
    return classify_images(nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)))


@sound
def projection_before_a_head() -> Task:
    layers = [nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.Linear(32, 10)]
    return classify(nn.Sequential(*layers))


@sound
def factors_of_a_head() -> Task:
    return classify(nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 8), nn.Linear(8, 10)))
