"""Faulty trainings, each beside a twin without the fault: a table by the code that must be found."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.training.healthy_classifiers import layer_of, perceptron
from tests.training.healthy_sequences import Letters, next_letters
from tests.training.runs import Training, classify, descend, digits, windows


@dataclass(frozen=True)
class Pair:
    """A fault: the code that must be found, and what makes the training with or without it.

    Attributes:
        code: The code of the finding.
        by: Steps of the optimiser by which it must be found.
        make: Returns the training for a seed; the second argument says whether with the fault.
    """

    code: str
    by: int
    make: Callable[[int, bool], Training]


FAULTY: dict[str, Pair] = {}


def faulty(code: str, *, by: int) -> Callable[[Callable[[int, bool], Training]], Callable[[int, bool], Training]]:
    """Enter a pair of trainings into the table."""

    def enter(function: Callable[[int, bool], Training]) -> Callable[[int, bool], Training]:
        FAULTY[function.__name__.replace("_", "-")] = Pair(code, by, function)
        return function

    return enter


@faulty("TRN101", by=60)
def adam_a_hundred_times_too_fast(seed: int, is_faulty: bool) -> Training:
    model = perceptron(64, 128, 128, 10)
    return classify(model, torch.optim.Adam(model.parameters(), lr=0.3 if is_faulty else 3e-3), seed=seed, steps=200)


@faulty("TRN101", by=60)
def descent_a_hundred_times_too_fast(seed: int, is_faulty: bool) -> Training:
    model = perceptron(64, 128, 128, 10)
    optimizer = torch.optim.SGD(model.parameters(), lr=5.0 if is_faulty else 0.05, momentum=0.9)
    return classify(model, optimizer, seed=seed, steps=200)


@faulty("TRN101", by=100)
def language_model_too_fast(seed: int, is_faulty: bool) -> Training:
    model = Letters()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3.0 if is_faulty else 1e-3)
    return next_letters(model, optimizer, seed=seed, steps=100)


@faulty("TRN101", by=200)
def regression_that_diverges(seed: int, is_faulty: bool) -> Training:
    generator = torch.Generator().manual_seed(seed)
    model = nn.Linear(16, 1)
    inputs = 3 * torch.randn(256, 16, generator=generator)
    targets = inputs.sum(1, keepdim=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.11 if is_faulty else 0.01)

    def step(_: int) -> Tensor:
        return descend(optimizer, functional.mse_loss(model(inputs), targets))

    return Training(model=model, optimizer=optimizer, step=step, steps=200)


@faulty("TRN102", by=150)
def descent_a_hundred_thousand_times_too_slow(seed: int, is_faulty: bool) -> Training:
    model = perceptron(64, 128, 10)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6 if is_faulty else 0.1)
    return classify(model, optimizer, seed=seed, steps=200)


@faulty("TRN102", by=150)
def adam_a_hundred_thousand_times_too_slow(seed: int, is_faulty: bool) -> Training:
    model = perceptron(64, 128, 10)
    return classify(model, torch.optim.Adam(model.parameters(), lr=1e-8 if is_faulty else 1e-3), seed=seed, steps=200)


@faulty("FWD103", by=300)
def units_that_a_burst_kills(seed: int, is_faulty: bool) -> Training:
    model = perceptron(64, 128, 128, 10)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    training = classify(model, optimizer, seed=seed, steps=300)

    def step(number: int) -> Tensor:
        for group in optimizer.param_groups:
            group["lr"] = 50.0 if is_faulty and 100 <= number < 103 else 0.05
        return training.step(number)

    return Training(model=model, optimizer=optimizer, step=step, steps=300)


@faulty("FWD103", by=150)
def units_that_start_dead(seed: int, is_faulty: bool) -> Training:
    model = perceptron(64, 128, 128, 10)
    if is_faulty:
        with torch.no_grad():
            layer_of(model, 2).bias.fill_(-20.0)
    return classify(model, torch.optim.SGD(model.parameters(), lr=0.05), seed=seed, steps=150)


@faulty("FWD104", by=150)
def tanh_that_saturates(seed: int, is_faulty: bool) -> Training:
    model = perceptron(64, 128, 128, 128, 10, activation=nn.Tanh)
    if is_faulty:
        with torch.no_grad():
            for index in (0, 2, 4):
                layer_of(model, index).weight.mul_(40)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3 if is_faulty else 0.1)
    return classify(model, optimizer, seed=seed, steps=150, watch={"baseline": 2.3026})


@faulty("BWD101", by=200)
def deep_sigmoids(seed: int, is_faulty: bool) -> Training:
    model = perceptron(64, *([64] * 12), 10, activation=nn.Sigmoid) if is_faulty else perceptron(64, *([64] * 12), 10)
    if not is_faulty:
        for index in range(0, 26, 2):
            nn.init.kaiming_normal_(layer_of(model, index).weight, nonlinearity="relu")
    return classify(model, torch.optim.Adam(model.parameters(), lr=1e-3), seed=seed, steps=200)


@faulty("BWD101", by=150)
def sixty_sigmoids(seed: int, is_faulty: bool) -> Training:
    """The gradient of the first layers is zero, to the last digit that float32 has."""
    model = perceptron(64, *([16] * 60), 10, activation=nn.Sigmoid) if is_faulty else perceptron(64, *([16] * 2), 10)
    return classify(model, torch.optim.AdamW(model.parameters(), lr=1e-2), seed=seed, steps=150)


class Unrolled(nn.Module):
    """A recurrence of plain linear steps with a tanh."""

    def __init__(self, gain: float) -> None:
        super().__init__()
        self.into, self.within, self.out = nn.Linear(1, 64), nn.Linear(64, 64, bias=False), nn.Linear(64, 1)
        self.between = nn.ModuleList([nn.Linear(64, 64) for _ in range(4)])
        nn.init.orthogonal_(self.within.weight, gain=gain)

    def forward(self, x: Tensor) -> Tensor:
        state = torch.zeros(len(x), 64)
        for number in range(x.shape[1]):
            state = self.within(state) + self.into(x[:, number : number + 1])
        return self.out(state)


@faulty("NUM101", by=70)
def logarithm_of_nothing(seed: int, is_faulty: bool) -> Training:
    inputs, targets = digits()
    model = perceptron(64, 64, 10)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    training = classify(model, optimizer, seed=seed, steps=100)

    def step(number: int) -> Tensor:
        if number != 60:
            return training.step(number)
        shares = model(inputs[:64]).softmax(1) * (0.0 if is_faulty else 1.0)
        return descend(optimizer, functional.nll_loss(shares.log(), targets[:64]))

    return Training(model=model, optimizer=optimizer, step=step, steps=100, watch={"on_nan": "skip"})


@faulty("NUM103", by=60)
def scaler_that_collapses(seed: int, is_faulty: bool) -> Training:
    inputs, targets = digits()
    model = perceptron(64, 64, 10)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    scaler = torch.amp.GradScaler("cpu")
    generator = torch.Generator().manual_seed(seed)

    def step(number: int) -> Tensor:
        chosen = torch.randint(1297, (64,), generator=generator)
        loss = functional.cross_entropy(model(inputs[chosen]), targets[chosen])
        optimizer.zero_grad()
        overflow = float("inf") if is_faulty and number % 3 else 1.0  # as of an operation that often overflows
        (scaler.scale(loss) * overflow).backward()
        scaler.step(optimizer)
        scaler.update()
        return loss

    return Training(model=model, optimizer=optimizer, step=step, steps=60, watch={"scaler": scaler})


@faulty("TRN104", by=1100)
def inputs_that_say_nothing(seed: int, is_faulty: bool) -> Training:
    inputs, targets = digits()
    model = perceptron(64, 32, 10)
    data = (torch.zeros_like(inputs) if is_faulty else inputs, targets)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    return classify(model, optimizer, seed=seed, data=data, steps=1100, held_out=False, watch={"baseline": 2.3026})


@faulty("TRN104", by=120)
def inputs_that_are_all_the_same(seed: int, is_faulty: bool) -> Training:
    """Nobody gives a baseline; what the outputs do is measured."""
    inputs, targets = digits()
    model = perceptron(64, 32, 10)
    data = (torch.zeros_like(inputs) if is_faulty else inputs, targets)
    return classify(model, torch.optim.Adam(model.parameters(), lr=1e-3), seed=seed, data=data, steps=150)


@faulty("TRN101", by=120)
def steps_uphill(seed: int, is_faulty: bool) -> Training:
    model = perceptron(64, 128, 10)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, maximize=is_faulty)
    return classify(model, optimizer, seed=seed, steps=130)


@faulty("TRN105", by=600)
def few_examples_for_a_large_network(seed: int, is_faulty: bool) -> Training:
    inputs, targets = digits()
    generator = torch.Generator().manual_seed(seed)
    wrong = torch.rand(len(targets), generator=generator) < 0.3
    noisy = torch.where(wrong, torch.randint(10, targets.shape, generator=generator), targets)
    model = perceptron(64, 512, 10)
    decay = 0.0 if is_faulty else 2.0
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=decay)
    data = (inputs, noisy if is_faulty else targets)
    return classify(model, optimizer, seed=seed, data=data, train=300, size=50, steps=600)


@faulty("TRN106", by=200)
def a_batch_unlike_the_others(seed: int, is_faulty: bool) -> Training:
    inputs, targets = digits()
    model = perceptron(64, 128, 128, 10)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    training = classify(model, optimizer, seed=seed, steps=200)

    def step(number: int) -> Tensor:
        if number != 120 or not is_faulty:
            return training.step(number)
        return descend(optimizer, functional.cross_entropy(model(30 * inputs[:64]), (targets[:64] + 5) % 10))

    return Training(model=model, optimizer=optimizer, step=step, steps=200)


@faulty("TRN103", by=300)
def descent_that_leaps_across_the_valley(seed: int, is_faulty: bool) -> Training:
    generator = torch.Generator().manual_seed(seed)
    model = nn.Linear(16, 2)
    inputs = torch.rand(512, 16, generator=generator) + 4  # not centred: the curvature along their mean is large
    targets = (inputs[:, 0] + torch.randn(512, generator=generator) > 4.5).long()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.03 if is_faulty else 0.003)

    def step(_: int) -> Tensor:
        return descend(optimizer, functional.cross_entropy(model(inputs), targets))

    return Training(model=model, optimizer=optimizer, step=step, steps=300)


class Attention(nn.Module):
    """One attention without norms on queries and keys."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.embedding = nn.Embedding(128, width)
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.head = nn.Linear(width, 128)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.embedding(x)
        query, key, value = self.query(hidden), self.key(hidden), self.value(hidden)
        mixed: Any = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self.head(hidden + mixed)


@faulty("FWD108", by=300)
def attention_that_sharpens(seed: int, is_faulty: bool) -> Training:
    model = Attention()
    fast = [*model.query.parameters(), *model.key.parameters()]
    slow = [each for each in model.parameters() if not any(each is other for other in fast)]
    optimizer = torch.optim.Adam([{"params": slow, "lr": 1e-3}, {"params": fast, "lr": 3e-2 if is_faulty else 1e-3}])
    stretches = windows(16, 48, seed=seed)

    def step(_: int) -> Tensor:
        inputs, targets = next(stretches)
        return descend(optimizer, functional.cross_entropy(model(inputs).flatten(0, 1), targets.flatten()))

    return Training(model=model, optimizer=optimizer, step=step, steps=300)
