"""Sound trainings whose losses are noisy, negative, rise by design, or are no classifier's."""

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.training.healthy_classifiers import perceptron
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
