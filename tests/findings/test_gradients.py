import pytest

from isometry.findings import RULES
from isometry.probes.traces import GradientTrace


def trace(*rms: float) -> GradientTrace:
    return GradientTrace(tuple(f"layer{index}" for index in range(len(rms))), rms)


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
    assert trace(0.0, 0.0, 1e-4, 1e-2, 1.0).factor_per_layer == pytest.approx(1e-2)


def test_exploding_gradient_names_the_strongest_layer_first() -> None:
    (draft,) = RULES["BWD102"](trace(1e6, 1e3, 1.0))

    assert draft.where[0] == "layer0"
    assert draft.remedy.kind == "init"
