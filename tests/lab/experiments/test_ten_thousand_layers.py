import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from isometry.fills.distributions import Normal
from isometry.fills.orthogonal import Orthogonal
from isometry.lab.demo import digits
from isometry.lab.experiment import Measured
from isometry.lab.experiments.ten_thousand_layers import DeepSettings, gaussian_loss, gradient_fall
from isometry.lab.members.plain_tanh import PlainTanh, TanhShape, TanhStart
from isometry.lab.runner import find_experiment
from tests.lab.experiments.seeds import claims_of, measured, not_held, require_drawable, require_held
from tests.lab.members.plain_modules import tanh_module

pytest.importorskip("sklearn", reason="the digits come with it")

EXPERIMENT = find_experiment("ten-thousand-layers")
QUICK: DeepSettings = EXPERIMENT.quick
TINY = DeepSettings(depth=12, width=16, learning_rate=1e-3, num_steps=4, batch_size=32)


def outcome(*, orthogonal: float = 86.0, plain: float = 10.0, more: float = 0.1, behind: float = 6.0) -> list[Measured]:
    """Return what a run might measure: accuracies, decades of gradient beyond theory, and of signal lost."""
    fall = gradient_fall(QUICK, 0.4) + more
    between = [math.nan] * (len(QUICK.recorded) - 2)
    return [
        {
            "course": [[0, 10.0, 10.0], [100, orthogonal, plain]],
            "signal": [[math.sqrt(0.4), *between, end] for end in (0.02, 0.02 * 10**-behind)],
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
        pytest.param({"behind": 12.0}, "lose the signal", id="they lose twice what theory says"),
    ],
)
def test_a_claim_that_the_numbers_refute_is_not_held(changes: dict[str, float], word: str) -> None:
    (refuted,) = not_held(claims_of("ten-thousand-layers", outcome(**changes)))

    assert word in refuted


def test_a_signal_that_single_precision_cannot_hold_is_compared_where_it_can() -> None:
    deep = DeepSettings(depth=10_000)
    signal = [0.6 * math.exp(-layer / 64) for layer in deep.recorded]
    (without,) = outcome()
    held = [value if value > 1e-22 else 0.0 for value in signal]
    found = {**without, "signal": [[0.6 / math.sqrt(1 + 0.72 * layer) for layer in deep.recorded], held]}
    *_, claim = claims_of("ten-thousand-layers", [found], depth=10_000)

    assert held[-1] == 0.0
    assert 7.0 < claim.measured < claim.high < 17.0
    assert claim.is_held


def test_networks_side_by_side_do_as_one_alone_in_a_plain_loop() -> None:
    settings = DeepSettings(depth=5, width=16, learning_rate=1e-2, num_steps=12, batch_size=64)
    (found,) = measured(EXPERIMENT, settings, 2)
    images, labels = digits()
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(2))
    images, labels = ((images - images.mean()) / images.std())[order], labels[order]
    for place, hidden in enumerate([Orthogonal(), Normal(std=0.25)]):
        start = TanhStart(first=Orthogonal(), hidden=hidden, head=Orthogonal())
        module = tanh_module(PlainTanh([start], TanhShape(inputs=64, width=16, depth=5, outputs=10), seed=2), 0)
        signals = [module[: 2 * layer](images[:497]).detach().square().mean().sqrt().item() for layer in range(1, 7)]
        optimiser, generator = torch.optim.Adam(module.parameters(), 1e-2), torch.Generator().manual_seed(2)
        for _ in range(12):
            rows = 497 + torch.randperm(1300, generator=generator)[:64]
            optimiser.zero_grad()
            functional.cross_entropy(module(images[rows]), labels[rows]).backward()
            optimiser.step()

        assert found["signal"][place] == pytest.approx(signals, rel=1e-4)
        hits = (module(images[:497]).argmax(1) == labels[:497]).double().mean().item()
        assert found["course"][-1][1 + place] == pytest.approx(100 * hits, abs=0.5)  # two images


def test_the_gradient_falls_by_the_product_of_the_slopes() -> None:
    length, product = 0.01, 1.0
    for _ in range(QUICK.depth):
        product *= 1 - 2 * length  # to first order in a small length, as the length map itself
        length -= 2 * length**2

    assert gradient_fall(QUICK, 0.01) == pytest.approx(-math.log10(product) / 2, rel=0.02)


def test_gaussian_layers_of_linear_units_lose_half_a_neper_a_width_of_depth() -> None:
    loss = gaussian_loss(32, 320, first=1e-9)  # so small that tanh takes nothing

    assert loss.mean == pytest.approx(5 / math.log(10), rel=1e-4)
    assert loss.stdev == pytest.approx(math.sqrt(5) / math.log(10))


@pytest.mark.parametrize("layers", [30, 300, 1000])
def test_the_signal_that_is_lost_is_that_of_random_layers(layers: int) -> None:
    chance = np.random.default_rng(0)
    gaussian, orthogonal = np.full(2000, math.log(0.4)), math.log(0.4)
    for _ in range(layers):
        gaussian += np.log(chance.chisquare(32, 2000) / 32) - 2 * np.exp(gaussian)
        orthogonal -= math.log1p(2 * math.exp(orthogonal))
    lost = (orthogonal - gaussian) / 2 / math.log(10)
    loss = gaussian_loss(32, layers, first=0.4)

    assert abs(loss.mean - lost.mean()) < 0.15 * loss.stdev + 0.05
    assert lost.std() == pytest.approx(loss.stdev, rel=0.35)  # in few layers tanh takes more from the longer ones


@pytest.mark.slow
def test_the_quick_preset_holds() -> None:
    require_held("ten-thousand-layers", 0)
