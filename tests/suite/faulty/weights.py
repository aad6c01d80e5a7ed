"""Weights that are constant, copies of each other, garbage, far out, or drawn for another layout."""

import copy
import math

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from isometry.anatomy.task import Batch, Task, make_task
from tests.suite.case import adam, faulty, sgd
from tests.suite.data import circles, digit_images, digits, exclusive_or, images, remembered, spirals, waves
from tests.suite.training import errors, loss_of_batch, outputs_of

CONSTANT = ("constant-weights", "symmetric-units", "rank-collapse")
GARBAGE = ("uninitialised-memory", "nan-inf", "outlier-weights")


@faulty(*CONSTANT, steps=200)
def all_parameters_a_half(*, broken: bool) -> Task:
    model = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2))
    if broken:
        for parameter in model.parameters():
            nn.init.constant_(parameter, 0.5)
    return make_task(model, *circles(), loss=F.cross_entropy, optimizer_factory=adam(3e-3))


@faulty(*CONSTANT, "no-gradient", steps=200)
def network_of_zeros(*, broken: bool) -> Task:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            make = torch.zeros if broken else lambda *shape: torch.randn(*shape) / math.sqrt(shape[0])
            self.w1, self.b1 = nn.Parameter(make(64, 64)), nn.Parameter(torch.zeros(64))
            self.w2, self.b2 = nn.Parameter(make(64, 10)), nn.Parameter(torch.zeros(10))

        def forward(self, x: Tensor) -> Tensor:
            return torch.tanh(x @ self.w1 + self.b1) @ self.w2 + self.b2

    return make_task(Net(), *digits(), loss=F.cross_entropy, optimizer_factory=sgd(0.1))


@faulty(*CONSTANT)
def kernels_of_ones(*, broken: bool) -> Task:
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(256, 10)
    )
    if broken:
        for layer in (model[0], model[2]):
            nn.init.ones_(layer.weight)
            nn.init.ones_(layer.bias)
    return make_task(model, *digit_images(), loss=F.cross_entropy, optimizer_factory=adam(1e-3))


class LowRank(nn.Module):
    """A frozen map and a product of two factors that learns."""

    def __init__(self, width: int, *, down_is_zero: bool) -> None:
        super().__init__()
        self.base = nn.Linear(width, 10).requires_grad_(requires_grad=False)
        self.down = nn.Parameter(torch.zeros(width, 8) if down_is_zero else torch.randn(width, 8) / 8)
        self.up = nn.Parameter(torch.zeros(8, 10))

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + x @ self.down @ self.up


@faulty("constant-weights", "no-gradient", modules=("down", "up"))
def lora_of_two_zero_factors(*, broken: bool) -> Task:
    return make_task(LowRank(64, down_is_zero=broken), *digits(), loss=F.cross_entropy, optimizer_factory=adam(1e-2))


@faulty("constant-weights", "no-gradient", modules=("query", "query.weight", "key", "key.weight"), steps=400)
def attention_with_zero_queries_and_keys(*, broken: bool) -> Task:
    """The mean of a long sequence drowns its first step, which attention has to pick."""

    class Pick(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.query, self.key = nn.Linear(6, 16, bias=False), nn.Linear(6, 16, bias=False)
            self.value = nn.Linear(6, 4)
            if broken:
                nn.init.zeros_(self.query.weight)
                nn.init.zeros_(self.key.weight)

        def forward(self, x: Tensor) -> Tensor:
            scores = self.query(x) @ self.key(x).transpose(1, 2) / 4
            return (scores.softmax(-1) @ self.value(x)).mean(1)

    return make_task(Pick(), *remembered(512, 60), loss=F.cross_entropy, optimizer_factory=adam(1e-2))


# ---- units that are one ----


@faulty("symmetric-units", modules=("0", "0.weight", "2", "2.weight"), steps=500)
def every_unit_copied_eight_times(*, broken: bool) -> Task:
    model = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2))
    if broken:
        with torch.no_grad():
            model[0].weight.copy_(model[0].weight[:2].repeat(8, 1))
            model[0].bias.copy_(model[0].bias[:2].repeat(8))
            model[2].weight.copy_(model[2].weight[:, :2].repeat(1, 8))
    return make_task(model, *exclusive_or(), loss=F.cross_entropy, optimizer_factory=adam(1e-2))


@faulty("symmetric-units", "constant-weights", modules=("hidden", "hidden.weight"), steps=400)
def rows_that_differ_by_a_millionth(*, broken: bool) -> Task:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hidden, self.out = nn.Linear(2, 32), nn.Linear(32, 2)
            if broken:
                with torch.no_grad():
                    self.hidden.weight.copy_(torch.randn(1, 2) + 1e-6 * torch.randn(32, 2))
                    self.hidden.bias.zero_()
                    self.out.weight.copy_(torch.randn(2, 1) * 0.1 + 1e-6 * torch.randn(2, 32))

        def forward(self, x: Tensor) -> Tensor:
            return self.out(torch.tanh(self.hidden(x)))

    return make_task(Net(), *circles(), loss=F.cross_entropy, optimizer_factory=adam(1e-2))


@faulty("symmetric-units", modules=("experts", "experts.0", "experts.1", "experts.0.0"), steps=500)
def experts_cloned_from_one(*, broken: bool) -> Task:
    class Mixture(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            one = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 2))
            fresh = [nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 2)) for _ in range(8)]
            self.experts = nn.ModuleList([copy.deepcopy(one) for _ in range(8)] if broken else fresh)

        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([expert(x) for expert in self.experts]).mean(0)

    return make_task(Mixture(), *spirals(), loss=F.cross_entropy, optimizer_factory=adam(2e-2))


@faulty("symmetric-units", modules=("heads", "heads.0", "query", "key", "value", "out"), steps=400)
def heads_cloned_from_one(*, broken: bool) -> Task:
    """Four numbers of a sequence are wanted; equal heads can pick but one place."""

    class Heads(nn.Module):
        def __init__(self, heads: int = 8, width: int = 4) -> None:
            super().__init__()
            make = (lambda: torch.randn(1, 6, width).repeat(heads, 1, 1)) if broken else None
            self.query, self.key, self.value = (
                nn.Parameter(0.5 * (make() if make else torch.randn(heads, 6, width))) for _ in range(3)
            )
            out = torch.randn(1, width, 4).repeat(heads, 1, 1) if broken else torch.randn(heads, width, 4)
            self.out = nn.Parameter(0.2 * out)

        def forward(self, x: Tensor) -> Tensor:
            q, k, v = (torch.einsum("bti,hio->bhto", x, w) for w in (self.query, self.key, self.value))
            mixed = (q @ k.transpose(-1, -2)).softmax(-1) @ v
            return torch.einsum("bhto,hoc->btc", torch.tanh(mixed), self.out).mean(1)

    x, _ = remembered(256, 10)
    goal = torch.stack([x[..., 0].amax(1), x[..., 1].amin(1), x[..., 2].amax(1), x[..., 4].amin(1)], 1)
    return make_task(Heads(), x, goal, loss=F.mse_loss, optimizer_factory=adam(1e-2))


@faulty("symmetric-units", modules=("0", "0.weight", "2", "2.weight"), steps=500)
def twins_of_opposite_sign(*, broken: bool) -> Task:
    """tanh is odd: a unit and its mirror with mirrored weights behind are one."""
    model = nn.Sequential(nn.Linear(1, 4, bias=False), nn.Tanh(), nn.Linear(4, 1))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0], [2.0], [3.0], [0.3]]))
        if broken:
            model[0].weight.copy_(torch.tensor([[1.0], [-1.0], [1.0], [-1.0]]))
            model[2].weight.copy_(torch.tensor([[0.3, -0.3, 0.3, -0.3]]))
    x, y = waves()
    return make_task(model, x, y, loss=F.mse_loss, optimizer_factory=adam(1e-2))


# ---- memory that nobody wrote ----


def leftover(*shape: int) -> Tensor:
    """What torch.empty may give: bits of the integers that were there before."""
    return torch.randint(-(2**31), 2**31 - 1, shape, dtype=torch.int64).to(torch.int32).view(torch.float32)


@faulty(*GARBAGE, modules=("weight", "fc.weight", "fc"))
def own_layer_that_is_never_initialised(*, broken: bool) -> Task:
    class Dense(nn.Module):
        def __init__(self, into: int, out: int) -> None:
            super().__init__()
            self.weight = nn.Parameter(leftover(out, into) if broken else torch.randn(out, into) / math.sqrt(into))
            self.bias = nn.Parameter(torch.zeros(out))

        def forward(self, x: Tensor) -> Tensor:
            return F.linear(x, self.weight, self.bias)

    model = nn.Sequential()
    model.add_module("fc", Dense(64, 32))
    model.add_module("relu", nn.ReLU())
    model.add_module("out", nn.Linear(32, 10))
    return make_task(model, *digits(), loss=F.cross_entropy, optimizer_factory=adam(1e-3))


@faulty(*GARBAGE, modules=("places",))
def table_of_places_from_empty(*, broken: bool) -> Task:
    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Linear(6, 32)
            self.places = nn.Parameter(leftover(1, 10, 32) if broken else torch.zeros(1, 10, 32))
            self.body = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
            self.head = nn.Linear(32, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.body(self.embed(x) + self.places)[:, 0])

    return make_task(Encoder(), *remembered(128, 10), loss=F.cross_entropy, optimizer_factory=adam(1e-3))


# ---- weights far from the others ----


@faulty("outlier-weights", modules=("0", "0.weight"), steps=80)
def one_flipped_bit(*, broken: bool) -> Task:
    model = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(1024, 10))
    if broken:
        with torch.no_grad():
            model[0].weight[3, 0, 1, 1] = 3e5
    return make_task(model, *digit_images(), loss=F.cross_entropy, optimizer_factory=adam(1e-3))


@faulty("outlier-weights", "start-loss", modules=("embedding", "embedding.weight"), steps=80)
def embedding_with_a_few_huge_rows(*, broken: bool) -> Task:
    class Bag(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(40, 32)
            self.head = nn.Linear(32, 4)
            if broken:
                with torch.no_grad():
                    self.embedding.weight[[5, 17, 30]] *= 1e4

        def forward(self, tokens: Tensor) -> Tensor:
            return self.head(self.embedding(tokens).mean(1))

    tokens = torch.randint(40, (400, 12))
    labels = (tokens[:, :, None] % 4 == torch.arange(4)).sum(1).argmax(1)
    return make_task(Bag(), tokens, labels, loss=F.cross_entropy, optimizer_factory=adam(3e-3))


# ---- layers that are copies ----


class Ensemble(nn.Module):
    """Networks whose disagreement is to tell where the data end."""

    def __init__(self, members: list[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([member(x) for member in self.members], 1)


def agreement(task: Task) -> float:
    """The loss, and one where the members always agree, less as they differ."""
    return loss_of_batch(task) + float(torch.exp(-20 * outputs_of(task).std(1)).mean())


def _member() -> nn.Module:
    return nn.Sequential(nn.Linear(1, 32), nn.ReLU(), nn.Linear(32, 1))


@faulty("duplicate-layers", "symmetric-units", metric=agreement, steps=60)
def ensemble_of_one_network_copied(*, broken: bool) -> Task:
    first = _member()
    members = [copy.deepcopy(first) if broken else _member() for _ in range(5)]
    x, y = waves()
    return make_task(Ensemble(members), x, y, loss=lambda out, y: F.mse_loss(out, y[:, None].expand_as(out)))


@faulty("duplicate-layers", "symmetric-units", metric=agreement, steps=60)
def twin_critics_copied_from_one(*, broken: bool) -> Task:
    """Two critics of which the lower is believed, against values that are too high."""
    first = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1))
    fresh = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1))
    model = Ensemble([first, copy.deepcopy(first) if broken else fresh])
    states = torch.randn(256, 6)
    returns = torch.tanh(states[:, :1]) + 0.3 * torch.randn(256, 1)

    def step(model: nn.Module, batch: Batch) -> Tensor:
        values = model(batch.inputs)
        return sum((values[:, i] - batch.targets).square().mean() for i in range(2))

    return Task(model=model, batch=Batch(states, returns), step=step, optimizer_factory=adam(3e-4))


# ---- the fan of another layout ----


@faulty("wrong-fan", "vanishing-activation", "vanishing-gradient", steps=150)
def depthwise_kernels_with_the_fan_of_dense_ones(*, broken: bool) -> Task:
    layers: list[nn.Module] = [nn.Conv2d(3, 48, 3, padding=1), nn.ReLU()]
    for _ in range(8):
        kernel = nn.Conv2d(48, 48, 3, padding=1, groups=48)
        count = 9 * kernel.out_channels if broken else 9
        nn.init.normal_(kernel.weight, std=math.sqrt(2 / count))
        nn.init.zeros_(kernel.bias)
        layers += [kernel, nn.ReLU()]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48 * 16, 4))
    return make_task(model, *images(), loss=F.cross_entropy, optimizer_factory=sgd(0.02, 0.9))


@faulty("wrong-fan", "start-loss", "exploding-activation", modules=("w1", "w2", "head"), metric=errors, steps=60)
def he_normal_on_a_transposed_matrix(*, broken: bool) -> Task:
    """kaiming_normal_ reads the fan from axis 1, which in x @ W is the other one."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w1, self.w2 = nn.Parameter(torch.empty(1024, 8)), nn.Parameter(torch.empty(8, 10))
            nn.init.kaiming_normal_(self.w1, mode="fan_in" if broken else "fan_out")
            nn.init.kaiming_normal_(self.w2, mode="fan_out")

        def forward(self, x: Tensor) -> Tensor:
            return torch.relu(x @ self.w1) @ self.w2

    inputs, labels = digits()
    wide = torch.tanh(inputs @ torch.randn(64, 1024) / 4)
    return make_task(Net(), wide, labels, loss=F.cross_entropy, optimizer_factory=sgd(0.02))
