"""Every kind of layer is taken by blocks of examples, or one at a time, and its kernel is that of dense Jacobians."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from isometry.probes.tangent import kernel as kernel_module
from isometry.probes.tangent.kernel import mean_tangent_kernel, tangent_kernel


class Twice(nn.Module):
    """Uses a convolution and a norm two times each."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.norm, self.head = nn.Conv2d(2, 2, 3, padding=1), nn.BatchNorm2d(2), nn.Linear(2, 3)

    def forward(self, images: Tensor) -> Tensor:
        inner = self.norm(self.layer(images)).tanh()
        return self.head(self.norm(self.layer(inner)).mean((2, 3)))


class Sentences(nn.Module):
    """Reads words, of which one is padding, with places, kinds and a token of the class, positions first inside."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places, self.kinds = nn.Embedding(9, 6, padding_idx=0), nn.Embedding(4, 6), nn.Embedding(2, 6)
        self.token = nn.Parameter(torch.randn(1, 1, 6))
        self.encoder = nn.TransformerEncoderLayer(6, 2, 8, dropout=0.0)
        self.head = nn.Linear(6, 3)

    def forward(self, words: Tensor) -> Tensor:
        kinds = torch.zeros(words.shape, dtype=torch.long)
        embedded = self.words(words) + self.places(torch.arange(words.shape[1])) + self.kinds(kinds)
        whole = torch.cat((self.token.expand(len(words), -1, -1), embedded), 1)
        return self.head(self.encoder(whole.transpose(0, 1))[0])


class Recurrent(nn.Module):
    """Reads words step by step."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.memory, self.head = nn.Embedding(9, 4), nn.LSTM(4, 5, batch_first=True), nn.Linear(5, 3)

    def forward(self, words: Tensor) -> Tensor:
        return self.head(self.memory(self.words(words))[0][:, -1])


class Outside(torch.autograd.Function):
    """Multiplies with a weight out of torch's sight."""

    @staticmethod
    def forward(context: Any, inputs: Tensor, weight: Tensor) -> Tensor:
        context.save_for_backward(inputs, weight)
        return inputs * weight

    @staticmethod
    def backward(context: Any, *slopes: Tensor) -> tuple[Tensor, Tensor]:
        inputs, weight = context.saved_tensors
        return slopes[0] * weight, (slopes[0] * inputs).sum(0)


class Hidden(nn.Module):
    """Uses a weight in sight and out of it."""

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.layer = nn.Parameter(torch.rand(5) + 1), nn.Linear(5, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.layer(Outside.apply(inputs, self.scale).tanh() * self.scale)


class Written(nn.Module):
    """Writes into what a layer read and gave."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.shift, self.scale = nn.Linear(5, 3), nn.Parameter(torch.rand(5)), nn.Parameter(torch.rand(5))

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = inputs + self.shift
        hidden[:, 1] = self.scale[1] * inputs[:, 0]
        hidden += self.scale
        return self.layer(hidden.mul_(2)).mul_(3)


class Pair(nn.Module):
    """Multiplies an example with itself."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Bilinear(3, 3, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.layer(inputs, inputs.tanh())


class Unit(nn.Module):
    """Multiplies with a vector, which gives a number an example."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3))

    def forward(self, inputs: Tensor) -> Tensor:
        return nn.functional.linear(inputs, self.weight).tanh()


class Spare(nn.Module):
    """Has a layer that no example meets."""

    def __init__(self, inner: nn.Module, spare: nn.Module) -> None:
        super().__init__()
        self.inner, self.spare = inner, spare

    def forward(self, inputs: Tensor) -> Tensor:
        return self.inner(inputs)


class Spectral(nn.Module):
    """Multiplies the spectrum of each example with complex weights, as neural operators do."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(2, 2, 4, dtype=torch.complex128))
        self.inner, self.head = nn.Linear(4, 4, dtype=torch.complex128), nn.Linear(12, 3)

    def forward(self, waves: Tensor) -> Tensor:
        spectrum = self.inner(torch.einsum("nck,cdk->ndk", torch.fft.rfft(waves), self.weight))
        return self.head(torch.fft.irfft(self.inner(spectrum[:, 0]), n=12).tanh())


class Scaled(nn.Module):
    """Divides a word's gradient by how often it is in the whole batch."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(9, 4, scale_grad_by_freq=True)

    def forward(self, words: Tensor) -> Tensor:
        return self.words(words).tanh().sum(1)


class Complex(nn.Module):
    """Has a layer of complex weights."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, 5, dtype=torch.complex128)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.layer(inputs * (1 + 2j)).abs()


class Experts(nn.Module):
    """Writes what two layers give for some of the examples into one place."""

    def __init__(self) -> None:
        super().__init__()
        self.experts = nn.ModuleList([nn.Linear(5, 3) for _ in range(2)])

    def forward(self, inputs: Tensor) -> Tensor:
        found = inputs.new_zeros(len(inputs), 3)
        for expert, mine in zip(self.experts, (inputs[:, 0] > 0, inputs[:, 0] <= 0), strict=True):
            found[mine] = expert(inputs[mine])
        return found


def convolution(layer: nn.Module, numbers: int) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(layer, nn.Tanh(), nn.Flatten(), nn.Linear(numbers, 3))


def drawn(*shape: int) -> Tensor:
    return torch.randn(5, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


WORDS = torch.randint(9, (5, 3), generator=torch.Generator().manual_seed(0))
BLOCKS: dict[str, tuple[Callable[[], nn.Module], Tensor]] = {
    "depthwise": (convolution(nn.Conv2d(4, 8, 3, groups=4), 72), drawn(4, 5, 5)),
    "grouped, strided": (convolution(nn.Conv2d(4, 6, 3, groups=2, stride=2), 24), drawn(4, 5, 5)),
    "dilated, the same size": (convolution(nn.Conv2d(2, 3, 3, dilation=2, padding="same"), 75), drawn(2, 5, 5)),
    "padded with mirror images": (
        convolution(nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect"), 75),
        drawn(2, 5, 5),
    ),
    "transposed": (convolution(nn.ConvTranspose2d(2, 3, 3, stride=2), 147), drawn(2, 3, 3)),
    "one axis": (convolution(nn.Conv1d(2, 3, 3), 15), drawn(2, 7)),
    "three axes": (convolution(nn.Conv3d(1, 2, 2), 16), drawn(1, 3, 3, 3)),
    "convolutions and pooling": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 3, 3), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, 3)
        ),
        drawn(1, 6, 6),
    ),
    "instance norm": (
        lambda: nn.Sequential(nn.InstanceNorm1d(2, affine=True), nn.PReLU(), nn.Flatten(), nn.Linear(8, 3)),
        drawn(2, 4),
    ),
    "bilinear": (Pair, drawn(3)),
    "one unit": (Unit, drawn(3)),
    "used twice": (Twice, drawn(2, 4, 4)),
    "sentences": (Sentences, WORDS),
    "weight norm": (
        lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Conv1d(2, 3, 2)), nn.Flatten(), nn.Linear(9, 3)),
        drawn(2, 4),
    ),
}
SINGLY: dict[str, tuple[Callable[[], nn.Module], Tensor]] = {
    "recurrent": (Recurrent, WORDS),
    "out of sight": (Hidden, drawn(5)),
    "written into": (Written, drawn(5)),
    "experts": (Experts, drawn(5)),
    "scaled by how often": (
        lambda: nn.Sequential(Scaled(), nn.Linear(4, 3)),
        torch.tensor([[1, 1, 2], [2, 3, 1], [1, 2, 2]]),
    ),
    "complex": (Spectral, drawn(2, 6)),
    "complex, one row": (lambda: nn.Sequential(Complex(), nn.Linear(5, 3)), drawn(5)),
}


def dense(model: nn.Module, inputs: Tensor) -> Tensor:
    trained = [each for each in model.parameters() if each.requires_grad]

    def gradient(output: Tensor) -> Tensor:
        found = torch.autograd.grad(output, trained, retain_graph=True, materialize_grads=True)
        real = [torch.view_as_real(each.resolve_conj()) if each.is_complex() else each for each in found]
        return torch.cat([each.flatten() for each in real])

    rows = [
        torch.stack([gradient(each) for each in model(inputs[row : row + 1]).flatten()]) for row in range(len(inputs))
    ]
    return torch.einsum("icp,jdp->icjd", torch.stack(rows), torch.stack(rows))


@pytest.mark.parametrize("name", [*BLOCKS, *SINGLY])
def test_the_kernel_of_any_layer_is_that_of_dense_jacobians(name: str) -> None:
    torch.manual_seed(0)
    build, inputs = {**BLOCKS, **SINGLY}[name]
    model = build().double().eval()
    expected = dense(model, inputs)
    allowed = {"rtol": 1e-9, "atol": 1e-9 * float(expected.abs().max())}

    torch.testing.assert_close(tangent_kernel(model, inputs), expected, **allowed)
    mean = expected[:, :, :2].diagonal(dim1=1, dim2=3).mean(-1)
    torch.testing.assert_close(mean_tangent_kernel(model, inputs, inputs[:2]), mean, **allowed)


@pytest.mark.parametrize("trained", ["weight", "bias"])
def test_a_layer_may_have_its_weight_or_its_bias_trained_alone(trained: str) -> None:
    torch.manual_seed(0)
    model, inputs = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)).double(), drawn(3)
    for name, each in model.named_parameters():
        each.requires_grad_(trained in name)

    torch.testing.assert_close(tangent_kernel(model, inputs), dense(model, inputs))


@pytest.mark.parametrize(
    ("inner", "inputs", "bounds"),
    [
        pytest.param(
            nn.Sequential(nn.Linear(30, 40), nn.Tanh(), nn.Linear(40, 3)),
            torch.randn(6, 30),
            range(200_000, 400_000, 10_000),  # some leave the spare layer alone in a pass
            id="strips",
        ),
        pytest.param(nn.GRU(5, 2, batch_first=True), torch.randn(4, 3, 5), (2**30,), id="recurrent"),
    ],
)
def test_a_layer_that_no_example_meets_adds_nothing(inner: nn.Module, inputs: Tensor, bounds: Sequence[int]) -> None:
    expected, model = tangent_kernel(inner, inputs), Spare(inner, nn.Linear(100, 20))

    for max_bytes in bounds:
        torch.testing.assert_close(tangent_kernel(model, inputs, max_bytes=max_bytes), expected)


@pytest.mark.parametrize("name", BLOCKS)
def test_no_example_has_a_pass_of_its_own(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise AssertionError("taken one example at a time")

    monkeypatch.setattr(kernel_module, "gradient_rows", refused)
    torch.manual_seed(0)
    build, inputs = BLOCKS[name]

    assert tangent_kernel(build().double().eval(), inputs).shape[0] == len(inputs)


def test_pieces_of_a_block_are_the_mirror_images_of_one_another(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model, inputs = Twice().double().eval(), drawn(2, 4, 4)
    whole, mean = tangent_kernel(model, inputs), mean_tangent_kernel(model, inputs)
    monkeypatch.setattr(kernel_module, "LEAST_PIECE", 2)

    torch.testing.assert_close(tangent_kernel(model, inputs), whole)
    torch.testing.assert_close(mean_tangent_kernel(model, inputs), mean)
