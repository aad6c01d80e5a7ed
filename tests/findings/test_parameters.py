from dataclasses import replace

import pytest
import torch
from torch import nn

from isometry.anatomy.axes import Layout
from isometry.anatomy.reading import Layer
from isometry.checking.check import check
from isometry.findings import RULES
from isometry.probes.reach import GradientReach, ParameterReach
from isometry.probes.weights import WeightNumbers, WeightTable
from isometry.theory.fans import Fans

LAYER = Layer(
    operation=0,
    name="layer",
    weight=("layer.weight",),
    biases=(),
    kind="linear",
    layout=Layout(Fans(8, 8), out_axis=0, in_axis=1),
    activation_after=None,
    activation_before=None,
    is_normalised=False,
    reads_norm=False,
    ends_branch=False,
    is_head=False,
    depth=1,
)


def zero(name: str, *, is_weight: bool = True, is_zero: bool = False) -> ParameterReach:
    return ParameterReach(name, "zero", is_weight=is_weight, is_zero=is_zero)


def reach(*parameters: ParameterReach, is_trunk_cut: bool = False, on_trunk: tuple[str, ...] = ()) -> GradientReach:
    return GradientReach(parameters, is_trunk_cut, frozenset(on_trunk))


@pytest.mark.parametrize(
    ("measured", "severities"),
    [
        pytest.param(reach(ParameterReach("a", "reached")), [], id="reached"),
        pytest.param(reach(ParameterReach("a", "cut", "detach"), is_trunk_cut=True), [None], id="cut on the trunk"),
        pytest.param(reach(ParameterReach("a", "cut", "detach")), ["note"], id="cut beside the trunk"),
        pytest.param(reach(ParameterReach("a", "unused")), ["note"], id="not used by this batch"),
        pytest.param(reach(ParameterReach("a", "zero", opens_later=True, is_weight=True)), [], id="behind a zero end"),
        pytest.param(reach(zero("a"), on_trunk=("a",)), [None], id="a step function on the trunk"),
        pytest.param(reach(zero("a")), ["note"], id="an expert without examples"),
        pytest.param(reach(zero("b", is_zero=True)), [None], id="two factors of zeros beside the trunk"),
        pytest.param(reach(zero("bias", is_weight=False)), [], id="a bias alone"),
    ],
)
def test_no_gradient_tells_what_is_meant_from_what_is_not(
    measured: GradientReach, severities: list[str | None]
) -> None:
    drafts = list(RULES["PAR101"](measured))

    assert [draft.severity for draft in drafts] == severities


def test_a_zero_gradient_without_zero_weights_is_not_blamed_on_the_initialisation() -> None:
    (draft,) = RULES["PAR101"](reach(zero("a"), on_trunk=("a",)))

    assert draft.remedy.kind == "model"


def test_two_factors_of_zeros_are_blamed_on_the_initialisation() -> None:
    (draft,) = RULES["PAR101"](reach(zero("b", is_zero=True)))

    assert draft.remedy.kind == "init"
    assert draft.where == ("b",)


def test_a_bias_of_zeros_does_not_open_the_way_to_two_zero_weights() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 1))
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    findings = check(model, torch.randn(32, 4), torch.ones(32, 1), loss=nn.functional.mse_loss).findings
    stuck = [finding for finding in findings if finding.name == "no-gradient"]

    assert [set(finding.where) for finding in stuck] == [{"0.weight", "1.weight"}]


def test_frozen_parameters_need_no_gradient() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    model[0].requires_grad_(requires_grad=False)

    assert check(model, torch.randn(32, 4)).verdict == "healthy"


CONSTANT = WeightNumbers("layer.weight", LAYER, 0.05, 1.0, 0.05, keeps_units_equal=True)


@pytest.mark.parametrize(
    ("weight", "severities"),
    [
        pytest.param(CONSTANT, [None], id="constant, and its units get one gradient"),
        pytest.param(replace(CONSTANT, keeps_units_equal=False), ["note"], id="constant, but the gradients differ"),
        pytest.param(replace(CONSTANT, constant=None), [], id="random"),
        pytest.param(replace(CONSTANT, layer=replace(LAYER, is_head=True)), [], id="a head"),
        pytest.param(replace(CONSTANT, constant=0.0, layer=replace(LAYER, ends_branch=True)), [], id="zero branch end"),
        pytest.param(replace(CONSTANT, layer=replace(LAYER, ends_branch=True)), [None], id="a branch end not of zeros"),
        pytest.param(replace(CONSTANT, constant=0.0, keeps_units_equal=False), [], id="zeros that part at once"),
        pytest.param(
            replace(CONSTANT, layer=replace(LAYER, layout=Layout(Fans(9, 9), 0, 1, groups=8))), [], id="depthwise"
        ),
        pytest.param(replace(CONSTANT, layer=replace(LAYER, layout=Layout(Fans(8, 1), 0, 1))), [], id="a single unit"),
        pytest.param(replace(CONSTANT, layer=replace(LAYER, kind="embedding")), [], id="an embedding"),
    ],
)
def test_constant_weights_matter_only_where_units_stay_equal(
    weight: WeightNumbers, severities: list[str | None]
) -> None:
    assert [draft.severity for draft in RULES["INI101"](WeightTable((weight,)))] == severities
