"""Steps that are too long or too short."""

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from isometry.anatomy.task import Task, make_task
from tests.suite.case import adam, faulty, sgd, trainable
from tests.suite.data import diabetes, digit_images, digits, houses, remembered, text, waves, wine
from tests.suite.training import errors

HIGH, LOW = "learning-rate-too-high", "learning-rate-too-low"


def perceptron(into: int, out: int, width: int = 64) -> nn.Sequential:
    return nn.Sequential(nn.Linear(into, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, out))


@faulty(HIGH)
def gradient_descent_with_a_rate_of_ten(*, broken: bool) -> Task:
    return make_task(
        perceptron(64, 10), *digits(), loss=F.cross_entropy, optimizer_factory=sgd(10.0 if broken else 0.1)
    )


@faulty(HIGH)
def adam_with_a_rate_of_one(*, broken: bool) -> Task:
    return make_task(
        perceptron(64, 10), *digits(), loss=F.cross_entropy, optimizer_factory=adam(1.0 if broken else 1e-3)
    )


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(40, 32)
        self.places = nn.Parameter(torch.randn(1, 15, 32) * 0.02)
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(32, 40)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.body(self.embed(tokens) + self.places))


@faulty(HIGH, steps=200)
def transformer_with_a_rate_of_a_tenth(*, broken: bool) -> Task:
    rows = text()
    return make_task(
        Encoder(),
        rows[:, :-1],
        rows[:, 1:],
        loss=lambda out, y: F.cross_entropy(out.flatten(0, 1), y.flatten()),
        optimizer_factory=adam(0.1 if broken else 3e-3),
    )


@faulty(HIGH, "summed-loss")
def linear_regression_that_diverges(*, broken: bool) -> Task:
    inputs, goal = diabetes()
    return make_task(nn.Linear(10, 1), inputs, goal, loss=F.mse_loss, optimizer_factory=sgd(1.0 if broken else 0.05))


@faulty(HIGH)
def momentum_on_top_of_a_high_rate(*, broken: bool) -> Task:
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Conv2d(16, 32, 3), nn.ReLU(), nn.Flatten(), nn.Linear(512, 10)
    )
    return make_task(model, *digit_images(), loss=F.cross_entropy, optimizer_factory=sgd(1.0 if broken else 0.02, 0.95))


@faulty(HIGH)
def rmsprop_with_a_rate_of_one(*, broken: bool) -> Task:
    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gru, self.head = nn.GRU(6, 32, batch_first=True), nn.Linear(32, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.gru(x)[1][-1])

    return make_task(
        Reader(),
        *remembered(1024, 20),
        loss=F.cross_entropy,
        optimizer_factory=lambda parameters: torch.optim.RMSprop(parameters, lr=1.0 if broken else 3e-3),
    )


@faulty(LOW, metric=errors)
def gradient_descent_with_a_rate_of_a_millionth(*, broken: bool) -> Task:
    return make_task(
        perceptron(64, 10), *digits(), loss=F.cross_entropy, optimizer_factory=sgd(1e-6 if broken else 0.1)
    )


@faulty(LOW)
def adam_with_a_rate_of_ten_to_minus_eight(*, broken: bool) -> Task:
    return make_task(perceptron(13, 3), *wine(), loss=F.cross_entropy, optimizer_factory=adam(1e-8 if broken else 1e-3))


@faulty(LOW)
def convolutions_that_hardly_move(*, broken: bool) -> Task:
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Conv2d(16, 32, 3), nn.ReLU(), nn.Flatten(), nn.Linear(512, 10)
    )
    return make_task(model, *digit_images(), loss=F.cross_entropy, optimizer_factory=sgd(1e-5 if broken else 0.05, 0.9))


@faulty(LOW, steps=300)
def a_tenth_of_a_millionth_for_a_regression(*, broken: bool) -> Task:
    x, y = waves()
    model = nn.Sequential(nn.Linear(1, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1))
    return make_task(
        model,
        x,
        y,
        loss=F.mse_loss,
        optimizer_factory=lambda parameters: torch.optim.AdamW(trainable(parameters), lr=1e-7 if broken else 3e-3),
    )


@faulty(LOW, "no-gradient")
def rate_of_zero(*, broken: bool) -> Task:
    """A warm-up whose first rate is zero and whose scheduler is never called."""
    return make_task(perceptron(8, 1), *houses(), loss=F.mse_loss, optimizer_factory=adam(0.0 if broken else 3e-3))
