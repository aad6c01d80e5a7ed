from collections.abc import Callable

import pytest
import torch
from pytorch_optimizer.optimizer.agc import agc
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from isometry._errors import DomainError
from isometry.anatomy.task import make_task
from isometry.training.optim.units import Units, clip_by_unit_norm_, units_of
from tests.anatomy.architectures import ARCHITECTURES
from tests.anatomy.layers import Functional
from tests.training.optim.driven import Transfers, drawn

EPS, CLIPPING = 0.05, 0.3


def filled(shape: tuple[int, ...], *, spread: float = 1.0) -> nn.Parameter:
    """A weight whose gradient is longer than allowed in some of its units, and of which some numbers are zero."""
    parameter = nn.Parameter(drawn(*shape, seed=1))
    if parameter.ndim:
        parameter.data[0] = 0.0
    parameter.grad = spread * drawn(*shape, seed=2) * drawn(*shape[:1], *[1] * (len(shape) - 1), seed=3)
    return parameter


def equation_three(weight: Tensor, gradient: Tensor) -> Tensor:
    """Clip one unit as in arXiv:2102.06171, eq. 3."""
    size = max(float(weight.norm()), EPS)
    return gradient * (CLIPPING * size / gradient.norm()) if gradient.norm() / size > CLIPPING else gradient


SLICES: dict[str, tuple[nn.Module, Callable[[Tensor], list[Tensor]]]] = {
    "linear: a row": (nn.Linear(4, 6, bias=False), list),
    "convolution: a kernel": (nn.Conv2d(4, 6, 3, bias=False), list),
    "grouped convolution": (nn.Conv1d(4, 6, 3, groups=2, bias=False), list),
    "transposed: by its second axis": (
        nn.ConvTranspose2d(4, 6, 3, bias=False),
        lambda w: [w[:, unit] for unit in range(6)],
    ),
    "grouped transposed: within its group": (
        nn.ConvTranspose1d(6, 4, 3, groups=2, bias=False),
        lambda w: [w[3 * group : 3 * group + 3, unit] for group in range(2) for unit in range(2)],
    ),
    "table: a token": (nn.Embedding(7, 5), list),
    "gain: the whole": (nn.RMSNorm(5), lambda w: [w]),
}


@pytest.mark.parametrize("name", SLICES)
def test_units_are_clipped_as_in_the_papers_equation_three(name: str) -> None:
    layer, slices = SLICES[name]
    parameter = filled(tuple(layer.weight.shape))
    layer.weight = parameter
    before = parameter.grad.clone()
    expected = [equation_three(w, g) for w, g in zip(slices(parameter.detach()), slices(before), strict=True)]

    clip_by_unit_norm_([parameter], CLIPPING, EPS, units=units_of(layer))

    for found, wanted in zip(slices(parameter.grad), expected, strict=True):
        torch.testing.assert_close(found, wanted)
    assert not torch.equal(parameter.grad, before)


@pytest.mark.parametrize("shape", [(5,), (6, 4), (6, 4, 3, 3), (3, 2, 2, 2, 2)])
def test_weights_of_torchs_layout_are_clipped_as_by_pytorch_optimizer(shape: tuple[int, ...]) -> None:
    """Of three axes it takes the second alone for the inside of a unit, and so cuts convolutions of one axis apart."""
    parameter = filled(shape)
    expected = agc(parameter.detach(), parameter.grad, EPS, CLIPPING)

    clip_by_unit_norm_(parameter, CLIPPING, EPS)

    torch.testing.assert_close(parameter.grad, expected)


@pytest.mark.parametrize(
    ("model", "inputs", "units"),
    [
        pytest.param(Conv1D(6, 8), torch.randn(4, 8), Units((8, 6), (0,)), id="Hugging Face's Conv1D"),
        pytest.param(Functional(8, 6, forward=lambda x, w: x @ w), torch.randn(4, 8), Units((8, 6), (0,)), id="x @ W"),
        pytest.param(
            Functional(3, 8, 5, forward=lambda x, w: torch.einsum("ebi,eio->ebo", x, w)),
            torch.randn(3, 5, 8),
            Units((3, 8, 5), (1,)),
            id="experts",
        ),
        pytest.param(
            Functional(8, 4, 16, forward=lambda x, w: torch.einsum("bd,dhk->bhk", x, w)),
            torch.randn(5, 8),
            Units((8, 4, 16), (0,)),
            id="heads",
        ),
        pytest.param(
            nn.ConvTranspose1d(6, 4, 3, groups=2), torch.randn(2, 6, 9), Units((2, 3, 2, 3), (1, 3)), id="transposed"
        ),
    ],
)
def test_a_batch_shows_where_units_lie_that_no_class_tells(model: nn.Module, inputs: Tensor, units: Units) -> None:
    assert units_of(model, inputs)[model.get_parameter("weight")] == units
    assert units_of(make_task(model, inputs))[model.get_parameter("weight")] == units


@pytest.mark.parametrize("name", ["llama", "bert", "vit", "resnet"])
def test_real_architectures_of_torchs_layers_have_their_units_along_axis_zero(name: str) -> None:
    model = ARCHITECTURES[name].make()

    assert units_of(model, ARCHITECTURES[name].batch()) == units_of(model) == {}


@pytest.mark.parametrize(
    ("layer", "inputs"),
    [
        pytest.param(nn.Linear(1, 5, bias=False), torch.randn(3, 1), id="one input"),
        pytest.param(nn.Linear(5, 1, bias=False), torch.randn(3, 5), id="one output"),
        pytest.param(nn.ConvTranspose1d(1, 5, 1), torch.randn(2, 1, 4), id="transposed"),
    ],
)
def test_a_matrix_of_one_row_or_column_is_one_unit_with_a_batch_and_without(layer: nn.Module, inputs: Tensor) -> None:
    assert units_of(layer, inputs) == units_of(layer) == {}


def test_the_matrices_of_gpt2_lie_the_other_way_round() -> None:
    model = ARCHITECTURES["gpt2"].make()
    units = units_of(model, ARCHITECTURES["gpt2"].batch())
    matrix = model.get_parameter("transformer.h.0.mlp.c_fc.weight")

    assert units[matrix] == Units(tuple(matrix.shape), (0,))
    assert model.get_parameter("transformer.wte.weight") not in units


def test_a_unit_that_is_not_finite_stays_and_the_others_are_clipped() -> None:
    parameter = filled((4, 3), spread=100.0)
    parameter.grad[1, 0], parameter.grad[2, 1] = torch.nan, torch.inf
    before = parameter.grad.clone()

    clip_by_unit_norm_([parameter], CLIPPING, EPS)

    assert torch.equal(parameter.grad[1, 1:], before[1, 1:])
    assert torch.equal(parameter.grad[2], before[2])
    assert float(parameter.grad[3].norm()) < float(before[3].norm())


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_low_precision_is_compared_in_float32(dtype: torch.dtype) -> None:
    parameter = nn.Parameter(torch.ones(3, 400, dtype=dtype))
    parameter.grad = torch.full((3, 400), 1e4, dtype=dtype)  # rows of norm 2e5, past float16

    clip_by_unit_norm_([parameter], 0.01)

    assert float(parameter.grad.double().norm(dim=1).max()) == pytest.approx(0.01 * 20, rel=2e-3)


def test_without_gradients_nothing_happens() -> None:
    parameter = nn.Parameter(torch.ones(2, 2))

    clip_by_unit_norm_([parameter])

    assert parameter.grad is None


@pytest.mark.parametrize(("clipping", "eps"), [(0.0, 1e-3), (0.01, 0.0), (float("nan"), 1e-3)])
def test_settings_out_of_range_are_refused(clipping: float, eps: float) -> None:
    with pytest.raises(DomainError, match=r"both take a number above 0"):
        clip_by_unit_norm_([], clipping, eps)


def test_nothing_is_read_from_the_device() -> None:
    parameter = filled((4, 3))

    with Transfers() as transfers:
        clip_by_unit_norm_([parameter], CLIPPING, EPS)

    assert transfers.count == 0
