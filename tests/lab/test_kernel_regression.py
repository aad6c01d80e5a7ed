"""The estimators against scikit-learn's own checks, its kernel ridge regression, and kernel algebra."""

import math
import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.linalg import expm
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import DotProduct
from sklearn.kernel_ridge import KernelRidge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch import nn
from torch.nn import functional

from isometry._errors import DomainError, UnknownNameError
from isometry.lab.kernel_regression import DUALS, WideNetworkClassifier, WideNetworkRegressor
from isometry.theory.duals import gelu, leaky_relu
from isometry.theory.kernels import WideNetwork, kernels_of

Array = NDArray[np.float64]
GENERATOR = np.random.default_rng(0)
INPUTS, OTHERS = GENERATOR.standard_normal((20, 6)), GENERATOR.standard_normal((9, 6))
NUMBERS = GENERATOR.standard_normal((20, 2))
CLASSES = np.array(["x", "y", "z"])[np.arange(20) % 3]


@parametrize_with_checks(
    [WideNetworkRegressor(), WideNetworkClassifier(), WideNetworkClassifier(kernel="nngp", ridge=0.1)]
)
def test_scikit_learn_finds_nothing_wrong(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.parametrize("kernel", ["ntk", "nngp"])
@pytest.mark.parametrize("ridge", [1e-9, 0.3])
def test_a_regressor_is_kernel_ridge_regression(kernel: str, ridge: float) -> None:
    network = WideNetwork(activation=gelu(), num_hidden=2, weight_variance=1.7, bias_variance=0.1)
    train, across = (getattr(kernels_of(network, each, INPUTS), kernel) for each in (INPUTS, OTHERS))
    rival = KernelRidge(alpha=ridge, kernel="precomputed").fit(train, NUMBERS)
    ours = WideNetworkRegressor(
        "gelu", num_hidden=2, weight_variance=1.7, bias_variance=0.1, kernel=kernel, ridge=ridge
    ).fit(INPUTS, NUMBERS)

    assert ours.predict(OTHERS) == pytest.approx(rival.predict(across), abs=1e-7)
    assert ours.score(OTHERS, NUMBERS[:9]) == pytest.approx(rival.score(across, NUMBERS[:9]), abs=1e-6)


def test_a_classifier_predicts_the_largest_output_of_kernel_ridge_regression() -> None:
    digits = load_digits()
    inputs = digits.data / np.linalg.norm(digits.data, axis=1, keepdims=True)
    train, test = inputs[:300], inputs[300:500]
    network = WideNetwork(activation=leaky_relu())
    coded = np.eye(10)[digits.target[:300]]
    rival = KernelRidge(alpha=0.01, kernel="precomputed").fit(kernels_of(network, train).ntk, coded)
    ours = WideNetworkClassifier(ridge=0.01).fit(train, digits.target[:300])

    assert (ours.predict(test) == rival.predict(kernels_of(network, test, train).ntk).argmax(1)).all()
    assert ours.score(test, digits.target[300:500]) > 0.85


@pytest.mark.parametrize("time", [0.0, 0.2, 3.0])
def test_a_network_that_is_stopped_has_come_as_far_as_the_flow(time: float) -> None:
    kernel, across = (kernels_of(WideNetwork(activation=leaky_relu()), each, INPUTS).ntk for each in (INPUTS, OTHERS))
    expected = across @ np.linalg.solve(kernel, (np.eye(20) - expm(-kernel * time)) @ NUMBERS)

    assert WideNetworkRegressor(time=time).fit(INPUTS, NUMBERS).predict(OTHERS) == pytest.approx(expected, abs=1e-9)


def test_a_wide_linear_network_is_bayesian_linear_regression() -> None:
    # Of variance 1, 6 inputs and a kernel of x·x'/6 + 0.5; scikit-learn's has x·x' + 3, so its noise is 6 times ours.
    rival = GaussianProcessRegressor(DotProduct(np.sqrt(3.0)), alpha=6 * 0.2, optimizer=None).fit(INPUTS, NUMBERS)
    ours = WideNetworkRegressor(num_hidden=0, weight_variance=1.0, bias_variance=0.5, kernel="nngp", ridge=0.2)

    assert ours.fit(INPUTS, NUMBERS).predict(OTHERS) == pytest.approx(rival.predict(OTHERS))


def test_two_classes_have_one_output_whose_sign_tells_them_apart() -> None:
    labels = np.where(INPUTS[:, 0] > 0, "right", "left")
    network = WideNetworkClassifier().fit(INPUTS, labels)

    assert network.decision_function(INPUTS) == pytest.approx(np.where(labels == "right", 1.0, -1.0))
    assert (network.predict(INPUTS) == labels).all()


@pytest.mark.parametrize("activation", [*DUALS, np.tanh])
def test_every_activation_fits_its_training_set(activation: Any) -> None:
    network = WideNetworkRegressor(activation, bias_variance=0.5, num_hidden=2, ridge=1e-10)
    score = network.fit(INPUTS[:6], NUMBERS[:6]).score(INPUTS[:6], NUMBERS[:6])

    assert score == pytest.approx(1.0, abs=1e-4)


def test_a_named_activation_is_the_function_of_that_name() -> None:
    by_name, by_function = (
        WideNetworkRegressor(each).fit(INPUTS, NUMBERS).predict(OTHERS) for each in ("tanh", np.tanh)
    )

    assert by_name == pytest.approx(by_function)


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("relu", nn.ReLU()),
        ("leaky_relu", nn.LeakyReLU()),
        ("gelu", nn.GELU()),
        ("tanh", torch.tanh),
        ("sigmoid", torch.sigmoid),
        ("silu", functional.silu),
        ("elu", nn.ELU()),
        ("selu", functional.selu),
        ("mish", nn.Mish()),
        ("softplus", nn.Softplus()),
        ("hardtanh", nn.Hardtanh()),
    ],
)
def test_every_name_is_what_torch_calls_by_it(name: str, module: Any) -> None:
    inputs, others = (2 * each / np.linalg.norm(each, axis=1, keepdims=True) for each in (INPUTS, OTHERS))
    by_name, by_module = (
        WideNetworkRegressor(each, ridge=1e-3).fit(inputs, NUMBERS).predict(others) for each in (name, module)
    )

    assert by_module == pytest.approx(by_name, abs=0.01 if "relu" in name else 1e-5)


def test_a_dual_is_an_activation() -> None:
    dual, module = (
        WideNetworkRegressor(each, ridge=0.1).fit(INPUTS[:6], NUMBERS[:6]).predict(OTHERS)
        for each in (leaky_relu(0.3), nn.PReLU(init=0.3))
    )

    assert dual == pytest.approx(module, abs=1e-3)
    assert WideNetworkRegressor(leaky_relu(0.3)).fit(INPUTS, NUMBERS).score(INPUTS, NUMBERS) == pytest.approx(1.0)


@pytest.mark.parametrize("activation", ["erf", "gelu", "relu", "tanh", "silu"])
def test_inputs_of_any_scale_are_fitted(activation: str) -> None:
    network = WideNetworkRegressor(activation).fit(1e8 * INPUTS, NUMBERS)

    assert network.predict(1e8 * INPUTS) == pytest.approx(NUMBERS, abs=1e-4)


def test_pipelines_searches_clones_and_copies_work() -> None:
    search = GridSearchCV(
        make_pipeline(StandardScaler(), Normalizer(), WideNetworkClassifier()),
        {"widenetworkclassifier__time": [0.01, np.inf], "widenetworkclassifier__kernel": ["ntk", "nngp"]},
        cv=2,
    ).fit(INPUTS, CLASSES)
    best = search.best_estimator_

    assert clone(best[-1]).get_params() == best[-1].get_params()
    assert (pickle.loads(pickle.dumps(best)).predict(OTHERS) == best.predict(OTHERS)).all()  # noqa: S301 - our own


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        pytest.param({"kernel": "rbf"}, UnknownNameError, "'ntk', 'nngp'", id="kernel"),
        pytest.param({"activation": "mush"}, UnknownNameError, "no activation is named 'mush'", id="activation"),
        pytest.param({"activation": math.tanh}, DomainError, "tanh takes neither arrays nor tensors", id="scalar"),
        pytest.param({"activation": torch.sum}, DomainError, "sum takes neither arrays nor tensors", id="sum"),
        pytest.param({"time": -1.0}, DomainError, "time=-1.0", id="time"),
        pytest.param({"time": 2.0, "ridge": 1.0}, DomainError, "ridge=1.0", id="both"),
        pytest.param({"num_hidden": -1}, DomainError, "num_hidden=-1", id="depth"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        WideNetworkRegressor(**settings).fit(INPUTS, NUMBERS)


def test_without_scikit_learn_the_way_to_install_it_is_told() -> None:
    program = "import sys; sys.modules['sklearn'] = None\nimport isometry.lab.kernel_regression"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False).stderr

    assert "pip install 'isometry[lab]'" in told
