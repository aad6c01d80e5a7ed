import math
from dataclasses import replace

import pytest

from isometry._errors import DomainError
from isometry.lab.experiments.mended_afterwards import MendedSettings
from isometry.lab.runner import find_experiment
from tests.lab.experiments.seeds import claims_of, measured, not_held, require_drawable, require_held

EXPERIMENT = find_experiment("mended-afterwards")
TINY = MendedSettings(
    scales=(0.25, 1.0),
    depth=4,
    width=8,
    num_examples=16,
    num_steps=4,
    sgd_rates=(0.01, 0.1),
    sigmoid_depth=3,
    sigmoid_rates=(1.0,),
)
SGD = [[1.39] * 6, [1.38] * 6, [2, 1, 1, 0.1, 0.01, math.inf], [9.0] * 6, [1, 1, 0.3, 0.02, 1.39, math.inf]]
LARS = [[1, 0.7, 2], [0.5, 0.1, 0.02], [0.1, 0.0, 0.05], [1, 2, 3], [0.1, 0.0, 0.05]]


def outcome(
    *, sgd: dict[int, list[float]] | None = None, lars: dict[int, list[float]] | None = None, critical: float = 0.5
) -> list[dict[str, object]]:
    """Return what a run measures, with the losses of some networks set otherwise."""
    rows = [
        [(changes or {}).get(place, row) for place, row in enumerate(all_rows)]
        for all_rows, changes in ((SGD, sgd), (LARS, lars))
    ]
    return [{"loss": {"SGD": rows[0], "LARS": rows[1]}, "sigmoid": [1.1, critical]}]


def test_lars_does_not_see_layers_of_unequal_scale() -> None:
    (found,) = measured(EXPERIMENT, TINY, 0)

    assert found["loss"]["LARS"][1] == pytest.approx(found["loss"]["LARS"][2], rel=1e-4)
    assert found["loss"]["SGD"][1] != found["loss"]["SGD"][2]
    require_drawable(EXPERIMENT, TINY, [found])


def test_sound_numbers_hold_every_claim() -> None:
    assert not_held(claims_of("mended-afterwards", outcome())) == []


@pytest.mark.parametrize(
    ("found", "word"),
    [
        pytest.param(outcome(sgd={2: [1.39] * 6}), "He's scale", id="sgd learns nowhere"),
        pytest.param(outcome(sgd={0: [1.39, 1, 0.2, 1, 1, 1]}), "at no rate", id="sgd learns"),
        pytest.param(outcome(lars={0: [1.39] * 3}), "LARS learns there", id="lars does not"),
        pytest.param(outcome(sgd={4: SGD[2]}), "best rate of SGD", id="the same best rate"),
        pytest.param(outcome(lars={4: [0.1, 0.1, 0.05]}), "does not notice", id="lars notices"),
        pytest.param(outcome(critical=1.05), "critical start", id="mended as well"),
    ],
)
def test_a_claim_that_the_numbers_refute_is_not_held(found: list[dict[str, object]], word: str) -> None:
    refuted = not_held(claims_of("mended-afterwards", found))

    assert any(word in text for text in refuted)


def test_runs_that_end_at_no_number_alike_have_not_changed() -> None:
    lost = [0.1, 0.0, math.inf]

    assert not_held(claims_of("mended-afterwards", outcome(lars={2: lost, 4: lost}))) == []


@pytest.mark.parametrize("changes", [{"scales": (0.5,)}, {"scales": (1.0, 2.0)}, {"depth": 5}])
def test_settings_that_allow_no_comparison_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(DomainError, match="have 1 and one below"):
        replace(EXPERIMENT.quick, **changes)


@pytest.mark.slow
def test_the_quick_preset_holds() -> None:
    require_held("mended-afterwards", 0)
