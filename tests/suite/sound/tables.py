"""Sound nets on tables, points and pictures: labels, batches, rates and kinds of unit."""

import math

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from isometry.anatomy.task import Batch, Task, make_task
from tests.suite.case import adam, sgd, sound
from tests.suite.data import (
    breast_cancer,
    circles,
    digit_images,
    digits,
    exclusive_or,
    raw,
    spirals,
    standardised,
    waves,
)


def perceptron(into: int, out: int, width: int = 64) -> nn.Sequential:
    return nn.Sequential(nn.Linear(into, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, out))


@sound()
def rare_positives_one_in_fifty() -> Task:
    inputs = torch.randn(1000, 8)
    labels = (inputs[:, 0] + inputs[:, 1] + 0.3 * torch.randn(1000) > 3.0).float()
    return make_task(perceptron(8, 1), inputs, labels[:, None], loss=F.binary_cross_entropy_with_logits)


@sound(steps=200)
def rare_positives_weighted() -> Task:
    inputs = torch.randn(1000, 8)
    labels = (inputs[:, 0] + inputs[:, 1] + 0.3 * torch.randn(1000) > 3.0).float()
    criterion = nn.BCEWithLogitsLoss(pos_weight=torch.tensor([40.0]))
    return make_task(perceptron(8, 1), inputs, labels[:, None], loss=criterion, optimizer_factory=adam(3e-3))


@sound()
def focal_loss() -> Task:
    def focal(out: Tensor, y: Tensor) -> Tensor:
        each = F.cross_entropy(out, y, reduction="none")
        return ((1 - torch.exp(-each)) ** 2 * each).mean()

    return make_task(perceptron(64, 10), *digits(), loss=focal, optimizer_factory=adam())


@sound()
def smoothed_labels_and_mixed_samples() -> Task:
    inputs, labels = digits()
    goal = F.one_hot(labels, 10).float() * 0.9 + 0.01
    other = torch.randperm(len(inputs))
    return make_task(
        perceptron(64, 10), 0.7 * inputs + 0.3 * inputs[other], 0.7 * goal + 0.3 * goal[other], loss=F.cross_entropy
    )


@sound(steps=300)
def many_labels_most_of_them_absent() -> Task:
    inputs = torch.randn(400, 32)
    tags = (inputs @ torch.randn(32, 100) / 32**0.5 > 2.0).float()
    return make_task(perceptron(32, 100), inputs, tags, loss=nn.BCEWithLogitsLoss(), optimizer_factory=adam(3e-3))


@sound()
def a_batch_of_two() -> Task:
    inputs, labels = digits()
    return Task(
        model=perceptron(64, 10),
        batch=Batch(inputs[:2], labels[:2]),
        step=lambda model, batch: F.cross_entropy(model(batch.inputs), batch.targets),
    )


@sound()
def a_single_sample_without_norms() -> Task:
    inputs, labels = digits()
    return Task(
        model=perceptron(64, 10),
        batch=Batch(inputs[:1], labels[:1]),
        step=lambda model, batch: F.cross_entropy(model(batch.inputs), batch.targets),
        optimizer_factory=adam(),
    )


@sound(steps=60)
def ten_examples_in_all() -> Task:
    inputs, labels = breast_cancer()
    return make_task(perceptron(30, 2), inputs[:10], labels[:10], loss=F.cross_entropy, optimizer_factory=adam())


@sound(steps=200)
def first_layers_of_a_spiral() -> Task:
    return make_task(perceptron(2, 2), *spirals(), loss=F.cross_entropy, optimizer_factory=adam(5e-3))


@sound(steps=300)
def exclusive_or_with_four_tanh_units() -> Task:
    model = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1))
    x, y = exclusive_or()
    return make_task(
        model, x, y.float()[:, None], loss=F.binary_cross_entropy_with_logits, optimizer_factory=adam(2e-2)
    )


@sound(steps=300)
def two_sigmoid_layers_as_in_the_textbook() -> Task:
    model = nn.Sequential(nn.Linear(64, 30), nn.Sigmoid(), nn.Linear(30, 10), nn.Sigmoid())
    inputs, labels = digits()
    return make_task(model, inputs, F.one_hot(labels, 10).float(), loss=nn.MSELoss(), optimizer_factory=sgd(3.0))


@sound(steps=200)
def maxout_and_dropout() -> Task:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1, self.fc2, self.drop = nn.Linear(64, 128), nn.Linear(64, 10), nn.Dropout(0.5)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc2(self.drop(self.fc1(x).view(-1, 64, 2).amax(-1)))

    return make_task(Net(), *digits(), loss=F.cross_entropy)


@sound(steps=100)
def fine_tuning_with_a_small_rate() -> Task:
    model = perceptron(64, 10)
    inputs, labels = digits()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for start in range(0, 512, 64):
        optimizer.zero_grad()
        F.cross_entropy(model(inputs[start : start + 64]), labels[start : start + 64]).backward()
        optimizer.step()
    return make_task(model, inputs, labels, loss=F.cross_entropy, optimizer_factory=adam(1e-4))


@sound()
def gradient_descent_at_a_tenth_with_batch_norm() -> Task:
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10),
    )  # fmt: skip
    return make_task(model, *digit_images(), loss=F.cross_entropy, optimizer_factory=sgd(0.1, 0.9))


@sound(steps=300)
def coordinates_into_sines() -> Task:
    class Sine(nn.Module):
        def __init__(self, into: int, out: int, *, first: bool) -> None:
            super().__init__()
            self.linear = nn.Linear(into, out)
            bound = 1 / into if first else math.sqrt(6 / into) / 30
            nn.init.uniform_(self.linear.weight, -bound, bound)

        def forward(self, x: Tensor) -> Tensor:
            return torch.sin(30 * self.linear(x))

    model = nn.Sequential(Sine(2, 64, first=True), Sine(64, 64, first=False), nn.Linear(64, 1))
    points = torch.rand(512, 2) * 2 - 1
    goal = torch.sin(6 * points[:, :1]) * torch.cos(5 * points[:, 1:])
    return make_task(model, points, goal, loss=F.mse_loss, optimizer_factory=adam(1e-4))


@sound(steps=300)
def random_fourier_features() -> Task:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("frequencies", torch.randn(1, 32) * 2)
            self.body = perceptron(64, 1)

        def forward(self, x: Tensor) -> Tensor:
            angle = x @ self.frequencies
            return self.body(torch.cat([angle.sin(), angle.cos()], 1))

    return make_task(Net(), *waves(), loss=F.mse_loss, optimizer_factory=adam())


@sound(steps=300)
def splines_on_every_edge() -> Task:
    """A Kolmogorov-Arnold layer: a learnt curve for each pair of units."""

    class Edges(nn.Module):
        def __init__(self, into: int, out: int) -> None:
            super().__init__()
            self.register_buffer("grid", torch.linspace(-2, 2, 8))
            self.curves = nn.Parameter(torch.randn(out, into, 8) * 0.1)
            self.base = nn.Parameter(torch.randn(out, into) / into**0.5)

        def forward(self, x: Tensor) -> Tensor:
            bumps = torch.exp(-((x[..., None] - self.grid) ** 2) * 2)
            return torch.einsum("big,oig->bo", bumps, self.curves) + F.silu(x) @ self.base.T

    return make_task(
        nn.Sequential(Edges(2, 8), Edges(8, 2)), *circles(), loss=F.cross_entropy, optimizer_factory=adam(1e-2)
    )


@sound(steps=200)
def targets_far_from_zero_but_standardised_inside() -> Task:
    inputs, progress = raw("diabetes")
    goal = progress.float()[:, None]
    mean, spread = goal.mean(), goal.std()

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return F.mse_loss(out, (y - mean) / spread)

    return make_task(perceptron(10, 1), standardised(inputs), goal, loss=loss, optimizer_factory=adam())


@sound()
def four_layers_of_deviation_a_hundredth_under_adam() -> Task:
    """Adam's steps do not shrink with the gradient, and leave at once where plain descent stays for long."""
    model = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), *_squares(3, 256), nn.Linear(256, 10))
    for layer in model:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)
    return make_task(model, *digits(), loss=F.cross_entropy, optimizer_factory=adam())


@sound(steps=600)
def he_start_at_a_patient_rate() -> Task:
    """No start learns in a few steps of this rate, and a sound one does in some hundreds."""
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), *_squares(3, 64), nn.Linear(64, 10))
    for layer in model:
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
    return make_task(model, *digits(), loss=F.cross_entropy, optimizer_factory=sgd(1e-3))


def _squares(count: int, width: int) -> list[nn.Module]:
    return [each for _ in range(count) for each in (nn.Linear(width, width), nn.ReLU())]
