import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from isometry.fills.distributions import Normal
from isometry.lab.apparatus.digits import mnist_5k
from isometry.lab.experiments.depth_scale import DepthScaleSettings, ordered, reached_multiples
from isometry.lab.members.plain_tanh import PlainTanh, TanhShape, TanhStart
from isometry.lab.runner import find_experiment
from isometry.theory.phases import critical_weight_variances
from tests.lab.experiments.seeds import claims_of, measured, not_held, require_drawable, require_held
from tests.lab.members.plain_modules import tanh_module

EXPERIMENT = find_experiment("depth-scale")
QUICK: DepthScaleSettings = EXPERIMENT.quick
TINY = DepthScaleSettings(weight_variances=(1.0, 1.75), depths=(2, 3), width=8, num_train=40, num_steps=3, batch_size=8)


CHECK = DepthScaleSettings(
    weight_variances=(1.0, 2.5), depths=(2, 4), width=12, num_train=200, num_steps=30, batch_size=16, rates=(0.02, 0.2)
)


def sigmoidal(*, multiple: float = 5.0, top: float = 100.0, bottom: float = 10.0) -> list[list[float]]:
    """Return accuracies that fall at a multiple of the depth scale."""
    return [
        [bottom + (top - bottom) / (1 + (depth / (multiple * scale)) ** 6) for scale in QUICK.scales]
        for depth in QUICK.depths
    ]


def fixed_depth(depth: float) -> list[list[float]]:
    """Return accuracies that fall at one depth whatever the weight variance, which does a point better at 2."""
    return [
        [10 + 90 / (1 + (each / depth) ** 6) + (variance == 2.0) for variance in QUICK.weight_variances]
        for each in QUICK.depths
    ]


def accuracy_in_a_plain_loop(variance: float, rate: float, depth: int) -> float:
    """Return what one network of `CHECK` reaches under torch's own gradients, in per cent."""
    digits = mnist_5k()[:200]
    start = TanhStart(
        first=Normal(std=math.sqrt(variance / 196)),
        hidden=Normal(std=math.sqrt(variance / 12)),
        head=Normal(std=math.sqrt(1 / 12)),
        bias_std=math.sqrt(0.05),
    )
    module = tanh_module(PlainTanh([start], TanhShape(inputs=196, width=12, depth=depth - 1, outputs=10), seed=4), 0)
    optimiser, generator = torch.optim.SGD(module.parameters(), rate / depth, momentum=0.9), torch.Generator()
    generator.manual_seed(4)
    for _ in range(30):
        rows = torch.randint(200, (16,), generator=generator)
        optimiser.zero_grad()
        functional.cross_entropy(module(digits.images[rows]), digits.labels[rows]).backward()
        optimiser.step()
    return 100 * (module(digits.images).argmax(1) == digits.labels).double().mean().item()


def test_networks_side_by_side_do_as_one_alone_in_a_plain_loop() -> None:
    (found,) = measured(EXPERIMENT, CHECK, 4)

    for row, depth in zip(found["accuracy"], CHECK.depths, strict=True):
        for accuracy, variance in zip(row, CHECK.weight_variances, strict=True):
            alone = max(accuracy_in_a_plain_loop(variance, rate, depth) for rate in CHECK.rates)
            assert accuracy == pytest.approx(alone, abs=0.51), (depth, variance)  # one image of 200


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

    assert len(claims) == 5
    assert not_held(claims) == []


@pytest.mark.parametrize("depth", [28.0, 30.0, 34.0, 36.0])
def test_networks_that_fail_at_one_depth_whatever_their_scale_are_not_ordered_by_it(depth: float) -> None:
    refuted = not_held(claims_of("depth-scale", [{"accuracy": fixed_depth(depth)}]))

    assert any("of two variances" in text for text in refuted)


def test_pairs_are_ordered_where_the_longer_scale_is_the_better() -> None:
    settings = DepthScaleSettings(weight_variances=(1.0, 1.25, 1.75), depths=(10, 20))

    assert ordered(settings, [[50.0, 60.0, 90.0], [10.0, 20.0, 30.0]]) == 100.0
    assert ordered(settings, [[50.0, 60.0, 55.0], [10.0, 20.0, 10.0]]) == pytest.approx(200 / 3)
    assert ordered(settings, [[50.0, 50.0, 50.0], [10.0, 10.0, 10.0]]) == 0.0


@pytest.mark.parametrize(
    ("accuracy", "words"),
    [
        pytest.param(sigmoidal(multiple=1.5), {"at most three", "at about six"}, id="fails far earlier"),
        pytest.param(sigmoidal(multiple=12.0), {"more than six", "at about six"}, id="trains far deeper"),
        pytest.param(sigmoidal(top=60.0), {"at most three"}, id="trains badly everywhere"),
        pytest.param([*sigmoidal()[:-1], [100.5, *sigmoidal()[-1][1:]]], {"critical line"}, id="order learns best"),
        pytest.param(
            [*sigmoidal()[:-1], [0.0] * 5 + [100.5] + [0.0] * 4],
            {"critical line"},
            id="the second neighbour learns best",
        ),
    ],
)
def test_a_claim_that_the_numbers_refute_is_not_held(accuracy: list[list[float]], words: set[str]) -> None:
    refuted = not_held(claims_of("depth-scale", [{"accuracy": accuracy}]))

    assert {word for word in words if any(word in text for text in refuted)} == words


def test_the_depth_at_one_half_is_read_between_two_depths() -> None:
    settings = DepthScaleSettings(weight_variances=(1.0,), depths=(10, 20))

    (found,) = reached_multiples(settings, [[80.0], [20.0]])
    assert found == pytest.approx(15 / settings.scales[0])
    assert reached_multiples(settings, [[80.0], [60.0]]) == []


def test_at_the_critical_line_no_depth_is_a_multiple() -> None:
    (critical, *_) = critical_weight_variances(np.tanh, bias_variance=0.05)
    settings = DepthScaleSettings(weight_variances=(critical,), depths=(10, 20))

    assert math.isinf(settings.scales[0])
    assert reached_multiples(settings, [[80.0], [20.0]]) == []


def test_grids_without_deep_networks_make_no_claim_on_them() -> None:
    claims = claims_of("depth-scale", [{"accuracy": [[99.0, 99.0]]}], weight_variances=(1.5, 1.75), depths=(10,))

    assert len(claims) == 2


@pytest.mark.slow
def test_the_quick_preset_holds() -> None:
    require_held("depth-scale", 0)
