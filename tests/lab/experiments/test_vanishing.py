import math
import statistics
from dataclasses import replace

import pytest

from isometry.lab.apparatus.plain_stacks import Shape, follow, predicted
from isometry.lab.experiments.vanishing import VanishingSettings
from isometry.lab.runner import find_experiment
from tests.lab.experiments.seeds import claims_of, measured, not_held, require_drawable, require_held

EXPERIMENT = find_experiment("vanishing")
TINY = VanishingSettings(width=48, depth=6, num_examples=8, num_draws=1, num_narrow=2)
QUICK: VanishingSettings = EXPERIMENT.quick
EXACT = [[value / 2 for value in predicted(*kind, QUICK.shape).gradient] for kind in QUICK.kinds]
SPREAD = math.sqrt(5 * 29 / 64) / math.log(10)  # 5/n a layer in nats squared


def altered(activation: str, start: str, *, first: float) -> list[dict[str, object]]:
    """Return theory's own courses, with the gradient at the first layer of one kind set otherwise."""
    place = QUICK.kinds.index((activation, start))
    rows = [list(row) for row in EXACT]
    rows[place][0] = first
    return [{"gradient": rows, "spread": SPREAD}]


def test_a_small_run_has_a_course_a_kind_and_is_drawn() -> None:
    found = measured(EXPERIMENT, TINY, 0)

    assert [len(row) for row in found[0]["gradient"]] == [6] * 15
    assert {row[-1] for row in found[0]["gradient"]} == {0.0}
    require_drawable(EXPERIMENT, TINY, found)


def test_the_spread_is_that_of_single_networks_over_all_layers() -> None:
    (found,) = measured(EXPERIMENT, replace(TINY, narrow_width=8, num_narrow=3), 1)
    shape = Shape(width=8, depth=6)
    sizes = [follow("relu", "he", shape, num_examples=1, seed=seed).gradient[0] for seed in (3, 4, 5)]

    assert found["spread"] == pytest.approx(statistics.stdev(sizes))


def test_seeds_draw_networks_of_their_own_and_one_seed_always_the_same() -> None:
    settings = VanishingSettings(activations=("tanh",), starts=("he",), width=16, depth=3, num_draws=1, num_narrow=2)
    one, again, other = measured(EXPERIMENT, settings, 0, 0, 1)

    assert one == again
    assert one != other


def test_what_theory_says_holds_every_claim() -> None:
    claims = claims_of("vanishing", [{"gradient": EXACT, "spread": SPREAD}])

    assert len(claims) == 6
    assert not_held(claims) == []


@pytest.mark.parametrize(
    ("activation", "start", "first", "word"),
    [
        pytest.param("tanh", "he", -5.0, "as theory says", id="another rate"),
        pytest.param("sigmoid", "xavier", -10.0, "powers of a quarter", id="less than a quarter"),
        pytest.param("sigmoid", "he", -6.0, "no usual start", id="he saves sigmoids"),
        pytest.param("relu", "xavier", -12.0, "half of its square", id="relu loses more"),
        pytest.param("sigmoid", "critical", -3.0, "critical point", id="the critical start loses"),
    ],
)
def test_a_claim_that_the_numbers_refute_is_not_held(activation: str, start: str, first: float, word: str) -> None:
    refuted = not_held(claims_of("vanishing", altered(activation, start, first=first)))

    assert any(word in text for text in refuted)


def test_networks_that_differ_too_much_or_too_little_are_told() -> None:
    for variance in (3, 8):  # over n a layer, in place of 5
        spread = math.sqrt(variance / 5) * SPREAD
        (refuted,) = not_held(claims_of("vanishing", [{"gradient": EXACT, "spread": spread}]))

        assert "finite width" in refuted


def test_kinds_that_are_left_out_make_no_claim() -> None:
    claims = claims_of(
        "vanishing", [{"gradient": EXACT[5:6], "spread": SPREAD}], activations=("tanh",), starts=("normal 0.01",)
    )

    assert len(claims) == 2


@pytest.mark.slow
def test_the_quick_preset_holds() -> None:
    require_held("vanishing", 0)
