from dataclasses import replace

import pytest

from isometry.lab.apparatus.plain_stacks import predicted
from isometry.lab.experiments.xavier import KINDS, XavierSettings
from isometry.lab.runner import find_experiment
from tests.lab.experiments.seeds import claims_of, measured, not_held, require_drawable, require_held

EXPERIMENT = find_experiment("xavier")
TINY = XavierSettings(width=32, depth=4, num_examples=16, num_draws=1, fan_in=30, fan_out=10)
QUICK: XavierSettings = EXPERIMENT.quick
EXACT = [predicted(*kind, QUICK.shape) for kind in KINDS]
SOUND = {
    "signal": [course.signal for course in EXACT],
    "gradient": [course.gradient for course in EXACT],
    "forward_factor": 1.6,
    "backward_factor": 0.4,
    "uniform_variance": 1.0,
}
SEEDS = 3


def altered(direction: str, activation: str, start: str, *, tilt: float) -> dict[str, object]:
    """Return a course of theory's with some decades more at each layer towards the input."""
    place = KINDS.index((activation, start))
    courses: list[list[float]] = [list(row) for row in SOUND[direction]]
    courses[place] = [value + tilt * (QUICK.depth - 1 - layer) for layer, value in enumerate(courses[place])]
    return {direction: courses}


def test_a_small_run_follows_both_ways_and_is_drawn() -> None:
    found = measured(EXPERIMENT, TINY, 0)

    assert [len(row) for row in found[0]["signal"]] == [4] * len(KINDS)
    assert {row[-1] for row in found[0]["gradient"]} == {0.0}
    require_drawable(EXPERIMENT, TINY, found)


def test_one_layer_is_measured_against_its_fans() -> None:
    settings = XavierSettings(width=8, depth=2, num_draws=1, num_examples=400, fan_in=300, fan_out=100)
    (found,) = measured(EXPERIMENT, settings, 1)

    assert found["forward_factor"] == pytest.approx(1.5, rel=0.05)
    assert found["backward_factor"] == pytest.approx(0.5, rel=0.05)
    assert found["uniform_variance"] == pytest.approx(1.0, rel=0.02)


def test_what_theory_says_holds_every_claim() -> None:
    assert not_held(claims_of("xavier", [SOUND] * SEEDS)) == []


@pytest.mark.parametrize(
    ("change", "word"),
    [
        pytest.param({"forward_factor": 1.0}, "one linear layer", id="forward"),
        pytest.param({"backward_factor": 1.0}, "on the way back", id="backward"),
        pytest.param({"forward_factor": 4.0, "backward_factor": 1.0}, "nearer to 1", id="one way alone"),
        pytest.param(altered("gradient", "tanh", "he", tilt=-0.05), "square grow", id="tanh under he"),
        pytest.param({"uniform_variance": 1.2}, "uniform draw", id="uniform"),
        pytest.param(altered("signal", "tanh", "he", tilt=0.05), "that of theory", id="another course"),
        pytest.param(altered("signal", "linear", "xavier", tilt=0.05), "linear units", id="linear"),
        pytest.param(altered("gradient", "tanh", "xavier", tilt=-0.05), "more than a hundredth", id="tanh"),
        pytest.param(altered("signal", "relu", "xavier", tilt=-0.301), "halves the signal", id="relu keeps the signal"),
        pytest.param(altered("gradient", "relu", "xavier", tilt=0.301), "likewise", id="relu keeps the gradient"),
        pytest.param(altered("gradient", "relu", "he", tilt=0.05), "He keeps both", id="he"),
    ],
)
def test_a_claim_that_the_numbers_refute_is_not_held(change: dict[str, object], word: str) -> None:
    refuted = not_held(claims_of("xavier", [SOUND | change] * SEEDS))

    assert any(word in text for text in refuted)


@pytest.mark.parametrize("changes", [{"width": 64}, {"width": 96, "num_draws": 1, "depth": 12}, {"num_examples": 8}])
def test_networks_of_other_sizes_hold(changes: dict[str, int]) -> None:
    settings = replace(QUICK, **({"width": 64, "num_examples": 16} | changes))
    found = measured(EXPERIMENT, settings, 0, 1)

    assert not_held(EXPERIMENT.judge(settings, found)) == []


@pytest.mark.slow
def test_the_quick_preset_holds() -> None:
    require_held("xavier", 0)
