import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from isometry._errors import DomainError
from isometry.lab.experiments.mended_afterwards import MendedSettings
from isometry.lab.runner import find_experiment
from isometry.theory.criticality import critical_point
from tests.lab.experiments.seeds import claims_of, measured, not_held, require_drawable, require_held

EXPERIMENT = find_experiment("mended-afterwards")
TINY = MendedSettings(
    scales=(0.25, 1.0),
    depth=4,
    width=8,
    num_examples=16,
    num_steps=4,
    sgd_rates=(0.01, 0.1),
    tiny_sgd_rates=(1e-9,),
    tiny_lars_rates=(0.1,),
    sigmoid_depth=3,
    sigmoid_rates=(1.0,),
)
SGD = [[1.39] * 6, [1.38] * 6, [2, 1, 1, 0.1, 0.01, math.inf], [9.0] * 6, [1, 1, 0.02, 0.3, 1.39, math.inf]]
LARS = [[1, 0.7, 2], [0.5, 0.1, 0.02], [0.1, 0.0, 0.05], [1, 2, 3], [0.1, 0.0, 0.05]]


def outcome(
    *,
    sgd: dict[int, list[float]] | None = None,
    lars: dict[int, list[float]] | None = None,
    critical: float = 0.5,
    **exploded: float,
) -> list[dict[str, object]]:
    """Return what a run measures, with the losses of some networks set otherwise."""
    rows = [
        [(changes or {}).get(place, row) for place, row in enumerate(all_rows)]
        for all_rows, changes in ((SGD, sgd), (LARS, lars))
    ]
    return [
        {
            "loss": {"SGD": rows[0], "LARS": rows[1]},
            "exploded": {"usual": 25.0, "tiny": 90.0, "LARS": 99.0} | exploded,
            "sigmoid": [1.1, critical],
        }
    ]


def drawn(settings: MendedSettings, seed: int) -> tuple[torch.Generator, torch.Tensor, torch.Tensor]:
    """Return a generator that has drawn the examples, and these."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(settings.num_examples, 16, generator=generator)
    into, out = torch.randn(16, 32, generator=generator), torch.randn(32, generator=generator)
    order = ((inputs @ into).clamp(min=0) @ out).argsort()
    labels = torch.empty(settings.num_examples, dtype=torch.long)
    labels[order] = torch.arange(4).repeat_interleave(settings.num_examples // 4)
    return generator, inputs, labels


def test_one_step_of_gradient_descent_is_as_by_hand() -> None:
    settings = replace(TINY, num_steps=1, sgd_rates=(0.01,))
    (found,) = measured(EXPERIMENT, settings, 3)
    generator, inputs, labels = drawn(settings, 3)
    weights = [
        0.25 * (2 / into) ** 0.5 * torch.randn(into, out, generator=generator)
        for into, out in ((16, 8), (8, 8), (8, 8), (8, 4))
    ]

    def loss(*moved: torch.Tensor) -> torch.Tensor:
        one, two, three, last = moved
        outputs = inputs.mm(one).clamp(min=0).mm(two).clamp(min=0).mm(three).clamp(min=0).mm(last)
        return (outputs.logsumexp(1) - outputs[range(len(labels)), labels]).mean()

    slopes = torch.func.grad(loss, argnums=(0, 1, 2, 3))(*weights)
    moved = [weight - 0.01 * slope for weight, slope in zip(weights, slopes, strict=True)]
    assert found["loss"]["SGD"][0] == pytest.approx([float(loss(*moved))], rel=1e-5)


def test_sigmoids_start_where_theory_puts_them() -> None:
    settings = replace(TINY, num_steps=0)
    (found,) = measured(EXPERIMENT, settings, 3)
    point = critical_point(lambda x: 1 / (1 + np.exp(-x)))

    losses: list[float] = []
    for variances, mean in (((1.0, 1.0, 1.0, 1.0), 0.0), ((point.variance, 16.0, 16.0, 16.0), 0.5)):
        generator, signal, labels = drawn(settings, 3)
        for layer, (variance, into, out) in enumerate(zip(variances, (16, 8, 8, 8), (8, 8, 8, 4), strict=True)):
            weight = (variance / into) ** 0.5 * torch.randn(into, out, generator=generator)
            signal = (signal - mean if layer else signal) @ weight
            signal = signal if layer == 3 else 1 / (1 + (-signal).exp())
        losses.append(float((signal.logsumexp(1) - signal[range(len(labels)), labels]).mean()))
    assert found["sigmoid"] == pytest.approx(losses, rel=1e-5)


def test_what_explodes_is_counted_in_right_answers() -> None:
    (found,) = measured(EXPERIMENT, replace(TINY, num_steps=1, exploding=1e3, sgd_rates=(1e30,)), 0)

    assert found["loss"]["SGD"] == [[math.inf]] * 3
    assert 0 <= found["exploded"]["usual"] <= 50
    assert all(0 <= share <= 100 for share in found["exploded"].values())


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
        pytest.param(outcome(sgd={4: [0.01, 1, 1, 1, 1.39, 2]}), "best rate of SGD", id="a best rate far below"),
        pytest.param(outcome(sgd={4: [1, 1, 0.1, 0.5, 0.4, 0.5]}), "best before", id="the old rate does"),
        pytest.param(outcome(usual=50.0), "no usual rate", id="explosion is no harm"),
        pytest.param(outcome(tiny=50.0), "and less", id="no rate is small enough"),
        pytest.param(outcome(LARS=50.0), "as well", id="lars explodes"),
        pytest.param(outcome(lars={4: [0.1, 0.1, 0.05]}), "does not notice", id="lars notices"),
        pytest.param(outcome(critical=1.05), "critical start", id="mended as well"),
    ],
)
def test_a_claim_that_the_numbers_refute_is_not_held(found: list[dict[str, object]], word: str) -> None:
    refuted = not_held(claims_of("mended-afterwards", found))

    assert any(word in text for text in refuted)


@pytest.mark.parametrize(
    "changes",
    [{"num_steps": 500}, {"width": 64}, {"num_examples": 512}, {"sigmoid_depth": 5}, {"sigmoid_rates": (1.0,)}],
)
def test_sigmoids_are_judged_in_the_settings_alone_that_their_range_is_of(changes: dict[str, Any]) -> None:
    mended = outcome(critical=1.2)

    assert len(not_held(claims_of("mended-afterwards", mended))) == 1
    assert not_held(claims_of("mended-afterwards", mended, **changes)) == []


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
