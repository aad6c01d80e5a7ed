"""Zeros that a network starts with on purpose, and layers that share an owner."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from isometry.anatomy.task import Task
from isometry.checking.check import diagnose
from isometry.probes.evidence import gather, measure
from isometry.probes.openings import Openings
from isometry.repair import fix

WIDTH, DEPTH = 32, 30


class ReZero(nn.Module):
    """x + a · f(x) with a = 0: Bachlechner et al. 2020, arXiv:2003.04887."""

    def __init__(self, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(8))
        self.scales = nn.ParameterList(nn.Parameter(torch.zeros(())) for _ in range(8))
        self.head = nn.Linear(WIDTH, 10)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        for layer, scale in zip(self.layers, self.scales, strict=True):
            x = x + scale * self.activation(layer(x))
        return self.head(x)


class Flow(nn.Module):
    """Couplings whose last layers start at zero: Kingma, Dhariwal 2018, arXiv:1807.03039."""

    def __init__(self) -> None:
        super().__init__()
        self.nets = nn.ModuleList(nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 32)) for _ in range(4))
        for net in self.nets:
            nn.init.zeros_(net[2].weight)
            nn.init.zeros_(net[2].bias)

    def forward(self, x: Tensor) -> Tensor:
        size = torch.zeros(len(x))
        for net in self.nets:
            first, second = x.chunk(2, dim=1)
            scale, shift = net(first).chunk(2, dim=1)
            x = torch.cat([second * torch.tanh(scale).exp() + shift, first], dim=1)
            size = size + torch.tanh(scale).sum(1)
        return x.square().sum(1) / 2 - size


class WordPairs(nn.Module):
    """Two embeddings, one of them zero, as word2vec starts."""

    def __init__(self) -> None:
        super().__init__()
        self.centre, self.context = nn.Embedding(50, 8), nn.Embedding(50, 8)
        nn.init.zeros_(self.context.weight)

    def forward(self, tokens: Tensor) -> Tensor:
        return (self.centre(tokens[:, 0]) * self.context(tokens[:, 1])).sum(1)


def classify(model: nn.Module) -> Task:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(64, WIDTH, generator=generator), torch.randint(10, (64,), generator=generator)
    return Task(model=model, batch=x, step=lambda model, batch: F.cross_entropy(model(batch), y))


def pairs() -> Task:
    tokens = torch.randint(50, (64, 2), generator=torch.Generator().manual_seed(0))
    return Task(model=WordPairs(), batch=tokens, step=lambda model, batch: -F.logsigmoid(model(batch)).mean())


def flow() -> Task:
    x = torch.randn(64, 32, generator=torch.Generator().manual_seed(0))
    return Task(model=Flow(), batch=x, step=lambda model, batch: model(batch).mean())


@pytest.mark.parametrize(
    "build",
    [
        pytest.param(lambda: classify(ReZero(torch.relu)), id="ReZero behind relu"),
        pytest.param(lambda: classify(ReZero(torch.tanh)), id="ReZero behind tanh"),
        pytest.param(flow, id="couplings that end in zeros"),
        pytest.param(pairs, id="two factors, one of them zero"),
    ],
)
def test_zeros_that_learn_are_healthy_and_left_alone(build: Callable[[], Task]) -> None:
    torch.manual_seed(0)
    task = build()
    before = [parameter.detach().clone() for parameter in task.model.parameters()]
    repair = fix(task)

    assert repair.before.verdict == "healthy"
    assert all(torch.equal(old, new) for old, new in zip(before, task.model.parameters(), strict=True))


def test_a_zero_factor_opens_the_way_for_the_other() -> None:
    torch.manual_seed(0)
    evidence = gather(pairs(), [Openings])
    openings = measure(evidence, Openings)
    names = {use.names[0] for node in openings.before for use in evidence.step.tape.operations[node].parameters}

    assert names == {"centre.weight", "context.weight"}


class OfList(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w = nn.ParameterList(nn.Parameter(torch.randn(WIDTH, WIDTH) / WIDTH**0.5) for _ in range(DEPTH))
        self.head = nn.Linear(WIDTH, 10)

    def forward(self, x: Tensor) -> Tensor:
        for weight in self.w:
            x = torch.sigmoid(x @ weight)
        return self.head(x)


class OfStack(OfList):
    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(DEPTH, WIDTH, WIDTH) / WIDTH**0.5)


@pytest.mark.parametrize(
    ("model", "first"), [pytest.param(OfList, "w.0", id="a list"), pytest.param(OfStack, "w[0]", id="slices")]
)
def test_layers_of_one_owner_are_told_apart(model: Callable[[], nn.Module], first: str) -> None:
    torch.manual_seed(0)
    diagnosis = diagnose(classify(model()))

    assert diagnosis.findings[0].name == "vanishing-gradient"
    assert diagnosis.findings[0].where[0] == first


def test_parameters_that_work_out_of_sight_are_said_to() -> None:
    inner = torch.func.vmap(lambda x, weight: x @ weight, in_dims=(0, None))

    class Hidden(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(WIDTH, 10) / WIDTH**0.5)

        def forward(self, x: Tensor) -> Tensor:
            return inner(x, self.weight)

    torch.manual_seed(0)

    assert any("out of sight" in warning for warning in diagnose(classify(Hidden())).warnings)
