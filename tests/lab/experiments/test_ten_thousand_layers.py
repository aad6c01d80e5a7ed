import math

import pytest

from isometry.lab.experiment import Measured
from isometry.lab.experiments.ten_thousand_layers import DeepSettings, gaussian_loss, gradient_fall
from isometry.lab.runner import find_experiment
from tests.lab.experiments.seeds import claims_of, measured, not_held, require_drawable, require_held

pytest.importorskip("sklearn", reason="the digits come with it")

EXPERIMENT = find_experiment("ten-thousand-layers")
QUICK: DeepSettings = EXPERIMENT.quick
TINY = DeepSettings(depth=12, width=16, learning_rate=1e-3, num_steps=4, batch_size=32)


def outcome(*, orthogonal: float = 86.0, plain: float = 10.0, more: float = 0.1, behind: float = 6.0) -> list[Measured]:
    """Return what a run might measure: accuracies, decades of gradient beyond theory, and of signal lost."""
    fall = gradient_fall(QUICK, 0.4) + more
    signal = [[math.sqrt(0.4), 0.02], [math.sqrt(0.4), 0.02 * 10**-behind]]
    return [
        {
            "course": [[0, 10.0, 10.0], [100, orthogonal, plain]],
            "signal": signal,
            "gradient": [[10**-fall, 1.0], [1e-8, 1.0]],
        }
    ]


def test_a_small_run_follows_both_starts_and_is_drawn() -> None:
    (found,) = measured(EXPERIMENT, TINY, 0)

    assert [row[0] for row in found["course"]] == [0, 1, 2, 3, 4]
    assert [len(row) for row in found["signal"]] == [len(TINY.recorded)] * 2
    assert found["signal"][0][0] == found["signal"][1][0]  # the first layers are the same
    assert [row[-1] for row in found["gradient"]] == [1.0, 1.0]
    require_drawable(EXPERIMENT, TINY, [found])


def test_seeds_are_networks_and_images_of_their_own_and_one_seed_always_the_same() -> None:
    one, again, other = measured(EXPERIMENT, TINY, 0, 0, 1)

    assert one == again
    assert one["signal"] != other["signal"]


def test_what_was_seen_before_holds_every_claim() -> None:
    claims = claims_of("ten-thousand-layers", outcome())

    assert len(claims) == 4
    assert not_held(claims) == []


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        pytest.param({"orthogonal": 79.0}, "the network learns", id="it does not learn"),
        pytest.param({"plain": 30.0}, "it does not", id="the other learns too"),
        pytest.param({"more": 0.7}, "slope of tanh", id="the gradient is lost"),
        pytest.param({"more": -0.7}, "slope of tanh", id="the gradient grows"),
        pytest.param({"behind": 1.0}, "lose the signal", id="Gaussian layers lose nothing"),
    ],
)
def test_a_claim_that_the_numbers_refute_is_not_held(changes: dict[str, float], word: str) -> None:
    (refuted,) = not_held(claims_of("ten-thousand-layers", outcome(**changes)))

    assert word in refuted


def test_a_signal_that_is_gone_altogether_is_lost() -> None:
    (found,) = outcome()
    found["signal"][1][-1] = 0.0

    assert not_held(claims_of("ten-thousand-layers", [found])) == []


def test_the_gradient_falls_by_the_product_of_the_slopes() -> None:
    length, product = 0.01, 1.0
    for _ in range(QUICK.depth):
        product *= 1 - 2 * length  # to first order in a small length, as the length map itself
        length -= 2 * length**2

    assert gradient_fall(QUICK, 0.01) == pytest.approx(-math.log10(product) / 2, rel=0.02)


def test_gaussian_layers_lose_half_a_neper_a_width_of_depth() -> None:
    assert gaussian_loss(DeepSettings(depth=320, width=32)) == pytest.approx(5 / math.log(10))


@pytest.mark.slow
def test_the_quick_preset_holds() -> None:
    require_held("ten-thousand-layers", 0)
