from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from isometry.anatomy.axes import Layout
from isometry.anatomy.reading import Layer
from isometry.checking.check import check
from isometry.findings import RULES
from isometry.probes.reach import GradientReach, ParameterReach
from isometry.probes.strays import Stray, Strays
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


NO_STRAYS = Strays(())
LEARNS = ParameterReach(name="b", reach="reached", is_weight=True)
UNUSED = ParameterReach(name="a", reach="unused")


def zero(name: str, **settings: Any) -> ParameterReach:
    return ParameterReach(name=name, reach="zero", **{"is_weight": True} | settings)


def cut(name: str, **settings: Any) -> ParameterReach:
    return ParameterReach(name=name, reach="cut", **settings)


def reach(*parameters: ParameterReach, is_fresh: bool = True) -> GradientReach:
    return GradientReach(parameters, is_fresh=is_fresh)


@pytest.mark.parametrize(
    ("measured", "severities"),
    [
        pytest.param(reach(ParameterReach(name="a", reach="reached")), [], id="reached"),
        pytest.param(reach(cut("a", is_meant=True, is_on_trunk=True)), [None], id="a detach on the trunk"),
        pytest.param(
            reach(cut("a", is_meant=True, is_on_trunk=True), is_fresh=False), ["note"], id="behind pretrained weights"
        ),
        pytest.param(reach(cut("a", is_on_trunk=True), is_fresh=False), [None], id="an argmax behind pretrained ones"),
        pytest.param(reach(cut("a", is_meant=True)), ["note"], id="a target network"),
        pytest.param(reach(cut("a")), ["warning"], id="a router whose choice alone is used"),
        pytest.param(
            reach(cut("a", is_meant=True), cut("b", is_on_trunk=True)), [None, "note"], id="each cut by itself"
        ),
        pytest.param(reach(LEARNS, UNUSED), ["note"], id="not used by this batch"),
        pytest.param(
            reach(LEARNS, UNUSED, replace(UNUSED, name="c", is_discarded=True)), ["note", "note"], id="one thrown away"
        ),
        pytest.param(reach(LEARNS, replace(UNUSED, is_discarded=True)), ["warning"], id="half of it thrown away"),
        pytest.param(reach(UNUSED), [None], id="a loss that reads no parameter"),
        pytest.param(reach(zero("a", opens_later=True)), [], id="behind a zero end"),
        pytest.param(reach(zero("a", is_on_trunk=True)), [None], id="something flat on the trunk"),
        pytest.param(reach(zero("a", blocked_by="round")), [None], id="a rounding beside the trunk"),
        pytest.param(reach(zero("a")), ["note"], id="an expert without examples"),
        pytest.param(reach(zero("b", is_zero=True)), [None], id="two factors of zeros beside the trunk"),
        pytest.param(reach(zero("bias", is_weight=False)), [], id="a bias alone"),
    ],
)
def test_no_gradient_tells_what_is_meant_from_what_is_not(
    measured: GradientReach, severities: list[str | None]
) -> None:
    drafts = list(RULES["PAR101"](measured, NO_STRAYS))

    assert [draft.severity for draft in drafts] == severities


def test_a_zero_gradient_without_zero_weights_is_not_blamed_on_the_initialisation() -> None:
    (draft,) = RULES["PAR101"](reach(zero("a", is_on_trunk=True)), NO_STRAYS)

    assert draft.remedy.kind == "model"


def test_two_factors_of_zeros_are_blamed_on_the_initialisation() -> None:
    (draft,) = RULES["PAR101"](reach(zero("b", is_zero=True)), NO_STRAYS)

    assert draft.remedy.kind == "init"
    assert draft.where == ("b",)


@pytest.mark.parametrize(
    ("strays", "severities"),
    [
        pytest.param((), [], id="none"),
        pytest.param((Stray("layers[0].weight", is_held=True),), [None], id="layers in a list"),
        pytest.param((Stray("vgg[0].0.weight", is_held=True, is_asleep=True),), ["note"], id="a fixed network, hidden"),
        pytest.param((Stray("a parameter", is_held=False),), [None], id="made anew"),
        pytest.param((Stray("a", is_held=True), Stray("b", is_held=False)), [None, None], id="both"),
    ],
)
def test_weights_that_are_no_parameters_are_told_by_where_they_are_held(
    strays: tuple[Stray, ...], severities: list[str | None]
) -> None:
    assert [draft.severity for draft in RULES["PAR101"](reach(), Strays(strays))] == severities


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
