"""Sound nets on tables: outputs, losses and data next door to what the rules look for."""

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from isometry.anatomy.task import Batch, Task, make_task
from tests.suite.case import adam, sgd, sound
from tests.suite.data import (
    breast_cancer,
    diabetes,
    digits,
    houses,
    images,
    raw,
    wine,
)
from tests.suite.training import errors


def perceptron(into: int, out: int, width: int = 64) -> nn.Sequential:
    return nn.Sequential(nn.Linear(into, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, out))


@sound()
def log_softmax_and_nll() -> Task:
    return make_task(nn.Sequential(*perceptron(64, 10), nn.LogSoftmax(1)), *digits(), loss=nn.NLLLoss())


@sound()
def log_softmax_twice_is_once() -> Task:
    """The second log-softmax changes nothing."""
    return make_task(nn.Sequential(*perceptron(64, 10), nn.LogSoftmax(1)), *digits(), loss=F.cross_entropy)


@sound()
def softmax_and_own_log_likelihood() -> Task:
    model = nn.Sequential(*perceptron(13, 3), nn.Softmax(dim=-1))

    def loss(out: Tensor, labels: Tensor) -> Tensor:
        return -torch.log(out.gather(1, labels[:, None]) + 1e-8).mean()

    return make_task(model, *wine(), loss=loss, optimizer_factory=adam())


@sound()
def softmax_and_brier_score() -> Task:
    model = nn.Sequential(*perceptron(13, 3), nn.Softmax(dim=-1))
    inputs, labels = wine()
    return make_task(model, inputs, F.one_hot(labels, 3).float(), loss=F.mse_loss, optimizer_factory=adam())


@sound()
def sigmoid_and_binary_cross_entropy() -> Task:
    inputs, labels = breast_cancer()
    model = nn.Sequential(*perceptron(30, 1), nn.Sigmoid())
    return make_task(model, inputs, labels.float()[:, None], loss=nn.BCELoss(), optimizer_factory=adam())


@sound()
def logits_and_binary_cross_entropy_squeezed() -> Task:
    inputs, labels = breast_cancer()
    model = nn.Sequential(*perceptron(30, 1), nn.Flatten(0))
    return make_task(model, inputs, labels.float(), loss=F.binary_cross_entropy_with_logits, optimizer_factory=sgd(0.1))


@sound(steps=250)
def sigmoid_behind_a_share() -> Task:
    inputs = torch.randn(400, 6)
    share = torch.sigmoid(inputs[:, :1] + 0.5 * inputs[:, 1:2] * inputs[:, 2:3])
    return make_task(nn.Sequential(*perceptron(6, 1), nn.Sigmoid()), inputs, share, loss=F.mse_loss)


@sound(steps=250)
def rectified_output_for_counts() -> Task:
    inputs = torch.randn(400, 6)
    counts = torch.poisson(torch.exp(1 + 0.5 * inputs[:, :1]))
    return make_task(nn.Sequential(*perceptron(6, 1), nn.Softplus()), inputs, counts, loss=nn.SmoothL1Loss())


@sound(steps=250)
def relu_output_for_positive_prices() -> Task:
    model = nn.Sequential(*perceptron(8, 1), nn.ReLU())
    nn.init.constant_(model[4].bias, 1.0)
    return make_task(model, *houses(), loss=F.mse_loss, optimizer_factory=adam(3e-3))


@sound(steps=250)
def tanh_autoencoder_of_pictures() -> Task:
    inputs, _ = digits()
    model = nn.Sequential(nn.Linear(64, 24), nn.Tanh(), nn.Linear(24, 64), nn.Tanh())
    return make_task(model, inputs, inputs.clone(), loss=F.mse_loss, optimizer_factory=adam(3e-3))


@sound()
def sigmoid_autoencoder_with_cross_entropy() -> Task:
    inputs, _ = digits()
    unit = (inputs + 1) / 2
    model = nn.Sequential(nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 64), nn.Sigmoid())
    return make_task(model, unit, unit.clone(), loss=F.binary_cross_entropy, optimizer_factory=adam(3e-3))


@sound(steps=250)
def linear_autoencoder() -> Task:
    inputs, _ = breast_cancer()
    model = nn.Sequential(nn.Linear(30, 6), nn.Linear(6, 30))
    return make_task(model, inputs, inputs.clone(), loss=F.mse_loss, optimizer_factory=adam(3e-3))


@sound()
def raw_features_under_a_first_batch_norm() -> Task:
    inputs, labels = raw("breast_cancer")
    return make_task(nn.Sequential(nn.BatchNorm1d(30), *perceptron(30, 2)), inputs, labels, loss=F.cross_entropy)


@sound()
def pixels_of_255_divided_inside_the_model() -> Task:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.fc = nn.Conv2d(3, 16, 3, stride=2), nn.Linear(784, 4)

        def forward(self, x: Tensor) -> Tensor:
            x = (x.float() / 255 - 0.5) / 0.25
            return self.fc(F.relu(self.conv(x)).flatten(1))

    inputs, labels = images()
    pixels = ((inputs - inputs.amin()) / (inputs.amax() - inputs.amin()) * 255).byte()
    return make_task(Net(), pixels, labels, loss=F.cross_entropy)


@sound()
def digits_of_zero_to_sixteen_with_layer_norm() -> Task:
    inputs, labels = raw("digits")
    return make_task(nn.Sequential(nn.LayerNorm(64), *perceptron(64, 10)), inputs, labels, loss=F.cross_entropy)


@sound()
def sparse_counts_of_words() -> Task:
    """Bags of words weighted as TF-IDF does: nearly all zeros, rows of length one."""
    topics = torch.rand(5, 300).pow(8)
    labels = torch.randint(5, (400,))
    counts = torch.poisson(topics[labels] * 0.8)
    weighted = F.normalize(counts * torch.log(400 / (1 + (counts > 0).sum(0))).clamp(min=0), dim=1)
    return make_task(nn.Sequential(nn.Linear(300, 32), nn.ReLU(), nn.Linear(32, 5)), weighted, labels,
                     loss=F.cross_entropy, optimizer_factory=adam(5e-3))  # fmt: skip


@sound(steps=200)
def one_hot_columns_of_a_table() -> Task:
    codes = torch.randint(12, (512, 4))
    price = (codes[:, :1] == 3).float() + 0.1 * codes[:, 1:2] + 0.05 * torch.randn(512, 1)
    return make_task(
        perceptron(48, 1), F.one_hot(codes, 12).flatten(1).float(), price, loss=F.mse_loss, optimizer_factory=adam()
    )


@sound(steps=200)
def categories_beside_numbers() -> Task:
    class Tabular(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tables = nn.ModuleList([nn.Embedding(50, 8), nn.Embedding(1000, 16)])
            self.body = perceptron(8 + 16 + 5, 1)

        def forward(self, codes: Tensor, numbers: Tensor) -> Tensor:
            parts = [table(codes[:, i]) for i, table in enumerate(self.tables)]
            return self.body(torch.cat([*parts, numbers], 1))[:, 0]

    codes = torch.stack([torch.randint(50, (512,)), torch.randint(1000, (512,))], 1)
    numbers = torch.randn(512, 5)
    goal = numbers[:, 0] + 0.5 * (codes[:, 0] % 3).float()
    return make_task(Tabular(), (codes, numbers), goal, loss=F.mse_loss, optimizer_factory=adam(3e-3))


@sound()
def logistic_regression_from_zeros() -> Task:
    model = nn.Linear(30, 1)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    inputs, labels = breast_cancer()
    return make_task(
        model, inputs, labels.float()[:, None], loss=F.binary_cross_entropy_with_logits, optimizer_factory=sgd(0.1)
    )


@sound()
def softmax_regression_with_bare_zeros() -> Task:
    class Regression(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight, self.bias = nn.Parameter(torch.zeros(64, 10)), nn.Parameter(torch.zeros(10))

        def forward(self, x: Tensor) -> Tensor:
            return x @ self.weight + self.bias

    return make_task(Regression(), *digits(), loss=F.cross_entropy, optimizer_factory=sgd(0.1))


@sound(steps=200)
def ridge_regression_by_descent() -> Task:
    model = nn.Linear(10, 1)
    inputs, goal = diabetes()

    def step(model: nn.Module, batch: Batch) -> Tensor:
        return F.mse_loss(model(batch.inputs), batch.targets) + 0.01 * model.weight.square().sum()

    return Task(model=model, batch=Batch(inputs, goal), step=step, optimizer_factory=sgd(0.1))


@sound(steps=200)
def quantiles_by_pinball_loss() -> Task:
    levels = torch.tensor([0.1, 0.5, 0.9])

    def pinball(out: Tensor, y: Tensor) -> Tensor:
        return torch.maximum(levels * (y - out), (levels - 1) * (y - out)).mean()

    return make_task(perceptron(8, 3), *houses(), loss=pinball, optimizer_factory=adam(3e-3))


@sound(steps=200)
def gaussian_likelihood_with_a_learnt_variance() -> Task:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.mean, self.scale = nn.Linear(8, 64), nn.Linear(64, 1), nn.Linear(64, 1)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            h = torch.tanh(self.body(x))
            return self.mean(h), F.softplus(self.scale(h)) + 1e-3

    return make_task(
        Net(), *houses(), loss=lambda out, y: F.gaussian_nll_loss(out[0], y, out[1]), optimizer_factory=adam(5e-3)
    )


@sound(steps=200)
def poisson_regression_of_log_rates() -> Task:
    inputs = torch.randn(400, 5)
    counts = torch.poisson(torch.exp(1 + 0.5 * inputs[:, :1]))
    return make_task(perceptron(5, 1), inputs, counts, loss=nn.PoissonNLLLoss(), optimizer_factory=adam(3e-3))


@sound()
def huber_with_outliers_in_the_targets() -> Task:
    inputs, price = houses()
    spoiled = torch.where(torch.rand_like(price) < 0.03, price * 8, price)
    return make_task(perceptron(8, 1), inputs, spoiled, loss=nn.HuberLoss(), optimizer_factory=adam(3e-3))


@sound(metric=errors, steps=200)
def hinge_of_signs() -> Task:
    inputs, labels = wine()
    model = nn.Sequential(nn.Linear(13, 32), nn.ReLU(), nn.Linear(32, 3))
    return make_task(model, inputs, labels, loss=nn.MultiMarginLoss(), optimizer_factory=adam(3e-3))
