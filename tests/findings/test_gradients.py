from dataclasses import replace

import pytest

from isometry.findings import RULES
from isometry.probes.courses import GradientCourse
from isometry.probes.recurrence import TimeTrace
from isometry.probes.traces import GradientTrace


def trace(*rms: float) -> GradientCourse:
    return GradientCourse(GradientTrace(tuple(f"layer{index}" for index in range(len(rms))), rms))


def in_time(decades: float, *, steps: int = 50, is_gated: bool = False) -> GradientCourse:
    """A recurrence whose gradient falls evenly, so many decades in all."""
    gradient = tuple(10 ** (-decades * step / steps) for step in range(steps + 1))
    return GradientCourse(None, (TimeTrace("cell", gradient, (1.0,) * (steps + 1), is_gated),))


@pytest.mark.parametrize(
    ("rms", "found"),
    [
        pytest.param((1.0, 0.9, 1.1), 0, id="flat"),
        pytest.param((1e-6, 1e-3, 1.0), 1, id="six decades in three layers"),
        pytest.param((1e-2, 1e-1, 1.0), 0, id="two decades still train"),
        pytest.param((1e-3, 1e-2, 1.0), 0, id="three decades still train"),
        pytest.param((1e-9, 1e-8, 1e-7), 0, id="small from the loss on"),
        pytest.param((0.0, 1e-20, 1.0), 1, id="nothing arrives"),
        pytest.param((0.0, 0.0, 1e-3, 1.0), 0, id="gone at once belongs to PAR101"),
        pytest.param((1.0, 1e-3, 1e-6), 0, id="exploding belongs to BWD102"),
    ],
)
def test_vanishing_gradient_fires_only_on_a_fall_of_several_decades(rms: tuple[float, ...], found: int) -> None:
    assert len(list(RULES["BWD101"](trace(*rms)))) == found


@pytest.mark.parametrize(
    ("rms", "found"),
    [
        pytest.param((1.0, 1e-3, 1e-6), 1, id="six decades in three layers"),
        pytest.param((1.0, 1e-1, 1e-2), 0, id="two decades still train"),
        pytest.param((1.0, 1e-2, 0.9e-4), 1, id="just over four decades"),
        pytest.param((1e-6, 1e-3, 1.0), 0, id="vanishing belongs to BWD101"),
    ],
)
def test_exploding_gradient_fires_only_on_a_growth_of_four_decades(rms: tuple[float, ...], found: int) -> None:
    assert len(list(RULES["BWD102"](trace(*rms)))) == found


@pytest.mark.parametrize(
    ("first", "severity"),
    [
        pytest.param(1.1e-4, "warning", id="just under four decades"),
        pytest.param(0.9e-4, None, id="just over four decades: the rule's own severity, error"),
    ],
)
def test_a_fall_under_four_decades_is_a_warning(first: float, severity: str | None) -> None:
    (draft,) = RULES["BWD101"](trace(first, 1e-2, 1.0))

    assert draft.severity == severity


def test_vanishing_gradient_names_the_weakest_layer_the_rate_and_where_the_gradient_is_lost() -> None:
    (draft,) = RULES["BWD101"](trace(1e-6, 1e-5, 1e-2, 1.0))

    assert draft.where == ("layer0", "layer1", "layer2", "layer3")
    assert draft.measured == pytest.approx(6.0)
    assert "by 0.01 " in draft.cause
    assert "from 'layer1' down" in draft.cause


def test_the_rate_counts_only_layers_that_get_any_gradient() -> None:
    depth = trace(0.0, 0.0, 1e-4, 1e-2, 1.0).depth

    assert depth is not None
    assert depth.factor_per_layer == pytest.approx(1e-2)


def test_exploding_gradient_names_the_strongest_layer_first() -> None:
    (draft,) = RULES["BWD102"](trace(1e6, 1e3, 1.0))

    assert draft.where[0] == "layer0"
    assert draft.remedy.kind == "init"


@pytest.mark.parametrize(
    ("course", "severities"),
    [
        pytest.param(in_time(3.0), [], id="a short memory of three decades"),
        pytest.param(in_time(8.0), ["note"], id="eight decades, as 30 steps at the default"),
        pytest.param(in_time(12.0), ["warning"], id="twelve decades"),
        pytest.param(in_time(30.0), ["error"], id="thirty decades"),
        pytest.param(in_time(30.0, steps=150, is_gated=True), ["note"], id="gates half open over 150 steps"),
        pytest.param(in_time(30.0, steps=50, is_gated=True), ["warning"], id="gates that are hardly open"),
        pytest.param(in_time(45.0, steps=50, is_gated=True), ["error"], id="gates that are shut"),
        pytest.param(in_time(-30.0), [], id="exploding belongs to BWD102"),
    ],
)
def test_a_fall_through_time_is_judged_by_total_and_gates_by_rate(
    course: GradientCourse, severities: list[str]
) -> None:
    assert [draft.severity for draft in RULES["BWD101"](course)] == severities


@pytest.mark.parametrize(
    ("decades", "found"), [pytest.param(-3.0, 0, id="three decades"), pytest.param(-5.0, 1, id="five decades")]
)
def test_a_growth_through_time_is_an_explosion(decades: float, found: int) -> None:
    drafts = list(RULES["BWD102"](in_time(decades)))

    assert [draft.where for draft in drafts] == [("cell",)] * found
    assert all("through time" in draft.cause for draft in drafts)


def test_a_fall_through_time_says_how_many_steps_are_heard() -> None:
    (draft,) = RULES["BWD101"](in_time(20.0, steps=40))

    assert "of 41 steps the loss hears the nearest 9" in draft.cause
    assert "20 decades through 41 steps of 'cell'" in (draft.message or "")


def test_the_float_type_that_loses_the_gradient_is_named_with_its_layer() -> None:
    (draft,) = RULES["BWD101"](trace(1e-12, 1e-9, 1e-6, 1e-3))

    assert "float16 holds nothing of it from 'layer1' on" in draft.cause
    assert "by 1/e every 0.14 layers" in draft.cause


def test_thresholds_can_be_set() -> None:
    rule = RULES["BWD101"].with_thresholds({"max-decay": 8.0, "safe-decay": 7.0})

    assert not list(rule(trace(1e-6, 1e-3, 1.0)))


@pytest.mark.parametrize(
    ("names", "is_gated", "code"),
    [
        pytest.param(
            ("cell.bias_hh_l0",),
            True,
            "model.get_parameter('cell.bias_hh_l0').data[8:16].fill_(4.0)",
            id="the gate that keeps the state",
        ),
        pytest.param(
            ("a", "b"),
            True,
            "for name in ['a', 'b']: model.get_parameter(name).data[8:16].fill_(4.0)",
            id="of two layers",
        ),
        pytest.param((), True, "", id="gates that are made by hand"),
        pytest.param(("w",), False, "nn.init.orthogonal_(model.get_parameter('w'))", id="no gates"),
    ],
)
def test_a_recurrence_that_forgets_is_helped_by_a_line_with_its_true_names(
    names: tuple[str, ...], is_gated: bool, code: str
) -> None:
    (given,) = in_time(40.0, steps=54, is_gated=is_gated).time
    held = {"biases": names, "gate": (8, 16) if names else (0, 0)} if is_gated else {"weights": names}
    (draft,) = RULES["BWD101"](GradientCourse(None, (replace(given, **held),)))

    assert draft.remedy.suggestion == code


@pytest.mark.parametrize(
    ("decades", "unit"), [pytest.param(30.0, "decades", id="a note"), pytest.param(150.0, "decades a step", id="error")]
)
def test_what_gates_lose_is_told_in_one_unit(decades: float, unit: str) -> None:
    (draft,) = RULES["BWD101"](in_time(decades, steps=150, is_gated=True))

    assert draft.unit == unit
    assert f"by {draft.measured:.3g} {unit} " in (draft.message or "")
    assert (draft.measured or 0) > (draft.allowed or 0)
