import math
from typing import Any

import numpy as np
import pytest

from isometry._errors import DomainError
from isometry.lab.experiments.sigmoid_slope import SigmoidSlopeSettings, expected_loss
from isometry.lab.runner import find_experiment
from tests.lab.experiments.seeds import claims_of, measured, not_held, require_drawable, require_held

EXPERIMENT = find_experiment("sigmoid-slope")
TINY = SigmoidSlopeSettings(num_points=1601, num_layers=3, num_chains=50)
SOUND = {
    "x": [-8.0, -1.76, 0.0, 1.76, 8.0],
    "slope": [3e-4, 0.1252, 0.25, 0.1252, 3e-4],
    "largest": [[0.2, 0.25**15]] * 3,
    "median": [[0.2, 0.24**15], [0.1, 0.1**15], [0.01, (0.25 * 10**-2.2) ** 15]],
}


def test_the_slope_is_the_closed_form() -> None:
    (found,) = measured(EXPERIMENT, TINY, 0)

    exact = [math.exp(-x) / (1 + math.exp(-x)) ** 2 for x in found["x"]]
    assert found["slope"] == pytest.approx(exact, rel=1e-12)
    assert (found["x"][0], found["x"][-1]) == (-8.0, 8.0)


def test_a_chain_passes_what_the_slopes_multiply_to() -> None:
    (found,) = measured(EXPERIMENT, SigmoidSlopeSettings(num_layers=2, num_chains=1, spreads=(0.0,)), 0)

    middle = 1 / (1 + math.exp(-0.5))
    assert found["largest"][0] == pytest.approx([0.25, 0.25 * middle * (1 - middle)])


def test_a_small_run_holds_and_is_drawn() -> None:
    found = measured(EXPERIMENT, TINY, 0, 1)

    assert not_held(EXPERIMENT.judge(TINY, found)) == []
    require_drawable(EXPERIMENT, TINY, found)


@pytest.mark.parametrize("spreads", [(0.1, 1.0, 4.0), (1.0,), (0.0, 20.0)])
def test_chains_of_any_spread_hold(spreads: tuple[float, ...]) -> None:
    settings = SigmoidSlopeSettings(spreads=spreads, num_chains=200)

    assert not_held(EXPERIMENT.judge(settings, measured(EXPERIMENT, settings, 0, 1))) == []


def test_what_is_expected_of_slopes_is_their_mean_logarithm() -> None:
    places = np.abs(8 * np.random.default_rng(0).standard_normal(10**6))
    exact = np.log10(0.25) + places * np.log10(math.e) + 2 * np.log10(1 + np.exp(-places))

    least, _ = expected_loss(8.0, 16)
    assert least == pytest.approx(exact.mean() - exact.std() / 4, rel=0.02)
    assert expected_loss(0.0, 1) == pytest.approx((0.0, 2 * math.log10(math.cosh(0.5))))


@pytest.mark.parametrize(
    "change", [{"reach": 2.0}, {"num_points": 1}, {"num_points": 100}, {"spreads": ()}, {"spreads": (2.0, 1.0)}]
)
def test_settings_of_which_the_claims_cannot_be_asked_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(DomainError, match=r"odd count|from the least on"):
        SigmoidSlopeSettings(**change)


def test_sound_numbers_hold_and_others_do_not() -> None:
    assert not_held(claims_of("sigmoid-slope", [SOUND])) == []


@pytest.mark.parametrize(
    ("change", "word"),
    [
        pytest.param({"slope": [3e-4, 0.1252, 0.26, 0.1252, 3e-4]}, "above a quarter", id="steeper"),
        pytest.param({"slope": [3e-4, 0.1252, 0.2, 0.25, 3e-4]}, "largest at 0", id="elsewhere"),
        pytest.param({"slope": [0.1, 0.1252, 0.25, 0.1252, 3e-4]}, "goes to 0", id="no end"),
        pytest.param({"x": [-8.0, -1.5, 0.0, 1.5, 8.0]}, "zone", id="narrower"),
        pytest.param({"largest": [[0.2, 0.26**15]] * 3}, "no gradient is above", id="more comes through"),
        pytest.param({"median": [[0.2, 0.1**15]] * 3}, "loses no more", id="less comes through"),
        pytest.param({"median": [[0.2, 0.24**15]] * 3}, "loses no less", id="as much far away"),
    ],
)
def test_a_claim_that_the_numbers_refute_is_not_held(change: dict[str, object], word: str) -> None:
    refuted = not_held(claims_of("sigmoid-slope", [SOUND | change]))

    assert any(word in text for text in refuted)


def test_the_quick_preset_holds() -> None:
    require_held("sigmoid-slope", 0)
