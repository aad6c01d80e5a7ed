"""Targets outside of the loss's domain, in the wrong shape, or a loss that sums; losses that start far off."""

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from isometry.anatomy.task import Task, make_task
from tests.suite.case import adam, faulty, sgd
from tests.suite.data import breast_cancer, diabetes, digits, houses, images, text, waves, wine
from tests.suite.training import errors, errors_above, outputs_of, squares, unexplained


def restored(task: Task) -> float:
    """Mean squared error of an autoencoder's pictures in [0, 1]."""
    return float(F.mse_loss(torch.sigmoid(outputs_of(task)), task.batch.inputs))


def unexplained_rates(task: Task) -> float:
    """Share of the counts' variance that the rates leave; outputs are logarithms."""
    counts = task.batch.targets
    return float(F.mse_loss(outputs_of(task).exp(), counts) / counts.var())


@faulty("wrong-targets", metric=errors_above(0.0), steps=300)
def labels_of_one_and_two_into_bce(*, broken: bool) -> Task:
    inputs, labels = breast_cancer()
    model = nn.Sequential(nn.Linear(30, 16), nn.ReLU(), nn.Linear(16, 1))
    goal = labels.float()[:, None]

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(out, y + 1 if broken else y)

    return make_task(model, inputs, goal, loss=loss, optimizer_factory=adam(5e-3))


@faulty("wrong-targets", metric=errors_above(0.0), steps=300)
def labels_of_minus_one_into_bce(*, broken: bool) -> Task:
    """A discriminator's labels: the loss has no floor, and the rarer class is given up."""
    inputs, labels = breast_cancer()
    rare = torch.cat([(labels == 1).nonzero()[:60, 0], (labels == 0).nonzero()[:200, 0]])
    signs = 2 * labels[rare].float() - 1
    model = nn.Sequential(nn.BatchNorm1d(30), nn.Linear(30, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1), nn.Flatten(0))
    goal = signs if broken else signs.clamp(min=0)
    return make_task(model, inputs[rare], goal, loss=F.binary_cross_entropy_with_logits, optimizer_factory=adam(1e-2))


@faulty("wrong-targets", metric=restored, steps=200)
def pixels_of_255_into_bce(*, broken: bool) -> Task:
    """An autoencoder of pictures whose targets were never divided by 255."""
    inputs, _ = digits()
    unit = (inputs + 1) / 2
    goal = unit * 255 if broken else unit
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 64))

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(out, y)

    return make_task(model, unit, goal, loss=loss, optimizer_factory=adam(3e-3))


@faulty("wrong-targets", metric=errors_above(0.0))
def soft_margin_with_labels_of_zero(*, broken: bool) -> Task:
    """soft_margin_loss wants labels of -1 and 1: one of 0 teaches nothing."""
    inputs, labels = breast_cancer()
    model = nn.Sequential(nn.Linear(30, 16), nn.ReLU(), nn.Linear(16, 1))

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return F.soft_margin_loss(out, y if broken else 2 * y - 1)

    return make_task(model, inputs, labels.float()[:, None], loss=loss, optimizer_factory=adam(3e-3))


@faulty("wrong-targets", metric=unexplained_rates, steps=200)
def poisson_of_negative_targets(*, broken: bool) -> Task:
    inputs = torch.randn(400, 5)
    counts = torch.poisson(torch.exp(1.0 + 0.8 * inputs[:, :1]))
    goal = (counts - counts.mean()) / counts.std() if broken else counts
    model = nn.Sequential(nn.Linear(5, 32), nn.ReLU(), nn.Linear(32, 1))

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return F.poisson_nll_loss(out, y)

    return make_task(model, inputs, goal, loss=loss, optimizer_factory=adam(5e-3))


@faulty("wrong-targets", "nan-inf", metric=errors)
def all_labels_ignored(*, broken: bool) -> Task:
    inputs, labels = wine()
    model = nn.Sequential(nn.Linear(13, 16), nn.ReLU(), nn.Linear(16, 3))

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(out, torch.full_like(y, -100) if broken else y)

    return make_task(model, inputs, labels, loss=loss, optimizer_factory=adam(3e-3))


@faulty("broadcast-targets", metric=squares, steps=300)
def column_of_outputs_against_a_row_of_targets(*, broken: bool) -> Task:
    inputs, goal = diabetes()
    model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 1))

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return ((out - y) ** 2).mean() if broken else ((out.squeeze(1) - y) ** 2).mean()

    return make_task(model, inputs, goal[:, 0], loss=loss, optimizer_factory=adam(3e-3))


@faulty("broadcast-targets", metric=squares, steps=300)
def squeezed_outputs_against_a_column(*, broken: bool) -> Task:
    class Regressor(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 1))

        def forward(self, x: Tensor) -> Tensor:
            out = self.layers(x)
            return out.squeeze(-1) if broken else out

    return make_task(Regressor(), *houses(), loss=nn.MSELoss(), optimizer_factory=adam(5e-3))


@faulty("broadcast-targets", metric=squares, steps=400)
def absolute_error_of_a_broadcast(*, broken: bool) -> Task:
    x, y = waves()
    model = nn.Sequential(nn.Linear(1, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1))

    def loss(out: Tensor, goal: Tensor) -> Tensor:
        return (out - goal).abs().mean()

    return make_task(model, x, y.flatten() if broken else y, loss=loss, optimizer_factory=adam(3e-3))


# ---- sums ----


@faulty("summed-loss", "learning-rate-too-high", metric=squares)
def squares_summed_over_the_batch(*, broken: bool) -> Task:
    model = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return ((out - y) ** 2).sum() if broken else ((out - y) ** 2).mean()

    return make_task(model, *houses(), loss=loss, optimizer_factory=sgd(0.05))


@faulty("summed-loss", "learning-rate-too-high", metric=errors)
def cross_entropy_summed(*, broken: bool) -> Task:
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10))
    criterion = nn.CrossEntropyLoss(reduction="sum" if broken else "mean")
    return make_task(model, *digits(), loss=criterion, optimizer_factory=sgd(0.1, 0.9))


@faulty("summed-loss", "learning-rate-too-high", metric=squares)
def reconstruction_summed_over_pixels(*, broken: bool) -> Task:
    inputs, _ = images()
    model = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 3, 3, padding=1))
    criterion = nn.MSELoss(reduction="sum" if broken else "mean")
    return make_task(model, inputs, inputs.clone(), loss=criterion, optimizer_factory=sgd(0.1, 0.9))


# ---- losses that start far off ----


@faulty("start-loss", "outlier-weights", modules=("2", "2.weight"), steps=30)
def head_drawn_far_too_wide(*, broken: bool) -> Task:
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    if broken:
        nn.init.normal_(model[2].weight, std=10.0)
    return make_task(model, *digits(), loss=F.cross_entropy, optimizer_factory=adam())


class TinyGpt(nn.Module):
    """A causal transformer with its embedding tied to its head."""

    def __init__(self, vocabulary: int, width: int = 64) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.places = nn.Embedding(32, width)
        layer = nn.TransformerEncoderLayer(width, 4, 128, dropout=0.0, batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, 2, norm=nn.LayerNorm(width), enable_nested_tensor=False)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, tokens: Tensor) -> Tensor:
        length = tokens.shape[1]
        mask = nn.Transformer.generate_square_subsequent_mask(length)
        x = self.tokens(tokens) + self.places(torch.arange(length))
        return self.head(self.blocks(x, mask=mask, is_causal=True))


@faulty("start-loss", modules=("head", "head.weight", "tokens.weight", "tokens"), steps=40)
def tied_embedding_of_deviation_one(*, broken: bool) -> Task:
    model = TinyGpt(300, 128)
    if not broken:
        nn.init.normal_(model.tokens.weight, std=0.02)
    rows = text(vocabulary=300)
    return make_task(
        model,
        rows[:, :-1],
        rows[:, 1:],
        loss=lambda out, y: F.cross_entropy(out.flatten(0, 1), y.flatten()),
        optimizer_factory=adam(1e-3),
    )


@faulty("start-loss", modules=("fc2", ""), steps=30)
def logits_divided_by_a_tiny_temperature(*, broken: bool) -> Task:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1 = nn.Linear(64, 64)
            self.fc2 = nn.Linear(64, 10)
            self.temperature = 0.0005 if broken else 1.0

        def forward(self, x: Tensor) -> Tensor:
            return self.fc2(F.relu(self.fc1(x))) / self.temperature

    return make_task(Net(), *digits(), loss=F.cross_entropy, optimizer_factory=adam())


@faulty("start-loss", "learning-rate-too-low", "unnormalised-input", metric=unexplained, steps=300)
def prices_in_dollars(*, broken: bool) -> Task:
    """Targets around 200,000: the head would have to grow to that with steps of a thousandth."""
    inputs, price = houses()
    model = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 1))
    goal = price * 1e5 if broken else price
    return make_task(model, inputs, goal, loss=F.mse_loss, optimizer_factory=adam(3e-3))
