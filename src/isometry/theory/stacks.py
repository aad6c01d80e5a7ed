"""Signal and gradient through deep stacks, plain, residual and normalised, and how far finite width lets them stray.

The layer is f(x) = W φ(x) + b with W_ij ~ N(0, σ_w²/fan_in), b_i ~ N(0, σ_b²). A stack is a kind of block around it:
`plain` f(x), `residual` x + α f(x), `pre-norm` x + α f(norm(x)), `post-norm` norm(x + α f(x)).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from isometry._errors import DomainError
from isometry.theory.criticality import length_map, susceptibility
from isometry.theory.meanfield import slope_moments
from isometry.theory.quadrature import Function

Kind = Literal["plain", "residual", "pre-norm", "post-norm"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """A deep network of blocks of one kind.

    Attributes:
        function: The activation φ, vectorised, float64 to float64.
        kind: How a block is built around its layer.
        weight_variance: σ_w², the variance of a weight times fan-in, dimensionless, positive.
        bias_variance: σ_b², in units of the signal squared.
        branch_scale: α of a residual block, dimensionless.
    """

    function: Function
    kind: Kind = "plain"
    weight_variance: float = 1.0
    bias_variance: float = 0.0
    branch_scale: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """What one block did.

    Attributes:
        length: Mean square of the signal behind it, in the signal's units squared.
        factor: By which it multiplies the mean square of the gradient on its way back, dimensionless.
    """

    length: float
    factor: float


def passages(stack: Stack, start: float, num_blocks: int) -> Iterator[Passage]:
    """Yield what each block of a wide network does to signal and gradient, the first block first.

    plain: q' = F(q), χ; residual: q' = q + α² F(q), 1 + α² χ(q); pre-norm: q' = q + α² F(1), 1 + α² χ(1)/q;
    post-norm: q' = 1, (1 + α² χ(q)) / (q + α² F(q)), with F the length map and χ the susceptibility

    Args:
        stack: The network.
        start: Mean square of the signal that enters, in its units squared, positive.
        num_blocks: Counts.

    Yields:
        Length and factor of each block. Signals that die out or overflow end the passage early.

    Raises:
        DomainError: If the start is not positive or the function is not finite where the signal goes.

    Source:
        Yang, Schoenholz 2017, arXiv:1712.08969, sections 3 and 4 (residual); Xiong et al. 2020, arXiv:2002.04745,
        theorem 1 (pre-norm and post-norm).
    """
    if not start > 0:
        raise DomainError(f"start={start!r} is not positive; a signal of some size has to enter the network.")
    length, weight, bias = start, stack.weight_variance, stack.bias_variance
    scale = stack.branch_scale**2
    for _ in range(num_blocks):
        read = 1.0 if stack.kind == "pre-norm" else length
        branch = length_map(stack.function, read, weight_variance=weight, bias_variance=bias)
        slope = susceptibility(stack.function, read, weight_variance=weight)
        match stack.kind:
            case "plain":
                passage = Passage(length=branch, factor=slope)
            case "residual":
                passage = Passage(length=length + scale * branch, factor=1 + scale * slope)
            case "pre-norm":
                passage = Passage(length=length + scale * branch, factor=1 + scale * slope / length)
            case "post-norm":
                passage = Passage(length=1.0, factor=(1 + scale * slope) / (length + scale * branch))
        yield passage
        length = passage.length
        if not 0 < length < math.inf:
            return


def log_norm_variance(function: Function, variance: float, widths: tuple[int, ...]) -> float:
    """Return the variance of ln |g|² of a gradient g at the input of a plain network, over draws of its weights.

    Σ_l (3 μ₂/μ₁² - 1) / n_l, with μ₁ = E[φ'²] and μ₂ = E[φ'⁴]; 5/n a layer for ReLU, 2/n for a linear one

    It grows with depth over width: of two networks equally critical the narrower one more often has a gradient far from
    the mean. First order in 1/n.

    Args:
        function: The activation φ, vectorised, float64 to float64.
        variance: Mean square q of the pre-activations, in their units squared, positive.
        widths: n_l, units of each hidden layer.

    Returns:
        The variance, nats squared.

    Raises:
        DomainError: If the function is not finite where the pre-activations go.

    Example:
        >>> round(log_norm_variance(lambda x: (x + abs(x)) / 2, 1.0, (100,) * 20), 6)
        1.0

    Source:
        Hanin, Nica 2019, arXiv:1812.05994, theorem 1 (ReLU); Hanin 2018, arXiv:1801.03744.
    """
    first, second = slope_moments(function, variance)
    return sum((3 * second / first**2 - 1) / width for width in widths)
