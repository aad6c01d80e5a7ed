"""Sound trainings on sequences: language models, recurrences, attention over patches."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.training.runs import Training, classify, descend, digits, healthy, windows


class Letters(nn.Module):
    """A small transformer over characters, with its head tied to its embedding."""

    def __init__(self, width: int = 64, depth: int = 2) -> None:
        super().__init__()
        self.embedding = nn.Embedding(128, width)
        self.places = nn.Parameter(0.02 * torch.randn(64, width))
        layer = nn.TransformerEncoderLayer(width, 4, 4 * width, dropout=0.0, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 128, bias=False)
        nn.init.normal_(self.embedding.weight, std=0.02)
        self.head.weight = self.embedding.weight

    def forward(self, x: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
        hidden = self.embedding(x) + self.places[: x.shape[1]]
        return self.head(self.norm(self.layers(hidden, mask=mask, is_causal=True)))


def next_letters(model: nn.Module, optimizer: torch.optim.Optimizer, *, seed: int, steps: int, **how: Any) -> Training:
    """Return the training of a model on the next character of texts."""
    stretches = windows(16, 48, seed=seed)

    def step(_: int) -> Tensor:
        inputs, targets = next(stretches)
        outputs = model(inputs)
        logits = outputs if isinstance(outputs, Tensor) else outputs.logits
        loss = functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
        return descend(optimizer, loss, **how)

    return Training(model=model, optimizer=optimizer, step=step, steps=steps)


@healthy
def tied_transformer_on_text(seed: int) -> Training:
    model = Letters()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    return next_letters(model, optimizer, seed=seed, steps=200, clip=1.0)


@healthy
def gpt2_on_text(seed: int) -> Training:
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(
        vocab_size=128, n_positions=64, n_embd=64, n_layer=3, n_head=4, bos_token_id=0, eos_token_id=0
    )
    model = transformers.GPT2LMHeadModel(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, step / 50))
    return next_letters(model, optimizer, seed=seed, steps=200, schedule=schedule, clip=1.0)


class Recurrent(nn.Module):
    """An LSTM over characters."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(128, 32)
        self.cells = nn.LSTM(32, 64, batch_first=True)
        self.head = nn.Linear(64, 128)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cells(self.embedding(x))[0])


@healthy
def lstm_on_text(seed: int) -> Training:
    model = Recurrent()
    return next_letters(model, torch.optim.Adam(model.parameters(), lr=3e-3), seed=seed, steps=300, clip=1.0)


@healthy
def lstm_without_clipping(seed: int) -> Training:
    model = Recurrent()
    return next_letters(model, torch.optim.RMSprop(model.parameters(), lr=1e-3), seed=seed, steps=200)


class Patches(nn.Module):
    """A small vision transformer over the sixteen patches of a digit."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Conv2d(1, 32, 2, stride=2)
        self.places = nn.Parameter(0.02 * torch.randn(16, 32))
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.1, batch_first=True, norm_first=True, activation="gelu")
        self.layers = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.embedding(x).flatten(2).transpose(1, 2) + self.places
        return self.head(self.layers(tokens).mean(1))


@healthy
def vision_transformer(seed: int) -> Training:
    model = Patches()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    return classify(model, optimizer, seed=seed, data=digits(flat=False), steps=300)


class Modular(nn.Module):
    """A perceptron on the embeddings of two numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(23, 32)
        self.layers = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 23))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(self.embedding(x).flatten(1))


@healthy
def modular_addition_that_groks(seed: int) -> Training:
    pairs = torch.cartesian_prod(torch.arange(23), torch.arange(23))
    pairs = pairs[torch.randperm(len(pairs), generator=torch.Generator().manual_seed(seed))]
    model = Modular()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1.0)
    data = (pairs, pairs.sum(1) % 23)
    return classify(model, optimizer, seed=seed, data=data, size=350, train=350, steps=800, held_out=False)


@healthy
def parity_behind_a_plateau(seed: int) -> Training:
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(nn.Linear(20, 256), nn.ReLU(), nn.Linear(256, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    def step(_: int) -> Tensor:
        inputs = torch.randint(2, (64, 20), generator=generator) * 2.0 - 1.0
        targets = inputs[:, :2].prod(1, keepdim=True)
        return descend(optimizer, functional.softplus(-targets * model(inputs)).mean())

    return Training(model=model, optimizer=optimizer, step=step, steps=900, watch={"baseline": 0.6931})


class Copyist(nn.Module):
    """A recurrence that repeats what it was given, once it has been given all."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(10, 32)
        self.cells = nn.GRU(32, 64, batch_first=True)
        self.head = nn.Linear(64, 9)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cells(self.embedding(x))[0])


@healthy
def copies_that_grow_longer(seed: int) -> Training:
    """A curriculum: lengths double, and the loss, a sum over letters, leaps each time."""
    generator = torch.Generator().manual_seed(seed)
    model = Copyist()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)

    def step(number: int) -> Tensor:
        length = 2 * 2 ** (number // 200)
        letters = torch.randint(9, (32, length), generator=generator)
        outputs = model(torch.cat([letters, torch.full_like(letters, 9)], 1))[:, length:]
        loss = functional.cross_entropy(outputs.flatten(0, 1), letters.flatten(), reduction="sum") / 32
        return descend(optimizer, loss)

    return Training(model=model, optimizer=optimizer, step=step, steps=600)
