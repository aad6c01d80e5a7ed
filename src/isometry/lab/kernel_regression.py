"""What an infinitely wide network predicts, as estimators of scikit-learn: regression and classification.

A network of infinite width that gradient descent trains on squared error is regression with its tangent kernel (NTK),
stopped at a finite time or run to the end; one of which the last layer alone is trained is regression with the kernel
of its outputs (NNGP), as is the posterior mean of a Bayesian one.
"""

import math
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any, Literal, Self, cast, final

import numpy as np
import torch
from numpy.typing import NDArray

from isometry._errors import DomainError, MissingExtraError, UnknownNameError
from isometry.theory.duals import Dual, dual_of, erf, gelu, leaky_relu, sigmoid, silu, tanh
from isometry.theory.kernel_flow import flow_weights, spectrum_of
from isometry.theory.kernels import WideNetwork, kernels_of
from isometry.theory.quadrature import Function

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, MultiOutputMixin, RegressorMixin
    from sklearn.preprocessing import LabelBinarizer
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    raise MissingExtraError(
        "regression with the kernels of wide networks needs scikit-learn, which cannot be imported here. "
        "Install it: pip install 'isometry[lab]'."
    ) from error

FloatArray = NDArray[np.float64]
Kernel = Literal["ntk", "nngp"]
Activation = str | Dual | Callable[[Any], Any]

DUALS: Mapping[str, Callable[[], Dual]] = {
    "relu": leaky_relu,
    "leaky_relu": lambda: leaky_relu(0.01),  # torch's default slope
    "linear": lambda: leaky_relu(1.0),
    "erf": erf,
    "gelu": gelu,
    "tanh": tanh,
    "sigmoid": sigmoid,
    "silu": silu,
    "elu": lambda: dual_of(lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))), "elu"),
    "selu": lambda: dual_of(_selu, "selu"),
    "mish": lambda: dual_of(lambda x: x * np.tanh(np.logaddexp(0, x)), "mish"),
    "softplus": lambda: dual_of(lambda x: np.logaddexp(0, x), "softplus"),
    "hardtanh": lambda: dual_of(lambda x: np.clip(x, -1, 1), "hardtanh"),
}


class WideNetworkEstimator(BaseEstimator):
    """What regressor and classifier share; made by neither name.

    Its attributes are the arguments, unchanged, as scikit-learn wants them; what was learned ends with `_`.
    """

    def __init__(
        self,
        activation: Activation = "relu",
        *,
        num_hidden: int = 1,
        weight_variance: float = 2.0,
        bias_variance: float = 0.0,
        kernel: Kernel = "ntk",
        time: float = math.inf,
        ridge: float = 0.0,
    ) -> None:
        self.activation = activation
        self.num_hidden = num_hidden
        self.weight_variance = weight_variance
        self.bias_variance = bias_variance
        self.kernel = kernel
        self.time = time
        self.ridge = ridge

    def _learn(self, inputs: FloatArray, targets: FloatArray) -> None:
        self.X_fit_ = inputs  # scikit-learn's name for it
        spectrum = spectrum_of(self._kernel_of(inputs, inputs))
        self.dual_coef_ = flow_weights(spectrum, targets, time=self.time, ridge=self.ridge)

    def _outputs(self, inputs: Any) -> FloatArray:
        """Return the network's outputs, as many columns as targets were given."""
        check_is_fitted(self)
        checked = cast("FloatArray", validate_data(self, inputs, dtype=np.float64, reset=False))
        return self._kernel_of(checked, self.X_fit_) @ self.dual_coef_

    def _kernel_of(self, first: FloatArray, second: FloatArray) -> FloatArray:
        if self.kernel not in {"ntk", "nngp"}:
            raise UnknownNameError(f"no kernel is named {self.kernel!r}. Choose one of: 'ntk', 'nngp'.")
        network = WideNetwork(
            activation=_dual_named(self.activation),
            num_hidden=self.num_hidden,
            weight_variance=self.weight_variance,
            bias_variance=self.bias_variance,
        )
        found = kernels_of(network, first, second)
        return found.ntk if self.kernel == "ntk" else found.nngp


@final
class WideNetworkRegressor(MultiOutputMixin, RegressorMixin, WideNetworkEstimator):
    """An infinitely wide network under gradient descent on squared error, with outputs of 0 at the start.

    f(x) = Θ(x, X) Θ⁻¹ (1 - exp(-Θ t)) y, or Θ(x, X) (Θ + λ)⁻¹ y where training is not cut short

    Args:
        activation: After every hidden layer: `relu`, `leaky_relu`, `linear`, `erf`, `gelu`, `tanh`, `sigmoid`, `silu`,
            `elu`, `selu`, `mish`, `softplus`, `hardtanh`; a `Dual`, such as `leaky_relu(0.3)` of `isometry.theory`; or
            a function or module that acts on each number of an array or tensor alone. All but the first eight and
            duals need inputs that are not all zero, and of a size at which the function is not yet a jump.
        num_hidden: Hidden layers, counts from 0; without one it is a linear model.
        weight_variance: σ_w², the variance of a weight times fan-in, dimensionless, positive.
        bias_variance: σ_b², in units of the pre-activations squared.
        kernel: `ntk`, all layers trained; `nngp`, the last one alone, which is also the Bayesian posterior mean.
        time: t, learning rate times steps on half the sum of squared errors, in [0, inf].
        ridge: λ, in units of the kernel; the noise's variance of the Bayesian reading. For `time` without end alone.

    Attributes:
        X_fit_: Training inputs, (n, features).
        dual_coef_: Weights of the training inputs, (n, outputs).
        n_features_in_: Numbers of one example, counts.

    Example:
        >>> x = np.linspace(-2, 2, 9)[:, None]
        >>> network = WideNetworkRegressor("erf", bias_variance=0.1).fit(x, np.sin(x[:, 0]))
        >>> float(network.predict([[1.25]])[0].round(2))
        0.96

    Source:
        Jacot, Gabriel, Hongler 2018, arXiv:1806.07572, section 5; Lee et al. 2018, arXiv:1711.00165, eq. 9; Lee et al.
        2019, arXiv:1902.06720, eqs. 9 to 16.
    """

    def fit(self, X: Any, y: Any) -> Self:  # noqa: N803 - scikit-learn's signature
        """Train the network.

        Args:
            X: Inputs, (n, features); of the scale that the network is to see.
            y: Numbers to predict, (n,) or (n, outputs); they should be near 0 on average, where the network starts.

        Returns:
            Itself.

        Raises:
            DomainError: If a setting is out of its range.
            UnknownNameError: If activation or kernel is none.
        """
        checked: Any = validate_data(self, X, y, dtype=np.float64, multi_output=True, y_numeric=True)
        inputs, targets = checked
        goals = np.asarray(targets, dtype=np.float64)
        self._learn(inputs, goals.reshape(len(goals), -1))
        self._is_flat = goals.ndim == 1
        return self

    def predict(self, X: Any) -> FloatArray:  # noqa: N803 - scikit-learn's signature
        """Return the outputs, (n,) or (n, outputs) as the targets were.

        Args:
            X: Inputs, (n, features).
        """
        outputs = self._outputs(X)
        return outputs[:, 0] if self._is_flat else outputs


@final
class WideNetworkClassifier(ClassifierMixin, WideNetworkEstimator):
    """An infinitely wide network that is trained on squared error to give 1 for an example's class and -1 for others.

    Adding one number to all targets changes no class that is predicted. Outputs are no probabilities, so that there is
    no `predict_proba`; wrap it in scikit-learn's `CalibratedClassifierCV` for them.

    Args:
        activation: As for `WideNetworkRegressor`.
        num_hidden: As for `WideNetworkRegressor`.
        weight_variance: As for `WideNetworkRegressor`.
        bias_variance: As for `WideNetworkRegressor`.
        kernel: As for `WideNetworkRegressor`.
        time: As for `WideNetworkRegressor`.
        ridge: As for `WideNetworkRegressor`.

    Attributes:
        classes_: The classes, sorted.
        X_fit_: Training inputs, (n, features).
        dual_coef_: Weights of the training inputs, (n, classes); one column for two classes.
        n_features_in_: Numbers of one example, counts.

    Example:
        >>> inputs = [[0.0, 1.0], [1.0, 0.0], [1.0, 1.0], [0.1, 0.1]]
        >>> network = WideNetworkClassifier(bias_variance=0.1).fit(inputs, ["odd", "odd", "even", "even"])
        >>> network.predict([[0.9, 0.1]]).tolist()
        ['odd']

    Source:
        Lee et al. 2018, arXiv:1711.00165, section 3; Lee et al. 2019, arXiv:1902.06720, section 3.
    """

    def fit(self, X: Any, y: Any) -> Self:  # noqa: N803 - scikit-learn's signature
        """Train the network.

        Args:
            X: Inputs, (n, features); of the scale that the network is to see.
            y: Classes, (n,).

        Returns:
            Itself.

        Raises:
            DomainError: If a setting is out of its range, or all examples are of one class.
            UnknownNameError: If activation or kernel is none.
        """
        checked: Any = validate_data(self, X, y, dtype=np.float64)
        inputs, labels = checked
        check_classification_targets(labels)
        coder = LabelBinarizer(neg_label=-1)
        goals = np.asarray(coder.fit_transform(labels), dtype=np.float64)
        self.classes_ = coder.classes_
        if len(self.classes_) == 1:
            raise DomainError(f"all {len(inputs)} examples are of one class, and telling apart takes two.")
        self._learn(inputs, goals)
        return self

    def decision_function(self, X: Any) -> FloatArray:  # noqa: N803 - scikit-learn's signature
        """Return the outputs, (n, classes); of two classes that of the second alone, (n,).

        Args:
            X: Inputs, (n, features).
        """
        outputs = self._outputs(X)
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs

    def predict(self, X: Any) -> NDArray[Any]:  # noqa: N803 - scikit-learn's signature
        """Return the class with the largest output, (n,).

        Args:
            X: Inputs, (n, features).
        """
        outputs = self.decision_function(X)
        return self.classes_[(outputs > 0).astype(int) if outputs.ndim == 1 else outputs.argmax(1)]


def _dual_named(activation: Activation) -> Dual:
    if isinstance(activation, Dual):
        return activation
    if callable(activation):
        name = getattr(activation, "__name__", type(activation).__name__)
        return dual_of(_on_arrays(activation, name), name)
    if activation not in DUALS:
        known = ", ".join(DUALS)
        raise UnknownNameError(f"no activation is named {activation!r}. Give a function, a Dual, or one of: {known}.")
    return DUALS[activation]()


def _on_arrays(function: Callable[[Any], Any], name: str) -> Function:
    """Return a function of arrays from one of arrays or of tensors."""

    def through_tensors(points: FloatArray) -> FloatArray:
        with torch.no_grad():
            return np.asarray(module(torch.from_numpy(points)))

    module = deepcopy(function).double() if isinstance(function, torch.nn.Module) else function
    for each in (function, through_tensors):
        try:
            found = np.shape(each(np.array([-0.5, 0.5])))
        except (TypeError, ValueError, AttributeError):
            continue
        if found == (2,):
            return each
    raise DomainError(
        f"the activation {name} takes neither arrays nor tensors of many numbers. Give one that acts on each alone, "
        "such as np.tanh, torch.tanh or nn.Tanh()."
    )


def _selu(points: FloatArray) -> FloatArray:
    scale, size = 1.0507009873554805, 1.6732632423543772  # Klambauer et al. 2017, arXiv:1706.02515, eq. 2
    return scale * np.where(points > 0, points, size * np.expm1(np.minimum(points, 0)))
