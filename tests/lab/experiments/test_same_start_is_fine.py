import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from isometry.lab.experiments.same_start_is_fine import SameStartSettings
from isometry.lab.runner import find_experiment
from tests.lab.experiments.seeds import claims_of, measured, not_held, require_drawable, require_held

EXPERIMENT = find_experiment("same-start-is-fine")
TINY = SameStartSettings(num_examples=60, num_features=4, num_classes=3, num_units=4, num_steps=400)


def outcome(
    *, linear: float = 0.5, softmax: float = 0.4, ones: float = 1.38, random: float = 0.1, apart: float = 0.0
) -> list[dict[str, Any]]:
    """Return what a run measures, with the last losses of the starts that matter."""
    loss = {
        "linear": {"zeros": [5.0, 0.5], "ones": [6.0, linear], "random": [7.0, 0.5], "far": [99.0, 0.5]},
        "softmax": {"zeros": [1.4, 0.4], "ones": [1.4, 0.4], "random": [3.0, softmax], "far": [9.0, 0.4]},
        "hidden layer": {"zeros": [1.4, 1.386], "ones": [1.4, ones], "random": [3.0, random]},
    }
    return [{"loss": loss, "least": {"linear": 0.5, "softmax": 0.4}, "apart": apart}]


def test_a_small_run_reaches_the_least_and_is_drawn() -> None:
    found = measured(EXPERIMENT, TINY, 0)
    *sound, _ = EXPERIMENT.judge(TINY, found)

    assert not_held(tuple(sound)) == []
    require_drawable(EXPERIMENT, TINY, found)


def test_a_hidden_layer_of_zeros_does_not_move() -> None:
    (found,) = measured(EXPERIMENT, TINY, 0)

    assert found["loss"]["hidden layer"]["zeros"] == pytest.approx([math.log(4)] * len(TINY.recorded))


def test_copies_among_many_units_have_no_distance() -> None:
    (found,) = measured(EXPERIMENT, replace(TINY, num_units=32, num_steps=20), 0)

    assert found["apart"] < 1e-12


def test_softmax_from_ones_that_goes_another_way_is_told() -> None:
    found = outcome()
    found[0]["loss"]["softmax"]["ones"] = [1.5, 0.4]
    (refuted,) = not_held(claims_of("same-start-is-fine", found))

    assert "any one value is as zero" in refuted


def test_softmax_regression_descends_as_a_plain_loop() -> None:
    (found,) = measured(EXPERIMENT, TINY, 2)
    generator = torch.Generator().manual_seed(2)

    def normal(*sizes: int) -> np.ndarray:
        return torch.randn(sizes, generator=generator, dtype=torch.float64).numpy()

    features, rule, noise = normal(60, 4), normal(4, 3), normal(60, 3)
    labels = (features @ rule + 2 * noise).argmax(1)
    inputs = np.hstack([features, np.ones((60, 1))])
    rate = 2 / np.linalg.eigvalsh(inputs.T @ inputs / 60).max()
    weights, losses = np.zeros((5, 3)), []
    for _ in range(20):
        scores = np.exp(inputs @ weights)
        shares = scores / scores.sum(1, keepdims=True)
        losses.append(-np.log(shares[range(60), labels]).mean())
        weights -= rate * inputs.T @ (shares - np.eye(3)[labels]) / 60
    expected = [losses[step] for step in TINY.recorded if step < 20]
    assert found["loss"]["softmax"]["zeros"][: len(expected)] == pytest.approx(expected, rel=1e-10)


def test_a_hidden_layer_from_ones_is_one_unit_taken_many_times() -> None:
    (found,) = measured(EXPERIMENT, TINY, 2)

    assert found["apart"] < 1e-12
    assert found["loss"]["hidden layer"]["ones"][-1] < found["loss"]["hidden layer"]["ones"][0]


def test_the_first_and_the_last_loss_are_noted() -> None:
    assert TINY.recorded[:3] == [0, 1, 2]
    assert TINY.recorded[-1] == 400
    assert len(SameStartSettings().recorded) <= 200


def test_sound_numbers_hold_every_claim() -> None:
    assert not_held(claims_of("same-start-is-fine", outcome())) == []


@pytest.mark.parametrize(
    ("found", "word"),
    [
        pytest.param(outcome(linear=0.501), "linear regression", id="linear stays above"),
        pytest.param(outcome(linear=0.4), "linear regression", id="below the least there is"),
        pytest.param(outcome(softmax=0.41), "softmax regression", id="softmax stays above"),
        pytest.param(outcome(ones=0.12), "hidden layer", id="constant as good as random"),
        pytest.param(outcome(apart=1e-3), "stay one", id="units part"),
    ],
)
def test_a_claim_that_the_numbers_refute_is_not_held(found: list[dict[str, Any]], word: str) -> None:
    (refuted,) = not_held(claims_of("same-start-is-fine", found))

    assert word in refuted


@pytest.mark.slow
def test_the_quick_preset_holds() -> None:
    require_held("same-start-is-fine", 0)
