"""Kernels of infinitely wide fully connected networks: of their outputs at the start (NNGP) and of training (NTK).

A network of L hidden layers in the NTK parametrisation: h¹ = σ_w W x / √d + σ_b b, h^{l+1} = σ_w W φ(h^l) / √n + σ_b b,
all entries of W and b drawn from N(0, 1).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isometry._errors import DomainError, ShapeError
from isometry.theory.duals import Dual

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class WideNetwork:
    """A fully connected network whose hidden layers are infinitely wide.

    Attributes:
        activation: What follows every hidden layer.
        num_hidden: Hidden layers, counts from 0; without one it is a linear model.
        weight_variance: σ_w², the variance of a weight times fan-in, dimensionless, positive.
        bias_variance: σ_b², in units of the pre-activations squared.
    """

    activation: Dual
    num_hidden: int = 1
    weight_variance: float = 2.0
    bias_variance: float = 0.0

    def __post_init__(self) -> None:
        if self.num_hidden < 0 or not self.weight_variance > 0 or self.bias_variance < 0:
            raise DomainError(
                f"num_hidden={self.num_hidden}, weight_variance={self.weight_variance}, "
                f"bias_variance={self.bias_variance}: a network has no layers less than 0, a positive variance of its "
                "weights and none below 0 of its biases. Check the three."
            )


@dataclass(frozen=True, slots=True)
class Kernels:
    """Both kernels between two sets of inputs, arrays of (inputs of the first set, inputs of the second).

    Attributes:
        nngp: Covariance of an output over draws of the weights, in units of the output squared.
        ntk: Inner product of the output's gradients over all weights, in units of the output squared.
    """

    nngp: FloatArray
    ntk: FloatArray


def kernels_of(network: WideNetwork, first: FloatArray, second: FloatArray | None = None) -> Kernels:
    """Return NNGP and NTK of a wide network between two sets of inputs.

    K¹ = σ_w² x·x'/d + σ_b², K^{l+1} = σ_w² E[φ(u) φ(v)] + σ_b²
    Θ¹ = K¹, Θ^{l+1} = K^{l+1} + σ_w² E[φ'(u) φ'(v)] Θ^l, with (u, v) ~ N(0, K^l)

    Args:
        network: Activation, depth and variances.
        first: Inputs, (n, d).
        second: Other inputs, (m, d); the first set itself without them.

    Returns:
        Both kernels, (n, m).

    Raises:
        ShapeError: If the inputs are no matrices of one width.

    Example:
        >>> from isometry.theory.duals import leaky_relu
        >>> found = kernels_of(WideNetwork(activation=leaky_relu()), np.array([[3.0, 4.0]]))
        >>> found.nngp.round(6).tolist(), found.ntk.round(6).tolist()
        ([[25.0]], [[50.0]])

    Source:
        Lee et al. 2018, arXiv:1711.00165, eq. 5; Jacot, Gabriel, Hongler 2018, arXiv:1806.07572, theorem 1; with
        biases as in Lee et al. 2019, arXiv:1902.06720, appendix E.
    """
    other = first if second is None else second
    _require_inputs(first, other)
    width = first.shape[1]
    weight, bias = network.weight_variance, network.bias_variance
    rows = weight * (first**2).sum(1) / width + bias
    columns = weight * (other**2).sum(1) / width + bias
    nngp = weight * (first @ other.T) / width + bias
    ntk = nngp
    for _ in range(network.num_hidden):
        left, right = rows[:, None], columns[None, :]
        slopes = network.activation.slopes(left, right, nngp)
        nngp = weight * network.activation.product(left, right, nngp) + bias
        ntk = nngp + weight * slopes * ntk
        rows = weight * network.activation.product(rows, rows, rows) + bias
        columns = weight * network.activation.product(columns, columns, columns) + bias
    return Kernels(nngp, ntk)


def _require_inputs(first: FloatArray, second: FloatArray) -> None:
    if first.ndim != 2 or second.ndim != 2 or first.shape[1] != second.shape[1]:  # noqa: PLR2004 - rows and columns
        raise ShapeError(
            f"inputs of shapes {first.shape} and {second.shape} were given; two matrices with as many columns are "
            "needed. Flatten each example to a row."
        )
