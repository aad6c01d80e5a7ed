"""Sound trainings whose losses are noisy, negative, rise by design, or are no classifier's."""

import copy
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.training.healthy_classifiers import layer_of, perceptron
from tests.training.runs import Training, batches, descend, digits, healthy


@healthy
def noisy_regression(seed: int) -> Training:
    generator = torch.Generator().manual_seed(seed)
    model = perceptron(8, 64, 64, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    direction = torch.randn(8, 1, generator=generator)

    def step(_: int) -> Tensor:
        inputs = torch.randn(16, 8, generator=generator)
        targets = torch.sin(inputs @ direction) + torch.randn(16, 1, generator=generator)
        return descend(optimizer, functional.mse_loss(model(inputs), targets))

    return Training(model=model, optimizer=optimizer, step=step, steps=500)


@healthy
def regression_one_by_one(seed: int) -> Training:
    generator = torch.Generator().manual_seed(seed)
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)

    def step(_: int) -> Tensor:
        inputs = torch.randn(1, 4, generator=generator)
        targets = inputs.sum(1, keepdim=True) + 0.5 * torch.randn(1, 1, generator=generator)
        return descend(optimizer, functional.mse_loss(model(inputs), targets))

    return Training(model=model, optimizer=optimizer, step=step, steps=800)


@healthy
def autoencoder(seed: int) -> Training:
    inputs, _ = digits()
    order = batches(1297, 64, seed=seed)
    model = perceptron(64, 32, 8, 32, 64, activation=nn.Tanh)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

    def step(_: int) -> Tensor:
        chosen = inputs[next(order)]
        return descend(optimizer, functional.mse_loss(model(chosen), chosen))

    return Training(model=model, optimizer=optimizer, step=step, steps=400)


class Variational(nn.Module):
    """A variational autoencoder of binary pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = perceptron(64, 64, 16)
        self.decoder = nn.Sequential(*perceptron(8, 64, 64), nn.Sigmoid())

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, logs = self.encoder(x).chunk(2, 1)
        return self.decoder(mean + torch.randn_like(mean) * (logs / 2).exp()), mean, logs


@healthy
def variational_autoencoder(seed: int) -> Training:
    inputs = (digits()[0] > 0).float()
    order = batches(1297, 64, seed=seed)
    model = Variational()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)

    def step(_: int) -> Tensor:
        chosen = inputs[next(order)]
        made, mean, logs = model(chosen)
        fit = functional.binary_cross_entropy(made, chosen, reduction="sum")
        distance = -0.5 * (1 + logs - mean.square() - logs.exp()).sum()
        return descend(optimizer, (fit + distance) / len(chosen))

    return Training(model=model, optimizer=optimizer, step=step, steps=500)


@healthy
def contrast_of_two_views(seed: int) -> Training:
    inputs, _ = digits()
    order = batches(1297, 128, seed=seed)
    model = perceptron(64, 128, 32)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def step(_: int) -> Tensor:
        chosen = inputs[next(order)]
        first, second = (functional.normalize(model(chosen + 0.3 * torch.randn_like(chosen))) for _ in range(2))
        return descend(optimizer, functional.cross_entropy(first @ second.T / 0.1, torch.arange(len(chosen))))

    return Training(model=model, optimizer=optimizer, step=step, steps=400)


class Similar(nn.Module):
    """SimSiam: an encoder and a predictor, trained by a negative cosine."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 32))
        self.predictor = perceptron(32, 16, 32)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        inner = self.encoder(x)
        return self.predictor(inner), inner.detach()


@healthy
def negative_cosine(seed: int) -> Training:
    inputs, _ = digits()
    order = batches(1297, 64, seed=seed)
    model = Similar()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

    def step(_: int) -> Tensor:
        chosen = inputs[next(order)]
        views = [model(chosen + 0.5 * torch.randn_like(chosen)) for _ in range(2)]
        first, second = (functional.cosine_similarity(views[i][0], views[1 - i][1]).mean() for i in (0, 1))
        return descend(optimizer, -(first + second) / 2)

    return Training(model=model, optimizer=optimizer, step=step, steps=400)


def adversaries(seed: int) -> tuple[nn.Module, nn.Module, Any]:
    """Return a generator, a discriminator, and what makes a step of one after a step of the other."""
    inputs = (digits()[0] > 0).float() * 2 - 1
    order = batches(1297, 64, seed=seed)
    generator = nn.Sequential(*perceptron(16, 64, 64), nn.Tanh())
    discriminator = perceptron(64, 64, 1, activation=nn.SiLU)

    def losses() -> tuple[Tensor, Tensor]:
        real, noise = inputs[next(order)], torch.randn(64, 16)
        made = generator(noise)
        told = (
            functional.softplus(-discriminator(real)).mean() + functional.softplus(discriminator(made.detach())).mean()
        )
        return told, functional.softplus(-discriminator(made)).mean()

    return generator, discriminator, losses


@healthy
def generator_of_a_pair(seed: int) -> Training:
    made, judge, losses = adversaries(seed)
    first = torch.optim.Adam(judge.parameters(), lr=5e-4, betas=(0.5, 0.999))
    second = torch.optim.Adam(made.parameters(), lr=5e-4, betas=(0.5, 0.999))

    def step(_: int) -> Tensor:
        descend(first, losses()[0])
        return descend(second, losses()[1])

    return Training(model=made, optimizer=second, step=step, steps=500)


@healthy
def discriminator_of_a_pair(seed: int) -> Training:
    made, judge, losses = adversaries(seed)
    first = torch.optim.Adam(judge.parameters(), lr=5e-4, betas=(0.5, 0.999))
    second = torch.optim.Adam(made.parameters(), lr=5e-4, betas=(0.5, 0.999))

    def step(_: int) -> Tensor:
        descend(second, losses()[1])
        return descend(first, losses()[0])

    return Training(model=judge, optimizer=first, step=step, steps=500)


@healthy
def policy_gradient_on_a_bandit(seed: int) -> Training:
    generator = torch.Generator().manual_seed(seed)
    model = perceptron(6, 32, 4, activation=nn.Tanh)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

    def step(_: int) -> Tensor:
        states = torch.randn(16, 6, generator=generator)
        logits = model(states)
        actions = logits.softmax(1).multinomial(1, generator=generator)
        rewards = (actions[:, 0] == states[:, :4].argmax(1)).float() + torch.randn(16, generator=generator)
        chosen = logits.log_softmax(1).gather(1, actions)[:, 0]
        return descend(optimizer, -(chosen * (rewards - rewards.mean())).mean())

    return Training(model=model, optimizer=optimizer, step=step, steps=600)


@healthy
def value_of_a_moving_target(seed: int) -> Training:
    """Q-learning whose target network follows: the loss rises while the values grow."""
    generator = torch.Generator().manual_seed(seed)
    model, target = perceptron(4, 64, 2), perceptron(4, 64, 2)
    target.load_state_dict(model.state_dict())
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def step(number: int) -> Tensor:
        if number % 50 == 0:
            target.load_state_dict(model.state_dict())
        states = torch.randn(64, 4, generator=generator)
        actions = torch.randint(2, (64, 1), generator=generator)
        after = states * 0.9 + 0.1 * torch.randn(64, 4, generator=generator)
        rewards = (states[:, :1] > 0) == (actions == 0)
        with torch.no_grad():
            goal = rewards.float() + 0.9 * target(after).max(1, keepdim=True).values
        return descend(optimizer, functional.smooth_l1_loss(model(states).gather(1, actions), goal))

    return Training(model=model, optimizer=optimizer, step=step, steps=600)


@healthy
def diffusion_of_digits(seed: int) -> Training:
    inputs, _ = digits()
    order = batches(1297, 64, seed=seed)
    model = perceptron(65, 128, 128, 64, activation=nn.SiLU)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)

    def step(_: int) -> Tensor:
        chosen = inputs[next(order)]
        share, noise = torch.rand(len(chosen), 1), torch.randn_like(chosen)
        mixed = share.sqrt() * noise + (1 - share).sqrt() * chosen
        return descend(optimizer, functional.mse_loss(model(torch.cat([mixed, share], 1)), noise))

    return Training(model=model, optimizer=optimizer, step=step, steps=400)


class Neighbours(nn.Module):
    """Two graph convolutions over one fixed graph."""

    def __init__(self, edges: Tensor) -> None:
        super().__init__()
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", DeprecationWarning
            )  # torch_geometric scripts functions, as torch no longer likes
            geometric = pytest.importorskip("torch_geometric.nn")
        self.first, self.second = geometric.GCNConv(64, 32), geometric.GCNConv(32, 10)
        self.edges = edges

    def forward(self, x: Tensor) -> Tensor:
        inner = functional.dropout(torch.relu(self.first(x, self.edges)), 0.5, self.training)
        return self.second(inner, self.edges)


@healthy
def graph_convolutions(seed: int) -> Training:
    inputs, targets = (each[:600] for each in digits())
    nearest = torch.cdist(inputs, inputs).topk(6, largest=False).indices[:, 1:]
    edges = torch.stack([torch.arange(600).repeat_interleave(5), nearest.flatten()])
    model = Neighbours(edges)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2, weight_decay=5e-4)
    known = torch.randperm(600, generator=torch.Generator().manual_seed(seed))[:100]

    def step(_: int) -> Tensor:
        return descend(optimizer, functional.cross_entropy(model(inputs)[known], targets[known]))

    return Training(model=model, optimizer=optimizer, step=step, steps=200)


@healthy
def field_of_sines(seed: int) -> Training:
    generator = torch.Generator().manual_seed(seed)

    class Sines(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.last = nn.Linear(2, 64), nn.Linear(64, 64), nn.Linear(64, 1)
            for layer, bound in ((self.first, 0.5), (self.second, 0.01), (self.last, 0.01)):
                nn.init.uniform_(layer.weight, -bound, bound)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(torch.sin(30 * self.second(torch.sin(30 * self.first(x)))))

    model = Sines()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)

    def step(_: int) -> Tensor:
        places = torch.rand(256, 2, generator=generator) * 2 - 1
        targets = torch.sin(9 * places[:, :1]) * torch.cos(7 * places[:, 1:])
        return descend(optimizer, functional.mse_loss(model(places), targets))

    return Training(model=model, optimizer=optimizer, step=step, steps=400)


class TwoTasks(nn.Module):
    """A trunk with two heads: classes, and numbers that nobody can tell."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.classes, self.numbers = nn.Linear(64, 64), nn.Linear(64, 10), nn.Linear(64, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        inner = torch.relu(self.trunk(x))
        return self.classes(inner), self.numbers(inner)


@healthy
def two_tasks_in_turn(seed: int) -> Training:
    inputs, targets = digits()
    order = batches(1297, 64, seed=seed)
    model = TwoTasks()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def step(number: int) -> Tensor:
        chosen = next(order)
        classes, numbers = model(inputs[chosen])
        if number % 2:
            return descend(optimizer, functional.mse_loss(numbers, 2 * torch.randn_like(numbers)))
        return descend(optimizer, functional.cross_entropy(classes, targets[chosen]))

    return Training(model=model, optimizer=optimizer, step=step, steps=400)


@healthy
def converged_and_trained_on(seed: int) -> Training:
    generator = torch.Generator().manual_seed(seed)
    model = nn.Linear(16, 1)
    inputs = torch.randn(256, 16, generator=generator)
    targets = inputs.sum(1, keepdim=True) + torch.randn(256, 1, generator=generator)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def step(_: int) -> Tensor:
        return descend(optimizer, functional.mse_loss(model(inputs), targets))

    for number in range(300):
        step(number)
    return Training(model=model, optimizer=optimizer, step=step, steps=300)


@healthy
def values_of_a_sparse_chain(seed: int) -> Training:
    """Deep Q-learning where a reward waits at the end of a chain: the loss starts near zero, and rises by leaps."""
    draw = np.random.default_rng(seed)
    states = torch.eye(10)
    model = perceptron(10, 64, 64, 2)
    for layer in (layer_of(model, index) for index in (0, 2, 4)):
        nn.init.kaiming_normal_(layer.weight)
        nn.init.zeros_(layer.bias)
    with torch.no_grad():
        layer_of(model, 4).weight.mul_(0.05)
    target = copy.deepcopy(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    seen: list[tuple[int, int, bool, int]] = []  # state, action, whether it ended at the reward, next state
    place = [0, 0]  # the state and the steps since the chain began

    def walk(number: int) -> None:
        state, count = place
        with torch.no_grad():
            best = int(model(states[state]).argmax())
        action = int(draw.integers(2)) if draw.random() < max(0.1, 1 - number / 1000) else best
        after = min(state + 1, 9) if action else max(state - 1, 0)
        seen.append((state, action, after == 9, after))
        place[:] = [0, 0] if after == 9 or count == 39 else [after, count + 1]

    def step(number: int) -> Tensor:
        for _ in range(1 if number else 64):
            walk(number)
        if number % 100 == 0:
            target.load_state_dict(model.state_dict())
        chosen = torch.tensor([seen[each] for each in draw.integers(0, len(seen), 64)])
        before, actions, ends, after = chosen.unbind(1)
        with torch.no_grad():
            goal = 10.0 * ends + 0.95 * (1 - ends) * target(states[after]).max(1).values
        return descend(optimizer, functional.mse_loss(model(states[before])[range(64), actions], goal))

    return Training(model=model, optimizer=optimizer, step=step, steps=1200)


@healthy
def two_classes_and_then_all(seed: int) -> Training:
    inputs, targets = digits()
    easy = torch.nonzero(targets < 2)[:, 0]
    model = perceptron(64, 128, 10)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    generator = torch.Generator().manual_seed(seed)

    def step(number: int) -> Tensor:
        among = easy if number < 250 else torch.arange(len(targets))
        chosen = among[torch.randint(len(among), (64,), generator=generator)]
        return descend(optimizer, functional.cross_entropy(model(inputs[chosen]), targets[chosen]))

    return Training(model=model, optimizer=optimizer, step=step, steps=400)
