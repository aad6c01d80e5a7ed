"""The bound on memory is measured by torch's allocator: at any depth, by any bound that one output fits into."""

import re
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from isometry._errors import DomainError
from isometry.probes.tangent.kernel import mean_tangent_kernel, tangent_kernel
from tests.probes.tangent.peak import peak_bytes


def deep() -> nn.Module:
    layers = [layer for _ in range(20) for layer in (nn.Linear(48, 48), nn.Tanh())]
    return nn.Sequential(*layers, nn.Linear(48, 4))


def convolutional() -> nn.Module:
    middle = [nn.Conv2d(2, 12, 3), nn.GroupNorm(3, 12), nn.ReLU(), nn.Conv2d(12, 12, 3), nn.ReLU()]
    return nn.Sequential(*middle, nn.Flatten(), nn.Linear(12 * 16, 3))


def attentive() -> nn.Module:
    encoder = nn.TransformerEncoderLayer(16, 2, 24, dropout=0.0, batch_first=True)
    return nn.Sequential(encoder, nn.Flatten(), nn.Linear(64, 3))


def small_images() -> nn.Module:
    middle = [nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()]
    return nn.Sequential(*middle, nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16 * 25, 4)).eval()


class Recurrent(nn.Module):
    """Reads its examples step by step, and answers after the last."""

    def __init__(self, kind: type[nn.RNNBase]) -> None:
        super().__init__()
        self.memory, self.head = kind(8, 16, 2, batch_first=True), nn.Linear(16, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.memory(inputs)[0][:, -1])


class TiedWords(nn.Module):
    """A language model whose head is its embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(30, 12), nn.Linear(12, 30, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(torch.tanh(self.embedding(tokens)).mean(1))


def flipped() -> nn.Module:
    return nn.Sequential(nn.Linear(48, 32), nn.Tanh(), Flip(), nn.Linear(32, 3), Flip())


class Flip(nn.Module):
    """Reverses the examples."""

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.flip(0)


def pooled(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(*layers, nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))


class Attentive(nn.Module):
    """Attends to all words, positions first."""

    def __init__(self) -> None:
        super().__init__()
        self.attention, self.head = nn.MultiheadAttention(8, 2), nn.Linear(8, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        words = inputs.transpose(0, 1)
        return self.head(self.attention(words, words, words)[0].mean(0))


MODELS: dict[str, tuple[Callable[[], nn.Module], Tensor, tuple[int, ...]]] = {
    "twenty layers": (deep, torch.randn(12, 48), (2**24, 400_000)),
    "convolutions": (convolutional, torch.randn(6, 2, 8, 8), (2**24, 500_000)),
    "small images": (small_images, torch.randn(12, 1, 10, 10), (2**24, 2**22, 2**20)),
    "attention": (attentive, torch.randn(4, 4, 16), (2**24, 250_000)),
}


@pytest.mark.parametrize("name", MODELS)
def test_what_is_held_beside_the_result_stays_below_the_bound(name: str) -> None:
    build, inputs, bounds = MODELS[name]
    model = build()
    found: list[Tensor] = []
    for bound in bounds:
        with peak_bytes() as peak:
            found.append(tangent_kernel(model, inputs, max_bytes=bound))

        assert peak[0] - found[-1].nbytes <= bound
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-5)


def test_a_bound_below_the_gradients_of_one_example_cuts_its_outputs() -> None:
    # Ten outputs over 40,400 parameters of one layer are 1.6 MB an example, and two blocks are alive.
    model = nn.Sequential(nn.Conv2d(1, 100, 20), nn.Flatten(), nn.Tanh(), nn.Linear(100, 10)).double()
    inputs = torch.randn(2, 1, 20, 20, dtype=torch.float64)
    whole = tangent_kernel(model, inputs)
    with peak_bytes() as peak:
        cut = tangent_kernel(model, inputs, max_bytes=4_000_000)

    torch.testing.assert_close(cut, whole)
    assert peak[0] <= 4_000_000
    torch.testing.assert_close(
        mean_tangent_kernel(model, inputs, max_bytes=4_000_000), whole.diagonal(dim1=1, dim2=3).mean(-1)
    )


LEAST = [
    pytest.param(lambda: Recurrent(nn.LSTM), torch.randn(2, 30, 8), id="thirty steps", marks=pytest.mark.slow),
    pytest.param(lambda: Recurrent(nn.GRU), torch.randn(2, 4, 8), id="gated"),
    pytest.param(TiedWords, torch.randint(30, (2, 7)), id="tied words", marks=pytest.mark.slow),
    pytest.param(flipped, torch.randn(3, 48), id="flipped"),
    pytest.param(lambda: pooled(nn.ConvTranspose2d(4, 8, 3, stride=2)), torch.randn(2, 4, 8, 8), id="transposed"),
    pytest.param(lambda: pooled(nn.Conv2d(1, 4, 1), nn.Conv2d(4, 8, 1)), torch.randn(2, 1, 24, 24), id="single pixels"),
    pytest.param(
        lambda: pooled(nn.Conv2d(3, 8, 7)).double(), torch.randn(2, 3, 16, 16, dtype=torch.float64), id="patches"
    ),
    pytest.param(Attentive, torch.randn(2, 40, 8), id="forty words"),
]


@pytest.mark.parametrize(("build", "inputs"), LEAST)
def test_the_bound_that_is_named_as_needed_holds(build: Callable[[], nn.Module], inputs: Tensor) -> None:
    torch.manual_seed(0)
    model = build()
    with pytest.raises(DomainError, match=r"take [\d,]+ bytes") as error:
        tangent_kernel(model, inputs, max_bytes=100)
    needed = int(re.findall(r"take ([\d,]+) bytes", str(error.value))[0].replace(",", ""))
    with peak_bytes() as peak:
        found = tangent_kernel(model, inputs, max_bytes=needed)

    assert peak[0] - found.nbytes <= needed


def test_the_bound_that_is_named_as_needed_suffices() -> None:
    model, inputs = convolutional(), torch.randn(3, 2, 8, 8)
    with pytest.raises(DomainError, match=r"take [\d,]+ bytes") as error:
        tangent_kernel(model, inputs, max_bytes=100)
    needed = int(re.findall(r"take ([\d,]+) bytes", str(error.value))[0].replace(",", ""))

    torch.testing.assert_close(tangent_kernel(model, inputs, max_bytes=needed), tangent_kernel(model, inputs))
