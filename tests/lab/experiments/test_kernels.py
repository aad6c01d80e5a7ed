import math
from typing import Any

import pytest
import torch

from isometry._errors import DomainError
from isometry.lab.apparatus.digits import NUM_TEST, mnist_5k
from isometry.lab.experiments.kernels import KernelsSettings, Network
from isometry.lab.kernel_regression import WideNetworkClassifier
from isometry.lab.runner import find_experiment
from isometry.probes.tangent.kernel import mean_tangent_kernel
from isometry.theory.duals import leaky_relu
from isometry.theory.kernels import WideNetwork, kernels_of
from tests.lab.experiments.seeds import claims_of, measured, not_held, require_drawable, require_held

EXPERIMENT = find_experiment("kernels")
TINY = KernelsSettings(num_train=60, widths=(4, 128), steps=30, neighbours=(1, 3), num_kernel=20)
QUICK: KernelsSettings = EXPERIMENT.quick
NAMES = ("distance", "kernel_error", "kernel_drift", "weight_drift")


def outcome(**changes: Any) -> list[dict[str, Any]]:
    """Return what a run measures where everything is as theory has it, with some of it changed."""
    power = {
        "distance": (0.6, -0.4),
        "kernel_error": (0.6, -0.5),
        "kernel_drift": (0.3, -1.0),
        "weight_drift": (0.1, -0.5),
    }
    curves = {name: [at * (width / 16) ** slope for width in QUICK.widths] for name, (at, slope) in power.items()}
    accuracies = {"accuracy": [73.0, 85.0, 90.0, 91.5], "neighbours": [88.6, 88.1], "ntk": 93.2, "nngp": 93.0}
    return [{**accuracies, "ntk_at_time": 92.4, **curves, **changes}]


def test_a_small_run_has_a_number_a_width_and_is_drawn() -> None:
    (found,) = measured(EXPERIMENT, TINY, 0)

    assert {len(found[name]) for name in (*NAMES, "accuracy", "neighbours")} == {2}
    assert all(found[name][1] < found[name][0] for name in NAMES)
    require_drawable(EXPERIMENT, TINY, [found])


def test_seeds_draw_networks_of_their_own_and_one_seed_always_the_same() -> None:
    one, again, other = measured(EXPERIMENT, TINY, 0, 0, 1)

    assert one == again
    assert one["distance"] != other["distance"]
    assert one["ntk"] == other["ntk"]


def test_the_kernels_predict_as_the_estimators_of_wide_networks_do() -> None:
    (found,) = measured(EXPERIMENT, TINY, 0)
    digits = mnist_5k()
    inputs = torch.nn.functional.normalize(digits.images).double().numpy() * 14
    train, test = slice(0, TINY.num_train), slice(-NUM_TEST, None)
    for kernel in ("ntk", "nngp"):
        estimator = WideNetworkClassifier(kernel=kernel).fit(inputs[train], digits.labels[train].numpy())

        assert found[kernel] == pytest.approx(100 * estimator.score(inputs[test], digits.labels[test].numpy()), abs=0.2)


def test_a_network_starts_from_outputs_of_zero_with_the_kernel_of_its_limit() -> None:
    inputs = torch.randn(5, 7, generator=torch.Generator().manual_seed(0))
    network = Network(7, 40_000, seed=1)
    limit = kernels_of(WideNetwork(activation=leaky_relu()), inputs.double().numpy()).ntk

    assert network(inputs).detach().numpy() == pytest.approx(0, abs=1e-5)
    assert mean_tangent_kernel(network, inputs).numpy() == pytest.approx(limit, abs=0.05 * limit.max())


def test_what_theory_says_holds_every_claim() -> None:
    claims = claims_of("kernels", outcome())

    assert len(claims) == 10
    assert not_held(claims) == []


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        pytest.param({"nngp": 90.9, "neighbours": [88.0]}, "NNGP", id="the kernels differ"),
        pytest.param({"neighbours": [91.0]}, "neighbours", id="neighbours are as good"),
        pytest.param({"accuracy": [73.0, 85.0, 87.0, 89.0]}, "widest network does", id="wide networks are worse"),
        pytest.param({"accuracy": [83.0, 85.0, 90.0, 91.5]}, "narrowest", id="narrow networks are as good"),
        pytest.param({"distance": [0.2, 0.2, 0.2, 0.2]}, "outputs' distance", id="outputs do not come near"),
        pytest.param({"kernel_error": [0.2, 0.2, 0.19, 0.2]}, "at the start", id="the kernel does not come near"),
        pytest.param({"weight_drift": [0.1, 0.1, 0.1, 0.1]}, "weights move less", id="weights move as far"),
        pytest.param({"kernel_drift": [0.03, 0.03, 0.02, 0.02]}, "kernel moves less", id="kernels move as far"),
        pytest.param({"kernel_drift": [3.2, 0.8, 0.2, 0.05]}, "stays put", id="the wide kernel moves"),
    ],
)
def test_a_claim_that_the_numbers_refute_is_not_held(changes: dict[str, Any], word: str) -> None:
    (refuted,) = not_held(claims_of("kernels", outcome(**changes)))

    assert word in refuted


def test_a_kernel_that_cannot_read_digits_is_told() -> None:
    refuted = not_held(claims_of("kernels", outcome(ntk=80.0, nngp=80.0, ntk_at_time=80.0)))

    assert any("classifies unseen digits" in text for text in refuted)


@pytest.mark.parametrize("widths", [(64,), (64, 64), (1, 64)])
def test_widths_without_a_slope_are_refused(widths: tuple[int, ...]) -> None:
    with pytest.raises(DomainError, match="at least two different ones"):
        KernelsSettings(widths=widths)


def test_below_the_settled_widths_the_slope_is_that_of_all() -> None:
    found = outcome(**{name: [0.2, 0.1] for name in NAMES}, accuracy=[70.0, 80.0])
    claims = claims_of("kernels", found, widths=(16, 32))

    assert claims[7].measured == pytest.approx(-1.0)
    assert not math.isnan(claims[5].measured)


@pytest.mark.slow
def test_the_quick_preset_holds() -> None:
    require_held("kernels", 0)
