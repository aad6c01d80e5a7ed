"""Sound trainings of classifiers, by all kinds of optimisers, schedules and networks."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from tests.training.runs import Training, classify, digits, healthy


def perceptron(*widths: int, activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """Return layers of widths with an activation between each two, at He's or torch's own start."""
    layers: list[nn.Module] = []
    for into, out in pairwise(widths):
        layers += [nn.Linear(into, out), activation()]
    return nn.Sequential(*layers[:-1])


def layer_of(model: nn.Sequential, index: int) -> nn.Linear:
    """Return the linear layer at a place of a perceptron."""
    layer = model[index]
    assert isinstance(layer, nn.Linear)
    return layer


@healthy
def perceptron_by_plain_descent(seed: int) -> Training:
    model = perceptron(64, 128, 128, 10)
    return classify(model, torch.optim.SGD(model.parameters(), lr=0.1), seed=seed)


@healthy
def perceptron_by_momentum(seed: int) -> Training:
    model = perceptron(64, 256, 10)
    return classify(model, torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4), seed=seed)


@healthy
def perceptron_by_adam(seed: int) -> Training:
    model = perceptron(64, 128, 128, 10, activation=nn.GELU)
    return classify(model, torch.optim.Adam(model.parameters(), lr=1e-3), seed=seed, steps=600)


@healthy
def perceptron_by_fast_adam(seed: int) -> Training:
    model = perceptron(64, 128, 10)
    return classify(model, torch.optim.Adam(model.parameters(), lr=1e-2), seed=seed, size=32)


@healthy
def tanh_network(seed: int) -> Training:
    model = perceptron(64, 64, 64, 64, 10, activation=nn.Tanh)
    return classify(model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9), seed=seed)


class Convolutions(nn.Module):
    """Two convolutions with batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
        )
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layers(x).mean((2, 3)))


@healthy
def convolutions_with_batch_norm(seed: int) -> Training:
    model = Convolutions()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    return classify(model, optimizer, seed=seed, data=digits(flat=False), steps=200)


class Block(nn.Module):
    """A residual branch whose last norm starts at zero."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(width, width, 3, padding=1, bias=False) for _ in range(2))
        self.inner, self.outer = nn.BatchNorm2d(width), nn.BatchNorm2d(width)
        nn.init.zeros_(self.outer.weight)

    def forward(self, x: Tensor) -> Tensor:
        inner = torch.relu(self.inner(self.first(x)))
        return torch.relu(x + self.outer(self.second(inner)))


@healthy
def residual_with_zero_branches(seed: int) -> Training:
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), *(Block(16) for _ in range(3)), nn.Flatten(), nn.Linear(1024, 10)
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 150)
    watch = {"scheduler": schedule}
    return classify(model, optimizer, seed=seed, data=digits(flat=False), steps=150, schedule=schedule, watch=watch)


@healthy
def large_batch_with_warm_up_and_cosine(seed: int) -> Training:
    model = perceptron(64, 256, 256, 10)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    warm = torch.optim.lr_scheduler.LinearLR(optimizer, 0.001, total_iters=40)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 260)
    schedule = torch.optim.lr_scheduler.SequentialLR(optimizer, [warm, cosine], [40])
    return classify(model, optimizer, seed=seed, size=512, steps=300, schedule=schedule, watch={"scheduler": schedule})


@healthy
def one_cycle(seed: int) -> Training:
    model = Convolutions()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.5, total_steps=250)
    return classify(
        model,
        optimizer,
        seed=seed,
        data=digits(flat=False),
        steps=250,
        schedule=schedule,
        watch={"scheduler": schedule},
    )


@healthy
def warm_restarts(seed: int) -> Training:
    model = perceptron(64, 128, 128, 10)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 100)
    return classify(model, optimizer, seed=seed, schedule=schedule, watch={"scheduler": schedule})


@healthy
def heavy_dropout(seed: int) -> Training:
    model = nn.Sequential(
        nn.Linear(64, 256),
        nn.ReLU(),
        nn.Dropout(0.7),
        nn.Linear(256, 256),
        nn.ReLU(),
        nn.Dropout(0.7),
        nn.Linear(256, 10),
    )
    return classify(model, torch.optim.AdamW(model.parameters(), lr=1e-3), seed=seed, size=32, steps=600)


@healthy
def tiny_batches(seed: int) -> Training:
    model = perceptron(64, 64, 10)
    return classify(model, torch.optim.SGD(model.parameters(), lr=0.01), seed=seed, size=2, steps=1000)


@healthy
def edge_of_stability(seed: int) -> Training:
    model = perceptron(64, 64, 64, 10, activation=nn.Tanh)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    return classify(model, optimizer, seed=seed, size=512, train=512, steps=500)


@healthy
def memorises_random_labels(seed: int) -> Training:
    inputs, targets = digits()
    shuffled = targets[torch.randperm(len(targets), generator=torch.Generator().manual_seed(seed))]
    model = perceptron(64, 512, 10)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    return classify(model, optimizer, seed=seed, data=(inputs, shuffled), train=500, size=50, steps=800, held_out=False)


@healthy
def wrong_labels_with_decay(seed: int) -> Training:
    inputs, targets = digits()
    generator = torch.Generator().manual_seed(seed)
    wrong = torch.rand(len(targets), generator=generator) < 0.2
    noisy = torch.where(wrong, (targets + torch.randint(1, 10, targets.shape, generator=generator)) % 10, targets)
    model = perceptron(64, 32, 10)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.5)
    return classify(model, optimizer, seed=seed, data=(inputs, noisy), steps=500, smoothing=0.1)


@healthy
def sparse_rectifiers(seed: int) -> Training:
    model = perceptron(64, 1024, 10)
    with torch.no_grad():
        layer_of(model, 0).bias.fill_(-1.0)
    return classify(model, torch.optim.Adam(model.parameters(), lr=3e-4), seed=seed, steps=400)


class Experts(nn.Module):
    """Eight experts, of which a gate chooses two for each sample."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(64, 8)
        self.experts = nn.ModuleList([perceptron(64, 64, 10) for _ in range(8)])

    def forward(self, x: Tensor) -> Tensor:
        weights, chosen = self.gate(x).topk(2)
        weights = weights.softmax(1)
        out = x.new_zeros(len(x), 10)
        for number, expert in enumerate(self.experts):
            rows, place = (chosen == number).nonzero(as_tuple=True)
            out = out.index_add(0, rows, expert(x[rows]) * weights[rows, place, None])
        return out


@healthy
def mixture_of_experts(seed: int) -> Training:
    model = Experts()
    return classify(model, torch.optim.Adam(model.parameters(), lr=2e-3), seed=seed)


@healthy
def fine_tuning_with_low_rank_adapters(seed: int) -> Training:
    model = perceptron(64, 128, 128, 10)
    before = classify(model, torch.optim.Adam(model.parameters(), lr=1e-3), seed=seed)
    for number in range(150):
        before.step(number)
    for index in (0, 2):
        model[index] = Adapted(model[index])
    trained = [each for each in model.parameters() if each.requires_grad]
    inputs, targets = digits()
    return classify(model, torch.optim.AdamW(trained, lr=2e-3), seed=seed, data=(inputs.flip(1), targets), steps=300)


class Adapted(nn.Module):
    """A frozen layer with a low-rank path beside it, whose end starts at zero."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        assert isinstance(layer, nn.Linear)
        self.layer = layer.requires_grad_(requires_grad=False)
        self.down = nn.Linear(layer.in_features, 8, bias=False)
        self.up = nn.Linear(8, layer.out_features, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) + self.up(self.down(x))


@healthy
def bfloat16_autocast(seed: int) -> Training:
    inner = perceptron(64, 256, 256, 10)

    class Cast(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: Tensor) -> Tensor:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                return self.inner(x).float()

    model = Cast()
    return classify(model, torch.optim.AdamW(model.parameters(), lr=1e-3), seed=seed, steps=200)
