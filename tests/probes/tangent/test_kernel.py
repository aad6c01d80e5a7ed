"""The empirical kernel against dense Jacobians, in any number of blocks, on any kind of module."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from isometry._errors import DomainError, ModelError, ShapeError
from isometry.probes.tangent.kernel import mean_tangent_kernel, tangent_kernel
from isometry.probes.tangent.laziness import alignment, drift, kernel_spectrum


class Tied(nn.Module):
    """Uses one weight twice."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 6)
        self.scale = nn.Parameter(torch.tensor(0.7))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.scale * self.layer(torch.tanh(self.layer(inputs)))[:, :2]


class Words(nn.Module):
    """Reads tokens, and gives a mapping."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 6)
        self.encoder = nn.TransformerEncoderLayer(6, 2, 8, dropout=0.0, batch_first=True)
        self.head = nn.Linear(6, 3)

    def forward(self, tokens: Tensor) -> dict[str, Tensor]:
        return {"logits": self.head(self.encoder(self.embedding(tokens)).mean(1))}


def frozen() -> nn.Module:
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2))
    model[0].bias.requires_grad_(False)
    return model


MODELS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "layers in place": (lambda: nn.Sequential(nn.Linear(6, 9), nn.ReLU(inplace=True), nn.Linear(9, 3)), (6,)),
    "convolution and norm": (
        lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)),
        (1, 6, 6),
    ),
    "several rows an example": (
        lambda: nn.Sequential(nn.Linear(6, 9), nn.GELU(), nn.LayerNorm(9), nn.Linear(9, 2), nn.Flatten()),
        (3, 6),
    ),
    "batch norm in eval mode": (
        lambda: nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)).eval(),
        (6,),
    ),
    "tied": (Tied, (6,)),
    "frozen": (frozen, (6,)),
}


def dense(model: nn.Module, first: Tensor, second: Tensor) -> Tensor:
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]

    def jacobian(inputs: Tensor) -> Tensor:
        result = model(inputs[None])
        outputs = (result["logits"] if isinstance(result, dict) else result).flatten()
        rows = [torch.autograd.grad(each, trained, retain_graph=True) for each in outputs]
        return torch.stack([torch.cat([part.flatten() for part in row]) for row in rows])

    left, right = (torch.stack([jacobian(each) for each in examples]) for examples in (first, second))
    return torch.einsum("icp,jdp->icjd", left, right)


@pytest.mark.parametrize("max_bytes", [2**30, 40_000], ids=["one block", "small blocks"])
@pytest.mark.parametrize("name", MODELS)
def test_the_kernel_is_that_of_dense_jacobians(name: str, max_bytes: int) -> None:
    torch.manual_seed(0)
    build, shape = MODELS[name]
    model = build().double()
    first, second = torch.randn(7, *shape, dtype=torch.float64), torch.randn(4, *shape, dtype=torch.float64)
    expected, across = dense(model, first, first), dense(model, first, second)

    torch.testing.assert_close(tangent_kernel(model, first, max_bytes=max_bytes), expected)
    torch.testing.assert_close(tangent_kernel(model, first, second, max_bytes=max_bytes), across)
    means = across.diagonal(dim1=1, dim2=3).mean(-1)
    torch.testing.assert_close(mean_tangent_kernel(model, first, second, max_bytes=max_bytes), means)


def test_a_transformer_that_reads_tokens_has_its_kernel() -> None:
    torch.manual_seed(0)
    model = Words().double()
    tokens = torch.randint(11, (5, 4))

    torch.testing.assert_close(tangent_kernel(model, tokens), dense(model, tokens, tokens))


def test_nothing_of_the_model_is_changed() -> None:
    model = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    tangent_kernel(model, torch.randn(5, 6, generator=torch.Generator().manual_seed(0)))

    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(state, torch.get_rng_state())


def test_blocks_become_smaller_with_the_memory() -> None:
    # Whole Jacobians of the convolution would take 40 x 3 x 3,000 numbers.
    model = nn.Sequential(nn.Conv2d(1, 32, 9), nn.Tanh(), nn.Flatten(), nn.Linear(32, 3))
    inputs = torch.randn(40, 1, 9, 9)
    whole, small = tangent_kernel(model, inputs), tangent_kernel(model, inputs, max_bytes=400_000)

    torch.testing.assert_close(whole, small)


@pytest.mark.parametrize(
    ("model", "inputs", "error", "words"),
    [
        (nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4)), (5, 6), ModelError, r"Call model\.eval\(\)"),
        (nn.Sequential(nn.Linear(6, 4), nn.Dropout(0.5)), (5, 6), ModelError, r"Call model\.eval\(\)"),
        (nn.Sequential(nn.Linear(6, 4), nn.Flatten(0)), (5, 6), ModelError, "one an example"),
    ],
)
def test_a_model_whose_examples_are_not_their_own_is_refused(
    model: nn.Module, inputs: tuple[int, ...], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        tangent_kernel(model, torch.randn(inputs))


def test_too_little_memory_is_said_with_what_is_needed() -> None:
    with pytest.raises(DomainError, match=r"take [\d,]+ bytes, and max_bytes is 10"):
        tangent_kernel(nn.Linear(6, 4), torch.randn(5, 6), max_bytes=10)


def test_a_kernel_of_identical_eigenvalues_has_full_effective_rank() -> None:
    found = kernel_spectrum(3 * torch.eye(5))

    assert found.values == pytest.approx((3.0,) * 5)
    assert found.effective_rank == pytest.approx(5.0)
    assert kernel_spectrum(torch.ones(4, 4)).effective_rank == pytest.approx(1.0)
    assert kernel_spectrum(torch.ones(4, 4)).condition == float("inf")


def test_a_kernel_made_of_the_targets_is_aligned_with_them() -> None:
    targets = nn.functional.one_hot(torch.tensor([0, 1, 0, 1, 2, 2])).float()
    other = targets[torch.tensor([0, 0, 1, 1, 2, 4])]

    assert alignment(targets @ targets.T, targets) == pytest.approx(1.0)
    assert alignment(other @ other.T, targets) < 0.9
    assert drift(torch.eye(3), 1.5 * torch.eye(3)) == pytest.approx(0.5)
    with pytest.raises(ShapeError, match="both must be equal"):
        drift(torch.eye(3), torch.eye(4))


def test_alignment_is_the_cosine_of_both_kernels_centred_on_both_sides() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(6, 4, generator=generator, dtype=torch.float64) + 3
    targets = torch.randn(6, 2, generator=generator, dtype=torch.float64)
    kernel, ideal = features @ features.T, targets @ targets.T
    centre = torch.eye(6, dtype=torch.float64) - 1 / 6
    found, expected = centre @ kernel @ centre, centre @ ideal @ centre

    assert alignment(kernel, targets) == pytest.approx(float((found * expected).sum() / found.norm() / expected.norm()))


def test_measures_that_do_not_exist_are_told_apart() -> None:
    assert math.isnan(alignment(torch.eye(4), torch.ones(4, 1)))
    assert math.isnan(alignment(torch.ones(4, 4), torch.eye(4)))
    assert drift(torch.zeros(3), torch.zeros(3)) == 0.0
    assert drift(torch.zeros(3), torch.ones(3)) == math.inf
    with pytest.raises(DomainError, match="not finite"):
        kernel_spectrum(torch.full((3, 3), torch.nan))
    with pytest.raises(ShapeError, match="at least one row"):
        kernel_spectrum(torch.zeros(0, 0))


@pytest.mark.parametrize("count", range(5, 11))
def test_the_condition_of_a_kernel_without_full_rank_is_infinite_in_its_own_dtype(count: int) -> None:
    torch.manual_seed(count)

    assert kernel_spectrum(mean_tangent_kernel(nn.Linear(3, 1), torch.randn(count, 3))).condition == math.inf
