"""Units of one weight that are copies, mirror images or nearly so, and what parts them."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from isometry.anatomy.task import Task, make_task
from isometry.probes.evidence import gather, measure
from isometry.probes.twins import TwinTable, TwinUnits, twins_among
from tests.anatomy.layers import mean_square


def net(*between: nn.Module, into: int = 16) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(into, 8), *between, nn.Linear(8, 3))


def copy_units(model: nn.Sequential, of: int, into: int, *, noise: float = 0.0, sign: float = 1.0) -> None:
    """Make one hidden unit a copy of another, incoming and outgoing weights."""
    first, last = model[0], model[-1]
    with torch.no_grad():
        for tensor in (first.weight, first.bias):
            tensor[into] = sign * tensor[of] * (1 + noise * torch.randn_like(tensor[of]))
        last.weight[:, into] = sign * last.weight[:, of]


def twins_of(model: nn.Module, x: Tensor) -> tuple[TwinUnits, ...]:
    return measure(gather(Task(model=model, batch=x, step=mean_square), [TwinTable]), TwinTable).layers


def copy_all(model: nn.Sequential, *pairs: tuple[int, int]) -> None:
    for pair in pairs:
        copy_units(model, *pair)


def part_outgoing(model: nn.Sequential) -> None:
    copy_units(model, 1, 3)
    with torch.no_grad():
        model[-1].weight[:, 3] += torch.tensor([0.1, 0.0, -0.1])


CASES: dict[str, tuple[Callable[[Any], None], tuple[nn.Module, ...], list[tuple[int, str, bool]]]] = {
    "exact copies": (lambda m: copy_units(m, 1, 3), (nn.Tanh(),), [(7, "stay", False)]),
    "three copies": (lambda m: copy_all(m, (1, 3), (1, 6)), (nn.Tanh(),), [(6, "stay", False)]),
    "two pairs": (
        lambda m: copy_all(m, (1, 3), (0, 7)),
        (nn.ReLU(),),
        [(6, "stay", False)],
    ),
    "a thousandth apart": (lambda m: copy_units(m, 1, 3, noise=1e-3), (nn.Tanh(),), [(7, "drift", False)]),
    "a tenth apart": (lambda m: copy_units(m, 1, 3, noise=0.1), (nn.Tanh(),), []),
    "mirror images behind tanh": (lambda m: copy_units(m, 1, 3, sign=-1.0), (nn.Tanh(),), [(7, "stay", True)]),
    "mirror images behind relu": (lambda m: copy_units(m, 1, 3, sign=-1.0), (nn.ReLU(),), []),
    "other weights behind them": (
        part_outgoing,
        (nn.Tanh(),),
        [(7, "part", False)],
    ),
    "dropout parts them": (lambda m: copy_units(m, 1, 3), (nn.Tanh(), nn.Dropout(0.3)), [(7, "part", False)]),
    "nothing": (lambda _: None, (nn.Tanh(),), []),
}


@pytest.mark.parametrize(("change", "between", "expected"), CASES.values(), ids=CASES.keys())
def test_copies_are_told_with_what_becomes_of_them(
    change: Callable[[Any], None], between: tuple[nn.Module, ...], expected: list[tuple[int, str, bool]]
) -> None:
    model = net(*between)
    change(model)

    assert [(each.num_distinct, each.fate, each.is_mirrored) for each in twins_of(model, torch.randn(64, 16))] == (
        expected
    )


def test_an_even_function_keeps_mirror_images_with_equal_weights_behind_them() -> None:
    torch.manual_seed(0)
    model = nn.ModuleList([nn.Linear(16, 8), nn.Linear(8, 3)])
    with torch.no_grad():
        model[0].weight[3], model[0].bias[3] = -model[0].weight[1], -model[0].bias[1]
        model[1].weight[:, 3] = model[1].weight[:, 1]
    task = Task(model=model, batch=torch.randn(64, 16), step=lambda m, x: m[1](m[0](x).abs()).square().mean())
    (twins,) = measure(gather(task, [TwinTable]), TwinTable).layers

    assert (twins.num_distinct, twins.fate, twins.is_mirrored) == (7, "stay", True)


@given(
    pairs=st.lists(
        st.tuples(st.sampled_from([-2.0, 0.5, 1.0]), st.sampled_from([-1e-20, 1e-20, 3e-20])), min_size=2, max_size=12
    )
)
def test_twins_are_the_units_that_share_weights_and_gradients_up_to_a_common_sign(
    pairs: list[tuple[float, float]],
) -> None:
    generator = torch.Generator().manual_seed(0)
    base, slope = torch.randn(2, 6, generator=generator, dtype=torch.float64)
    weights = torch.stack([size * base for size, _ in pairs])
    gradients = torch.stack([size * slope for _, size in pairs])
    distinct = {max((size, step), (-size, -step)) for size, step in pairs}
    twins = twins_among(weights, gradients, layer="layer")
    stay = twins is not None and twins.fate == "stay"

    assert stay == (len(distinct) < len(pairs))
    assert not stay or twins.num_distinct == len(distinct)


def test_units_without_weights_or_gradient_are_no_twins() -> None:
    weights = torch.tensor([[0.0, 0.0], [0.0, 0.0], [1.0, 2.0], [1.0, 2.0], [torch.nan, 1.0]])
    gradients = torch.tensor([[1.0, 3.0], [1.0, 3.0], [0.0, 0.0], [0.0, 0.0], [1.0, 3.0]])

    assert twins_among(weights, gradients, layer="layer") is None


def test_convolutions_have_channels_for_units() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Tanh(), nn.Conv2d(4, 2, 3))
    with torch.no_grad():
        model[0].weight[2], model[0].bias[2] = model[0].weight[0], model[0].bias[0]
        model[2].weight[:, 2] = model[2].weight[:, 0]

    assert [(each.layer, each.num_distinct) for each in twins_of(model, torch.randn(4, 2, 8, 8))] == [("0", 3)]


def test_heads_are_spared() -> None:
    model = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 4))
    for parameter in model.parameters():
        nn.init.constant_(parameter, 0.1)

    assert [(each.layer, each.num_units, each.num_distinct) for each in twins_of(model, torch.randn(32, 5))] == [
        ("0", 6, 1)
    ]


def test_equal_heads_of_packed_attention_are_told_as_blocks() -> None:
    torch.manual_seed(0)
    model = nn.MultiheadAttention(16, 2, batch_first=True)
    with torch.no_grad():
        for part in model.in_proj_weight.view(3, 2, 8, 16):
            part[1] = part[0]
        model.out_proj.weight[:, 8:] = model.out_proj.weight[:, :8]
    head = nn.Linear(16, 3)
    stack = nn.ModuleDict({"attention": model, "head": head})
    task = Task(
        model=stack,
        batch=torch.randn(4, 6, 16),
        step=lambda m, x: m["head"](m["attention"](x, x, x, need_weights=False)[0]).square().mean(),
    )
    (twins,) = measure(gather(task, [TwinTable]), TwinTable).layers

    assert (twins.num_units, twins.num_distinct) == (48, 24)
    assert twins.places is not None
    assert (twins.places.block, twins.places.again - twins.places.first) == (8, 8)


class Experts(nn.Module):
    """A mixture with all weights in one tensor, mixed evenly."""

    def __init__(self) -> None:
        super().__init__()
        self.into = nn.Parameter(torch.randn(4, 6, 8))
        self.out = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.tanh(torch.einsum("bi,eio->ebo", x, self.into)).mean(0))


@pytest.mark.parametrize(("experts", "expected"), [(2, [("into", 4, 3)]), (4, [("into", 4, 1)]), (1, [])])
def test_equal_experts_of_one_tensor_are_found(experts: int, expected: list[tuple[str, int, int]]) -> None:
    torch.manual_seed(0)
    model = Experts()
    with torch.no_grad():
        model.into[:experts] = model.into[0].clone()

    assert [(each.layer, each.num_units, each.num_distinct) for each in twins_of(model, torch.randn(32, 6))] == expected


def test_a_recurrent_layer_has_its_units_in_every_gate() -> None:
    torch.manual_seed(0)
    model = nn.ModuleDict({"lstm": nn.LSTM(3, 4, batch_first=True), "head": nn.Linear(4, 2)})
    with torch.no_grad():
        for name, parameter in model["lstm"].named_parameters():
            gates = parameter.view(4, 4, -1)
            gates[:, 1] = gates[:, 0]
            if name.startswith("weight_hh"):
                gates[:, :, 1] = gates[:, :, 0]
                gates[:, 1] = gates[:, 0]
        model["head"].weight[:, 1] = model["head"].weight[:, 0]
    task = make_task(model, torch.randn(16, 5, 3), torch.randn(16, 2), loss=lambda out, y: (out - y).square().mean())
    task = Task(
        model=model,
        batch=task.batch,
        step=lambda m, b: (m["head"](m["lstm"](b.inputs)[0][:, -1]) - b.targets).square().mean(),
    )

    assert {
        (each.num_units, each.num_distinct, each.fate) for each in measure(gather(task, [TwinTable]), TwinTable).layers
    } == {(16, 12, "stay")}
