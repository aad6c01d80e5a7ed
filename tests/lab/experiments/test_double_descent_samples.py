"""The experiment on descents over examples, against theory's exact means."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from isometry.lab.apparatus.digits import mnist_5k, split, with_wrong_labels
from isometry.lab.apparatus.ridge import ridge_outputs
from isometry.lab.experiments.double_descent_samples import SamplesSettings
from isometry.lab.runner import find_experiment
from isometry.theory.least_squares import least_norm_risk, tuned_ridge_risk
from tests.lab.experiments.seeds import claims_of, measured, not_held, require_drawable, require_held

EXPERIMENT = find_experiment("double-descent-samples")
QUICK: SamplesSettings = EXPERIMENT.quick
TINY = SamplesSettings(
    num_features=8, num_examples=(4, 8, 16, 40), num_draws=300, num_random=20, num_images=(10, 20, 80)
)
RISKS = [min(least_norm_risk(count, 100, QUICK.problem), 80.0) for count in QUICK.num_examples]
EXACT: dict[str, Any] = {
    "risk": [[value] for value in RISKS],
    "tuned": [[tuned_ridge_risk(100 / count, QUICK.problem)] for count in QUICK.num_examples],
    "error": [0.9 if count == 500 else 0.5 for count in QUICK.num_images],
    "ridge": [0.5 - 0.0001 * count for count in QUICK.num_images],
}


def rows(values: list[float]) -> list[list[float]]:
    return [[value] for value in values]


def test_a_small_run_peaks_where_examples_are_features_and_is_drawn() -> None:
    (found,) = measured(EXPERIMENT, TINY, 0)
    middle = [sorted(row)[150] for row in found["risk"]]

    assert max(middle) == middle[1]
    assert max(found["error"]) == found["error"][1]
    require_drawable(EXPERIMENT, TINY, [found])


@pytest.mark.parametrize("place", [0, 2, 3])
def test_the_risks_of_a_small_run_have_theorys_mean(place: int) -> None:
    (found,) = measured(EXPERIMENT, TINY, 1)
    told = least_norm_risk(TINY.num_examples[place], 8, TINY.problem)

    assert sum(found["risk"][place]) / 300 == pytest.approx(told, rel=0.15)


def test_the_tuned_penalty_is_the_best() -> None:
    settings = replace(TINY, num_features=60, num_examples=(20, 60), num_draws=200)
    (found,) = measured(EXPERIMENT, settings, 1)

    for count, risks in zip(settings.num_examples, found["tuned"], strict=True):
        assert sum(risks) / 200 == pytest.approx(tuned_ridge_risk(60 / count, settings.problem), rel=0.03)


def test_the_penalty_on_digits_is_the_one_that_is_set() -> None:
    settings = replace(TINY, num_draws=1)
    none, some, more = (
        measured(EXPERIMENT, replace(settings, penalty=penalty), 0)[0] for penalty in (1e-9, 30.0, 3000.0)
    )
    parts, generator = split(mnist_5k(), 80), torch.Generator().manual_seed(0)
    directions = torch.randn(196, 20, generator=generator, dtype=torch.float64) / 14
    inside, outside = ((each.images.double() @ directions).relu() for each in (parts.train, parts.test))
    labels = with_wrong_labels(parts.train.labels, 0.2, seed=0).labels
    [answers] = ridge_outputs(
        inside, torch.nn.functional.one_hot(labels, 10).double(), others=outside, strengths=[30.0]
    )

    assert none["ridge"][-1] == none["error"][-1]
    assert some["ridge"][-1] == pytest.approx(float((answers.argmax(1) != parts.test.labels).double().mean()))
    assert more["ridge"] != some["ridge"]


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"noise": 0.0}, id="no noise"),
        pytest.param({"num_examples": (8,)}, id="one count"),
        pytest.param({"num_examples": (16,)}, id="one count far from the peak"),
        pytest.param({"num_images": (20,)}, id="one count of images"),
    ],
)
def test_settings_that_show_little_are_judged_and_drawn(changes: dict[str, Any]) -> None:
    settings = replace(TINY, num_draws=20, **changes)
    found = measured(EXPERIMENT, settings, 0)

    assert len(EXPERIMENT.judge(settings, found)) == 9
    require_drawable(EXPERIMENT, settings, found)


def test_seeds_draw_data_of_their_own() -> None:
    one, other = measured(EXPERIMENT, TINY, 0, 1)

    assert one != other


def test_theorys_own_risks_hold_every_claim() -> None:
    claims = claims_of("double-descent-samples", [EXACT])

    assert len(claims) == 9
    assert not_held(claims) == []


@pytest.mark.parametrize(
    ("key", "values", "word"),
    [
        pytest.param("risk", rows([*RISKS[:13], 90.0, *RISKS[14:]]), "the risk peaks", id="another peak"),
        pytest.param("risk", rows([min(value, 1.1) for value in RISKS]), "worse than none", id="no peak"),
        pytest.param("risk", rows([*RISKS[:12], 0.6, *RISKS[13:]]), "four thirds", id="more data help soon"),
        pytest.param("risk", rows([*RISKS[:-1], 0.5]), "away from the peak", id="another risk"),
        pytest.param(
            "tuned", rows([1.2 * value for [value] in EXACT["tuned"]]), "tuned everywhere", id="another ridge"
        ),
        pytest.param("tuned", rows([0.5] * 16 + [0.6]), "penalty tuned", id="ridge rises"),
        pytest.param("error", [0.9] * 3 + [0.5] * 12, "images are as many", id="another peak of digits"),
        pytest.param("error", [0.5] * 7 + [0.6] + [0.5] * 7, "a quarter", id="a low peak of digits"),
        pytest.param("ridge", [0.4, 0.5] + [0.3] * 13, "has no peak", id="ridge on digits rises"),
    ],
)
def test_a_claim_that_the_numbers_refute_is_not_held(key: str, values: list[Any], word: str) -> None:
    refuted = not_held(claims_of("double-descent-samples", [{**EXACT, key: values}]))

    assert any(word in text for text in refuted)


@pytest.mark.slow
def test_the_quick_preset_holds() -> None:
    require_held("double-descent-samples", 0)
