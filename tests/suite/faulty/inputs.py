"""Data that were never brought to one scale, that are constant, or that are too few for their norm."""

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from isometry.anatomy.task import Batch, Task, make_task
from tests.suite.case import adam, faulty, sgd
from tests.suite.data import breast_cancer, digits, houses, images, raw, remembered, standardised, sums, wine
from tests.suite.training import errors, loss_while_training, squares

UNSCALED = "unnormalised-input"


@faulty(UNSCALED, metric=errors)
def breast_cancer_in_its_own_units(*, broken: bool) -> Task:
    inputs, labels = raw("breast_cancer") if broken else breast_cancer()
    model = nn.Sequential(nn.Linear(30, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 2))
    return make_task(model, inputs, labels, loss=F.cross_entropy, optimizer_factory=sgd(0.01, 0.9))


@faulty(UNSCALED, "saturated-activation", metric=errors)
def wine_into_tanh(*, broken: bool) -> Task:
    inputs, labels = raw("wine") if broken else wine()

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1, self.fc2 = nn.Linear(13, 32), nn.Linear(32, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc2(torch.tanh(self.fc1(x)))

    return make_task(Net(), inputs, labels, loss=F.cross_entropy, optimizer_factory=adam(3e-3))


@faulty(UNSCALED, "start-loss", steps=100)
def pixels_up_to_255(*, broken: bool) -> Task:
    inputs, labels = images()
    low, high = inputs.amin(), inputs.amax()
    pixels = ((inputs - low) / (high - low) * 255).round()
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(4),
        nn.Flatten(),
        nn.Linear(256, 64),
        nn.ReLU(),
        nn.Linear(64, 4),
    )
    return make_task(
        model, pixels if broken else (pixels - 127) / 60, labels, loss=F.cross_entropy, optimizer_factory=sgd(0.02, 0.9)
    )


@faulty(UNSCALED, steps=200)
def one_column_of_timestamps(*, broken: bool) -> Task:
    inputs, price = houses()
    seconds = 1.7e9 + 1e6 * torch.randn(len(inputs), 1)
    table = torch.cat([inputs, seconds if broken else standardised(seconds.double()).float()], 1)
    model = nn.Sequential(nn.Linear(9, 64), nn.ReLU(), nn.Linear(64, 1))
    return make_task(model, table, price, loss=F.mse_loss, optimizer_factory=adam(3e-3))


@faulty(UNSCALED, "saturated-activation", modules=(), steps=200)
def gru_on_prices_in_cents(*, broken: bool) -> Task:
    class Forecast(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gru = nn.GRU(2, 32, batch_first=True)
            self.head = nn.Linear(32, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.gru(x)[0][:, -1])

    x, y = sums()
    cents = x * torch.tensor([4000.0, 1.0]) + torch.tensor([25000.0, 0.0])
    return make_task(Forecast(), cents if broken else x, y, loss=F.mse_loss, optimizer_factory=adam(5e-3))


@faulty(UNSCALED, "vanishing-activation", "learning-rate-too-low", metric=errors)
def divided_by_255_three_times(*, broken: bool) -> Task:
    inputs, labels = raw("digits")
    inputs = inputs * 15.9 / 255
    scaled = inputs / 255 / 255 if broken else inputs
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    return make_task(model, scaled, labels, loss=F.cross_entropy, optimizer_factory=sgd(0.1, 0.9))


@faulty(UNSCALED, "rank-collapse", metric=errors, steps=100)
def features_with_a_large_common_offset(*, broken: bool) -> Task:
    inputs, labels = digits()
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    return make_task(
        model, inputs + 300 if broken else inputs, labels, loss=F.cross_entropy, optimizer_factory=sgd(0.01, 0.9)
    )


# ---- data that say nothing ----


@faulty("constant-data", "rank-collapse")
def one_sample_expanded(*, broken: bool) -> Task:
    """An index forgotten in a data set's __getitem__."""
    inputs, labels = digits()
    inputs = inputs[:1].expand(256, -1).clone() if broken else inputs[:256]
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    return make_task(model, inputs, labels[:256], loss=F.cross_entropy, optimizer_factory=adam(3e-3))


@faulty("constant-data")
def pixels_divided_as_integers(*, broken: bool) -> Task:
    inputs, labels = raw("digits")
    pixels = (inputs * 15.9).byte()
    scaled = (pixels // 255).float() if broken else pixels.float() / 255
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    return make_task(model, scaled, labels, loss=F.cross_entropy, optimizer_factory=adam(3e-3))


@faulty("constant-data", metric=errors)
def targets_that_are_all_the_same(*, broken: bool) -> Task:
    """The column of labels was read from the wrong place; the loss falls, and nothing is learnt."""
    inputs, labels = wine()
    model = nn.Sequential(nn.Linear(13, 32), nn.ReLU(), nn.Linear(32, 3))

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(out, torch.zeros_like(y) if broken else y)

    return make_task(model, inputs, labels, loss=loss, optimizer_factory=adam(3e-3))


@faulty("constant-data", "broadcast-targets", metric=squares, steps=300)
def regression_targets_replaced_by_their_mean(*, broken: bool) -> Task:
    inputs, price = houses()
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1))

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return F.mse_loss(out, y.mean().expand_as(out) if broken else y)

    return make_task(model, inputs, price, loss=loss, optimizer_factory=adam(5e-3))


# ---- norms over one number ----


@faulty("single-sample-norm", metric=errors, modules=("1", "4"))
def batch_norm_of_a_batch_of_one(*, broken: bool) -> Task:
    model = nn.Sequential(nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 10))
    inputs, labels = digits()
    count = 1 if broken else 32
    return Task(
        model=model,
        batch=Batch(inputs[:count], labels[:count]),
        step=lambda model, batch: F.cross_entropy(model(batch.inputs), batch.targets),
        optimizer_factory=adam(1e-2),
    )


@faulty("single-sample-norm", "constant-data", "rank-collapse", "no-gradient", metric=loss_while_training)
def hand_made_norm_over_a_batch_of_one(*, broken: bool) -> Task:
    class Norm(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (x - x.mean(0)) / (x.std(0, unbiased=False) + 1e-5)

    model = nn.Sequential(nn.Linear(64, 32), Norm(), nn.ReLU(), nn.Linear(32, 10))
    inputs, labels = digits()
    size = 1 if broken else 24

    def step(model: nn.Module, batch: Batch) -> Tensor:
        """The batch in pieces, as it is done where memory is short."""
        pieces = [model(piece) for piece in batch.inputs.split(size)]
        return F.cross_entropy(torch.cat(pieces), batch.targets)

    return Task(model=model, batch=Batch(inputs[:48], labels[:48]), step=step, optimizer_factory=adam(3e-3))


@faulty("single-sample-norm", "constant-data", "no-gradient", "rank-collapse", modules=("norm",), steps=200)
def layer_norm_over_a_single_feature(*, broken: bool) -> Task:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.squeeze = nn.Linear(12, 1 if broken else 8)
            self.norm = nn.LayerNorm(1 if broken else 8)
            self.head = nn.Linear(1 if broken else 8, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(torch.tanh(self.norm(self.squeeze(x))))

    x, labels = remembered(256, 2)
    return make_task(Net(), x.flatten(1), labels, loss=F.cross_entropy, optimizer_factory=adam(5e-3))
