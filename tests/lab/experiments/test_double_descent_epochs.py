"""The experiment on descents over steps, against theory's own curves and steps that are run."""

from dataclasses import replace

import pytest
import torch

from isometry._errors import DomainError
from isometry.lab.experiments.double_descent_epochs import (
    EpochsSettings,
    _linear_data,  # pyright: ignore[reportPrivateUsage] - the data of the experiment, for steps that are run
    _risks,  # pyright: ignore[reportPrivateUsage] - what is held against them
)
from isometry.lab.runner import find_experiment
from isometry.theory.least_squares import LinearProblem, descent_risk, two_scale_risk
from tests.lab.experiments.seeds import claims_of, measured, not_held, require_drawable, require_held

EXPERIMENT = find_experiment("double-descent-epochs")
QUICK: EpochsSettings = EXPERIMENT.quick
TINY = EpochsSettings(
    num_examples=40, num_fast=20, num_slow=5, num_steps=100, num_draws=2, width=4, num_images=50, num_epochs=2
)
EXACT = {
    "risk": two_scale_risk(QUICK.groups, QUICK.times).tolist(),
    "scaled": descent_risk(0.75, LinearProblem(signal=1.0, noise=0.25), step=0.1, times=QUICK.times).tolist(),
    "network": [0.14] * 30 + [0.2] * 370,
}


def test_a_small_run_is_drawn_and_seeds_differ() -> None:
    one, other = measured(EXPERIMENT, TINY, 0, 1)

    assert one != other
    assert len(one["risk"]) == len(one["scaled"]) == len(TINY.times)
    assert len(one["network"]) == 2
    require_drawable(EXPERIMENT, TINY, [one, other])


def test_the_risk_is_that_of_steps_that_are_run() -> None:
    settings = replace(TINY, num_steps=30)
    data, scale = _linear_data(settings, torch.Generator().manual_seed(3)), torch.ones(25, dtype=torch.float64)
    scale[20:] = 0.03
    features, weights, run = data.features * scale, torch.zeros(25, dtype=torch.float64), list[float]()
    for time in range(31):
        if time in settings.times:
            run.append(float((weights * scale - data.truth).square().sum()) + 0.25)
        weights = weights - 0.1 * features.T @ (features @ weights - data.targets) / 40

    assert _risks(settings, data, scale) == pytest.approx(run, rel=1e-9)


def test_a_step_scaled_up_for_small_features_is_features_scaled_up() -> None:
    settings = replace(TINY, num_steps=20)
    data, scale = _linear_data(settings, torch.Generator().manual_seed(4)), torch.ones(25, dtype=torch.float64)
    scale[20:] = 0.03
    features, weights, run = data.features * scale, torch.zeros(25, dtype=torch.float64), list[float]()
    for time in range(21):
        if time in settings.times:
            run.append(float((weights * scale - data.truth).square().sum()) + 0.25)
        weights = weights - 0.1 / scale**2 * (features.T @ (features @ weights - data.targets) / 40)

    assert _risks(settings, data, torch.ones_like(scale)) == pytest.approx(run, rel=1e-9)


def test_theorys_own_curves_hold_every_claim() -> None:
    claims = claims_of("double-descent-epochs", [EXACT])

    assert len(claims) == 8
    assert not_held(claims) == []


@pytest.mark.parametrize(
    ("key", "curve", "word"),
    [
        pytest.param("risk", [min(value, 1.5) for value in EXACT["risk"]], "rises between", id="a low peak"),
        pytest.param(
            "risk",
            [*EXACT["risk"][:20], *(max(value, 1.1) for value in EXACT["risk"][20:])],
            "below the first",
            id="no second descent",
        ),
        pytest.param("risk", [1.15 * value for value in EXACT["risk"]], "theory's", id="another curve"),
        pytest.param("scaled", EXACT["risk"], "there is no second", id="scaling does nothing"),
        pytest.param("scaled", [max(value, 0.7) for value in EXACT["scaled"]], "best risk", id="little is won"),
        pytest.param("scaled", EXACT["risk"], "sooner", id="and not sooner"),
        pytest.param("network", [0.14] * 400, "overfits", id="the network does not overfit"),
        pytest.param("network", [0.14] * 30 + [0.2] * 200 + [0.15] * 170, "falls again", id="the network descends"),
    ],
)
def test_a_claim_that_the_numbers_refute_is_not_held(key: str, curve: list[float], word: str) -> None:
    refuted = not_held(claims_of("double-descent-epochs", [{**EXACT, key: curve}]))

    assert any(word in text for text in refuted)


@pytest.mark.parametrize(
    ("changes", "absent"),
    [
        ({}, []),
        ({"scale": 0.1}, []),
        ({"num_fast": 300}, []),
        pytest.param({"noise": 1.0}, ["and ends below the first minimum", "and comes sooner"], id="much noise"),
    ],
)
def test_theorys_curves_hold_what_theory_says_whatever_the_settings(
    changes: dict[str, float], absent: list[str]
) -> None:
    settings = replace(QUICK, **changes)
    aspect = settings.num_features / settings.num_examples
    found = EXACT | {
        "risk": two_scale_risk(settings.groups, settings.times).tolist(),
        "scaled": descent_risk(
            aspect, LinearProblem(signal=1.0, noise=settings.noise**2), step=0.1, times=settings.times
        ).tolist(),
    }

    assert [claim.text for claim in EXPERIMENT.judge(settings, [found]) if not claim.is_held] == absent


@pytest.mark.parametrize("changes", [{"num_fast": 1000}, {"num_fast": 1200}, {"num_slow": 500}])
def test_settings_that_theory_tells_nothing_of_are_refused_by_their_names(changes: dict[str, int]) -> None:
    with pytest.raises(DomainError, match="num_fast"):
        measured(EXPERIMENT, replace(QUICK, **changes), 0)


def test_the_network_is_trained_with_wrong_labels_and_tested_on_other_images() -> None:
    settings = replace(TINY, width=32, num_images=60, num_epochs=40)
    [right, some, all_wrong] = (
        measured(EXPERIMENT, replace(settings, wrong=wrong), 0)[0]["network"][-1] for wrong in (0.0, 0.2, 1.0)
    )

    assert 0.1 < right < some < 0.9 < all_wrong


def test_single_spikes_of_the_network_are_no_descent() -> None:
    spiked = list(EXACT["network"])
    spiked[200] = spiked[250] = 0.3

    assert not_held(claims_of("double-descent-epochs", [{**EXACT, "network": spiked}])) == []


@pytest.mark.slow
def test_the_quick_preset_holds() -> None:
    require_held("double-descent-epochs", 0)
