"""Networks whose signal fails in time, in attention or for want of a nonlinearity, with the finding that must lead."""

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from isometry.anatomy.task import Task, make_task
from tests.findings.broken import broken
from tests.findings.networks import classify, classify_images, stack

# ---- linear networks ----


@broken("missing-nonlinearity")
def linear_layers_alone() -> Task:
    return classify(nn.Sequential(nn.Linear(16, 64), nn.Linear(64, 32), nn.Linear(32, 10)))


@broken("missing-nonlinearity")
def dropout_and_batch_norm_but_no_nonlinearity() -> Task:
    layers = [nn.Linear(16, 64), nn.BatchNorm1d(64), nn.Dropout(0.2), nn.Linear(64, 64), nn.Dropout(0.2)]
    return classify(nn.Sequential(*layers, nn.Linear(64, 10)))


@broken("missing-nonlinearity")
def convolutions_without_nonlinearity() -> Task:
    body = [nn.Conv2d(3, 16, 3), nn.AvgPool2d(2), nn.Conv2d(16, 32, 3), nn.Flatten()]
    return classify_images(nn.Sequential(*body, nn.Linear(32 * 25, 64), nn.Linear(64, 10)))


@broken("missing-nonlinearity")
def embedding_and_two_linear_layers() -> Task:
    model = nn.Sequential(nn.Embedding(50, 16), nn.Flatten(), nn.Linear(160, 64), nn.Linear(64, 10))
    return Task(
        model=model,
        batch=(torch.randint(50, (64, 10)), torch.randint(10, (64,))),
        step=lambda model, batch: F.cross_entropy(model(batch[0]), batch[1]),
    )


@broken("missing-nonlinearity")
def activation_behind_the_head_only() -> Task:
    return classify(nn.Sequential(*[each for each in stack(16, 64, 64, 10) if isinstance(each, nn.Linear)], nn.ReLU()))


# ---- through time ----


class LastState(nn.Module):
    """A recurrence whose last output is classified."""

    def __init__(self, cells: nn.Module, *, width: int = 32) -> None:
        super().__init__()
        self.cells, self.head = cells, nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cells(x)[0][:, -1])


def sequences(model: nn.Module, *, steps: int, count: int = 32) -> Task:
    """Sequences and one label each."""
    return make_task(model, torch.randn(count, steps, 8), torch.randint(10, (count,)), loss=F.cross_entropy)


@broken("vanishing-gradient")
def tanh_recurrence_of_150_steps() -> Task:
    return sequences(LastState(nn.RNN(8, 32, batch_first=True)), steps=150)


@broken("vanishing-gradient")
def recurrence_of_small_weights() -> Task:
    cells = nn.RNN(8, 32, batch_first=True)
    cells.all_weights[0][1].data.mul_(0.1)
    return sequences(LastState(cells), steps=30)


def set_gates(cells: nn.LSTM, *, forget: Tensor, into: Tensor | None = None) -> None:
    """Set the biases of an LSTM's forget gates, and of its input gates."""
    bias = cells.all_weights[0][2].data
    bias[32:64] = forget
    if into is not None:
        bias[:32] = into


@broken("vanishing-gradient")
def forget_gates_that_are_shut() -> Task:
    cells = nn.LSTM(8, 32, batch_first=True)
    set_gates(cells, forget=torch.tensor(-6.0))
    return sequences(LastState(cells), steps=50)


class Loop(nn.Module):
    """A cell written by hand."""

    def __init__(self, gain: float) -> None:
        super().__init__()
        self.into, self.back, self.head = nn.Linear(8, 32), nn.Linear(32, 32), nn.Linear(32, 10)
        nn.init.orthogonal_(self.back.weight, gain)

    def forward(self, x: Tensor) -> Tensor:
        state = x.new_zeros(len(x), 32)
        for step in range(x.shape[1]):
            state = torch.tanh(self.into(x[:, step]) + self.back(state))
        return self.head(state)


@broken("vanishing-gradient")
def loop_of_small_weights() -> Task:
    return sequences(Loop(0.1), steps=30)


@broken("exploding-gradient")
def rectified_recurrence_that_grows() -> Task:
    cells = nn.RNN(8, 32, batch_first=True, nonlinearity="relu")
    nn.init.orthogonal_(cells.all_weights[0][1], 3.0)
    return sequences(LastState(cells), steps=40)


# ---- saturation beside the layers ----


@broken("saturated-activation")
def gates_behind_huge_weights() -> Task:
    cells = nn.LSTM(8, 32, batch_first=True)
    cells.all_weights[0][0].data.mul_(200)
    return sequences(LastState(cells), steps=12)


class Attention(nn.Module):
    """One head whose queries and keys are scaled by a factor."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.query, self.key, self.value = nn.Linear(32, 32), nn.Linear(32, 32), nn.Linear(32, 32)
        self.head, self.factor = nn.Linear(32, 10), factor

    def forward(self, x: Tensor) -> Tensor:
        scores = self.factor * self.query(x) @ self.key(x).transpose(1, 2) / 32**0.5
        return self.head(scores.softmax(-1) @ self.value(x)).mean(1)


@broken("saturated-activation")
def attention_on_one_key() -> Task:
    return make_task(Attention(200.0), torch.randn(32, 12, 32), torch.randint(10, (32,)), loss=F.cross_entropy)


@broken("constant-weights")
def attention_of_zeros() -> Task:
    model = Attention(1.0)
    for layer in (model.query, model.key):
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    return make_task(model, torch.randn(32, 12, 32), torch.randint(10, (32,)), loss=F.cross_entropy)
