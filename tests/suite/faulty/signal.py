"""Signals that fade, grow, die, saturate or become one on their way forward."""

import itertools
import math

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from isometry.anatomy.task import Task, make_task
from tests.suite.case import adam, faulty, sgd
from tests.suite.data import breast_cancer, communities, digit_images, digits, exclusive_or, images, remembered, wine

FADING = ("vanishing-activation", "vanishing-gradient")
GROWING = ("exploding-activation", "exploding-gradient")


class Perceptron(nn.Module):
    """A plain network as a loop over its layers."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(a, b) for a, b in itertools.pairwise(widths)])

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x)


def _perceptron(*, width: int, num_hidden: int, broken: bool) -> Perceptron:
    """Return ReLU layers at He's start, or broken at N(0, 0.01²)."""
    model = Perceptron((64, *[width] * num_hidden, 10))
    for layer in model.layers:
        if broken:
            nn.init.normal_(layer.weight, std=0.01)
        else:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)
    return model


@faulty(*FADING)
def weights_of_deviation_a_hundredth(*, broken: bool) -> Task:
    """The start of AlexNet's time, in a net of another width."""
    model = _perceptron(width=64, num_hidden=6, broken=broken)
    return make_task(model, *digits(), loss=F.cross_entropy, optimizer_factory=sgd(0.05, 0.9))


@faulty(*FADING)
def weights_of_deviation_a_hundredth_under_plain_descent(*, broken: bool) -> Task:
    """Too few layers to fade by much, and enough for gradient descent to stay on its plateau."""
    model = _perceptron(width=256, num_hidden=4, broken=broken)
    return make_task(model, *digits(), loss=F.cross_entropy, optimizer_factory=sgd(0.1))


@faulty(*FADING, steps=60)
def convolutions_of_deviation_a_thousandth(*, broken: bool) -> Task:
    layers: list[nn.Module] = [nn.Conv2d(3, 16, 3, padding=1), nn.ReLU()]
    for _ in range(6):
        layers += [nn.Conv2d(16, 16, 3, padding=1), nn.ReLU()]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, 4))
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.trunc_normal_(layer.weight, std=1e-3 if broken else math.sqrt(2 / (9 * layer.in_channels)))
    return make_task(model, *images(), loss=F.cross_entropy, optimizer_factory=adam(3e-4))


@faulty(*FADING, "missing-nonlinearity", steps=80)
def layer_scale_without_its_shortcut(*, broken: bool) -> Task:
    class Block(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.norm = nn.LayerNorm(width)
            self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
            self.gamma = nn.Parameter(torch.full((width,), 1e-4))

        def forward(self, x: Tensor) -> Tensor:
            branch = self.gamma * self.down(F.gelu(self.up(x if broken else self.norm(x))))
            return branch if broken else x + branch

    blocks = [Block(32) for _ in range(4)]
    model = nn.Sequential(nn.Linear(64, 32), *blocks, nn.Linear(32, 10))
    return make_task(model, *digits(), loss=F.cross_entropy, optimizer_factory=adam(1e-3))


class Raw(nn.Module):
    """Matrices as bare parameters."""

    def __init__(self, width: int, depth: int, *, scale: float) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.randn(64, width) * scale / 8)
        self.hidden = nn.ParameterList([nn.Parameter(torch.randn(width, width) * scale) for _ in range(depth)])
        self.last = nn.Parameter(torch.randn(width, 10) * scale)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(x @ self.first)
        for weight in self.hidden:
            x = torch.relu(x @ weight)
        return x @ self.last


@faulty(*GROWING)
def matrices_of_randn(*, broken: bool) -> Task:
    model = Raw(128, 6, scale=1.0 if broken else math.sqrt(2 / 128))
    return make_task(model, *digits(), loss=F.cross_entropy, optimizer_factory=adam(1e-3))


@faulty(*GROWING, "start-loss")
def residual_blocks_without_norm(*, broken: bool) -> Task:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1, self.fc2 = nn.Linear(64, 64), nn.Linear(64, 64)
            for layer in (self.fc1, self.fc2):
                nn.init.kaiming_normal_(layer.weight)
            if not broken:
                nn.init.zeros_(self.fc2.weight)

        def forward(self, x: Tensor) -> Tensor:
            return x + self.fc2(F.relu(self.fc1(x)))

    model = nn.Sequential(nn.Linear(64, 64), *[Block() for _ in range(24)], nn.Linear(64, 10))
    return make_task(model, *digits(), loss=F.cross_entropy, optimizer_factory=sgd(0.01, 0.9))


@faulty(*GROWING)
def convolutions_of_deviation_one(*, broken: bool) -> Task:
    layers: list[nn.Module] = []
    channels = 1
    for _ in range(5):
        layer = nn.Conv2d(channels, 24, 3, padding=1, bias=False)
        nn.init.normal_(layer.weight, std=1.0 if broken else math.sqrt(2 / (9 * channels)))
        layers += [layer, nn.LeakyReLU(0.1)]
        channels = 24
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(24 * 64, 10))
    return make_task(model, *digit_images(), loss=F.cross_entropy, optimizer_factory=sgd(0.01, 0.9))


# ---- units that are dead ----


@faulty("dying-relu", modules=("0", "1", "0.bias"))
def biases_far_below_zero(*, broken: bool) -> Task:
    model = nn.Sequential(nn.Linear(30, 32), nn.ReLU(), nn.Linear(32, 2))
    if broken:
        nn.init.constant_(model[0].bias, -10.0)
    return make_task(model, *breast_cancer(), loss=F.cross_entropy, optimizer_factory=sgd(0.05, 0.9))


@faulty("dying-relu", modules=("hidden", "hidden.weight", ""))
def weights_drawn_below_zero_for_positive_inputs(*, broken: bool) -> Task:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = nn.Linear(64, 48)
            self.out = nn.Linear(48, 10)
            if broken:
                nn.init.uniform_(self.hidden.weight, -0.2, 0.0)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.hidden(x).clamp(min=0))

    inputs, labels = digits()
    return make_task(Net(), (inputs + 1) / 2, labels, loss=F.cross_entropy, optimizer_factory=sgd(0.1, 0.9))


@faulty("dying-relu", modules=("bn", "bn.bias", ""), steps=200)
def batch_norm_shifted_out_of_reach(*, broken: bool) -> Task:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 16, 3, padding=1)
            self.bn = nn.BatchNorm2d(16)
            self.fc = nn.Linear(16 * 16, 10)
            if broken:
                nn.init.constant_(self.bn.bias, -8.0)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(F.max_pool2d(F.relu_(self.bn(self.conv(x))), 2).flatten(1))

    return make_task(Net(), *digit_images(), loss=F.cross_entropy, optimizer_factory=adam(1e-3))


@faulty("dying-relu", modules=("fc2", "fc2.weight", "fc2.bias", ""), steps=200)
def one_dead_layer_in_the_middle(*, broken: bool) -> Task:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1, self.fc2, self.fc3 = nn.Linear(13, 32), nn.Linear(32, 32), nn.Linear(32, 3)
            if broken:
                with torch.no_grad():
                    self.fc2.weight.abs_().neg_()
                    self.fc2.bias.abs_().neg_()

        def forward(self, x: Tensor) -> Tensor:
            return self.fc3(torch.relu(self.fc2(torch.relu(self.fc1(x)))))

    return make_task(Net(), *wine(), loss=F.cross_entropy, optimizer_factory=adam(3e-3))


# ---- activations that saturate ----


@faulty("saturated-activation", "outlier-weights")
def sigmoid_with_weights_of_randn(*, broken: bool) -> Task:
    model = nn.Sequential(nn.Linear(64, 64), nn.Sigmoid(), nn.Linear(64, 64), nn.Sigmoid(), nn.Linear(64, 10))
    for layer in (model[0], model[2]):
        nn.init.normal_(layer.weight, std=10.0 if broken else 0.25)
    return make_task(model, *digits(), loss=F.cross_entropy, optimizer_factory=sgd(0.5))


class Attention(nn.Module):
    """Single-head attention over the steps of a sequence, whose outputs are averaged."""

    def __init__(self, width: int, *, std: float, scale: float) -> None:
        super().__init__()
        self.embed = nn.Linear(6, width)
        self.query, self.key = nn.Linear(width, width, bias=False), nn.Linear(width, width, bias=False)
        self.value, self.head = nn.Linear(width, width), nn.Linear(width, 4)
        self.scale = scale
        for layer in (self.query, self.key):
            nn.init.normal_(layer.weight, std=std)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        scores = self.query(x) @ self.key(x).transpose(1, 2) * self.scale
        return self.head(F.gelu(torch.softmax(scores, dim=-1) @ self.value(x)).mean(1))


@faulty("saturated-activation", modules=("", "query", "key"), steps=100)
def attention_that_is_one_hot(*, broken: bool) -> Task:
    width = 64
    model = Attention(width, std=2.0 if broken else 0.02, scale=1.0 if broken else width**-0.5)
    x = torch.randn(1024, 20, 6)
    return make_task(model, x, x.mean(1)[:, :4].argmax(1), loss=F.cross_entropy, optimizer_factory=adam(1e-3))


@faulty("saturated-activation", "exploding-gradient", "unnormalised-input", steps=200)
def lstm_with_gates_at_their_ends(*, broken: bool) -> Task:
    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(6, 32, batch_first=True)
            self.head = nn.Linear(32, 4)
            if broken:
                for name, weight in self.lstm.named_parameters():
                    if "weight" in name:
                        nn.init.normal_(weight, std=10.0)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.lstm(x)[0][:, -1])

    return make_task(Reader(), *remembered(256, 8), loss=F.cross_entropy, optimizer_factory=adam(5e-3))


@faulty("saturated-activation", steps=200)
def tanh_of_a_hundredfold(*, broken: bool) -> Task:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1, self.fc2, self.out = nn.Linear(2, 32), nn.Linear(32, 32), nn.Linear(32, 2)
            self.sharpness = 200.0 if broken else 2.0

        def forward(self, x: Tensor) -> Tensor:
            x = torch.tanh(self.sharpness * self.fc1(x))
            return self.out(torch.tanh(self.sharpness * self.fc2(x)))

    return make_task(Net(), *exclusive_or(), loss=F.cross_entropy, optimizer_factory=sgd(0.1, 0.9))


# ---- samples that become one ----


@faulty("rank-collapse", *FADING, steps=200)
def graph_convolutions_that_smooth_too_much(*, broken: bool) -> Task:
    features, edges, labels = communities()
    count = len(labels)
    adjacency = torch.eye(count)
    adjacency[edges[0], edges[1]] = 1.0
    degrees = adjacency.sum(1).rsqrt()
    adjacency = degrees[:, None] * adjacency * degrees[None, :]

    class Gcn(nn.Module):
        def __init__(self, depth: int) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(16, 32), nn.Linear(32, 4)
            self.convs = nn.ModuleList([nn.Linear(32, 32) for _ in range(depth)])

        def forward(self, x: Tensor) -> Tensor:
            x = F.relu(adjacency @ self.first(x))
            for conv in self.convs:
                x = F.relu(adjacency @ conv(x))
            return self.last(x)

    model = Gcn(16 if broken else 1)
    return make_task(model, (features,), [labels], loss=lambda out, y: F.cross_entropy(out, y[0]))


@faulty("rank-collapse", *FADING, steps=150)
def attention_layers_without_shortcuts(*, broken: bool) -> Task:
    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(32, 4, batch_first=True)
            self.norm = nn.LayerNorm(32)

        def forward(self, x: Tensor) -> Tensor:
            mixed, _ = self.attention(x, x, x, need_weights=False)
            return self.norm(mixed if broken else x + mixed)

    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(40, 32)
            self.layers = nn.Sequential(*[Layer() for _ in range(8)])
            self.head = nn.Linear(32, 40)

        def forward(self, tokens: Tensor) -> Tensor:
            return self.head(self.layers(self.embed(tokens)))

    tokens = torch.randint(40, (64, 12))
    shifted = (3 * tokens + 1) % 40
    return make_task(
        Encoder(),
        tokens,
        shifted,
        loss=lambda out, y: F.cross_entropy(out.flatten(0, 1), y.flatten()),
        optimizer_factory=adam(1e-3),
    )


@faulty("rank-collapse", *GROWING, "start-loss", steps=150)
def weights_drawn_above_zero(*, broken: bool) -> Task:
    model = Perceptron((64, *[64] * 5, 10))
    for layer in model.layers:
        if broken:
            nn.init.uniform_(layer.weight, 0.0, 0.1)
        else:
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
    inputs, labels = digits()
    return make_task(model, (inputs + 1) / 2, labels, loss=F.cross_entropy, optimizer_factory=sgd(0.05, 0.9))
