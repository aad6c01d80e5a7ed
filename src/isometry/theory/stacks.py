"""Signal and gradient through deep stacks, plain, residual and normalised by layer or batch norm.

The layer is f(x) = W φ(x) + b with W_ij ~ N(0, σ_w²/fan_in), b_i ~ N(0, σ_b²). A stack is a kind of block around it:
`plain` f(x), `residual` x + α f(x), `pre-norm` x + α f(norm(x)), `post-norm` norm(x + α f(x)),
`batch-norm` batch(f(x)), `pre-batch-norm` x + α f(batch(x)). norm divides an example by its root mean square over
units, as layer norm does in a wide network; batch takes a unit less its mean, over its deviation, over a large batch.

Behind batch norm neither the scale of the weights nor biases matter. Gradients grow by E[φ'²] / Var[φ] a layer, which
is more than 1 for every continuous φ but a linear one (Poincaré's inequality) and π/(π - 1) = 1.47 for ReLU; a skip
makes of that a power of the depth. It holds for examples that are drawn independently, in layers wide and batches large
beside the depth: tanh grows by some 2/n + 2/B a layer more in n units and B examples. Examples in clusters add to that,
as images of a few classes are: for tanh digits grow by 2.0 in 10 layers, told 1.6. All of it asks that examples keep
alike lengths, as they do at any depth if d ln Var[φ(√q z)] / d ln q < 1 at q = 1 (tanh 0.46). If it is 1 or more, a few
slowly outgrow the others (Nachum et al. 2024, arXiv:2412.02843): it holds for some tens of layers of ReLU (1) or GELU
(1.06), for ten to twenty of SiLU (1.10).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from isometry._errors import DomainError, UnknownNameError
from isometry.theory.criticality import length_map, require_layer, susceptibility
from isometry.theory.meanfield import require_slope
from isometry.theory.quadrature import REACH, Function, sample

Kind = Literal["plain", "residual", "pre-norm", "post-norm", "batch-norm", "pre-batch-norm"]

FLAT = 1e-24  # share of a mean square that is no more than rounding: that of a deviation, squared
FAINTEST, LOUDEST = 1e-300, 1e300  # mean squares between which float64 has room for the squares of ten deviations


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

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise UnknownNameError(f"no kind of stack is named {self.kind!r}. Known: {', '.join(get_args(Kind))}.")
        require_layer(self.weight_variance, self.bias_variance)
        if not math.isfinite(self.branch_scale):
            raise DomainError(f"branch_scale={self.branch_scale!r} is no α; a branch is scaled by a finite number.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """What one block did.

    Attributes:
        length: Mean square of the signal behind it, in the signal's units squared; of kinds with batch norm a unit's
            variance over the batch.
        factor: By which it multiplies the mean square of the gradient on its way back, dimensionless.
    """

    length: float
    factor: float


def passages(stack: Stack, start: float, num_blocks: int) -> Iterator[Passage]:
    """Yield what each block of a wide network does to signal and gradient, the first block first.

    plain: q' = F(q), χ; residual: q' = q + α² F(q), 1 + α² χ(q); pre-norm: q' = q + α² F(1), 1 + α² χ(1)/q;
    post-norm: q' = 1, (1 + α² χ(q)) / (q + α² F(q)); batch-norm: q' = 1, χ(q) / V(q);
    pre-batch-norm: q' = q + α² V(1), 1 + α² χ(1)/q, with F the length map, χ the susceptibility and
    V = σ_w² Var[φ(√q z)]

    Args:
        stack: The network.
        start: Mean square of the signal that enters, in its units squared, positive; its variance over the batch where
            there is batch norm.
        num_blocks: Counts.

    Yields:
        Length and factor of each block. A signal that dies out or overflows (`is_lost`) ends the passage early.

    Raises:
        DomainError: If the start is not a signal's, the function is not finite where the signal goes, or it is constant
            there and batch norm follows it, or level but for jumps and the kind is batch-norm.

    Example:
        >>> relu = Stack(function=lambda x: (x + abs(x)) / 2, kind="batch-norm")
        >>> [round(each.factor, 4) for each in passages(relu, 1.0, 2)]
        [1.4669, 1.4669]

    Source:
        Yang, Schoenholz 2017, arXiv:1712.08969, sections 3 and 4 (residual); Xiong et al. 2020, arXiv:2002.04745,
        theorem 1 (pre-norm and post-norm); Yang et al. 2019, arXiv:1902.08129, theorems 7 to 9 (batch-norm, at any size
        of the batch).
    """
    require_signal(start)
    length = start
    for _ in range(num_blocks):
        passage = _passage(stack, length)
        yield passage
        length = passage.length
        if is_lost(length):
            return


def is_lost(length: float) -> bool:
    """Return whether a signal of a mean square has died out or overflowed, in float64."""
    return not FAINTEST <= length <= LOUDEST


def require_signal(start: float) -> None:
    """Refuse what is no mean square of a signal.

    Raises:
        DomainError: It is not positive, or beyond what float64 has room for.
    """
    if is_lost(start):
        raise DomainError(
            f"start={start!r} is no mean square of a signal that enters a network; it lies between {FAINTEST:g} and "
            f"{LOUDEST:g}."
        )


def _passage(stack: Stack, length: float) -> Passage:
    """Return what a block does to a signal of a mean square."""
    weight, scale = stack.weight_variance, stack.branch_scale**2
    read = 1.0 if stack.kind in {"pre-norm", "pre-batch-norm"} else length
    slope = susceptibility(stack.function, read, weight_variance=weight)
    if stack.kind in {"batch-norm", "pre-batch-norm"}:
        branch = weight * _variance(stack.function, read)
    else:
        branch = length_map(stack.function, read, weight_variance=weight, bias_variance=stack.bias_variance)
    match stack.kind:
        case "plain":
            return Passage(length=branch, factor=slope)
        case "residual":
            return Passage(length=length + scale * branch, factor=1 + scale * slope)
        case "pre-norm" | "pre-batch-norm":
            return Passage(length=length + scale * branch, factor=1 + scale * slope / length)
        case "post-norm":
            return Passage(length=1.0, factor=(1 + scale * slope) / (length + scale * branch))
        case "batch-norm":
            require_slope(sample(stack.function, REACH * math.sqrt(read)), read)
            return Passage(length=1.0, factor=slope / branch)


def _variance(function: Function, length: float) -> float:
    """Return Var[φ(√q z)], which a batch norm behind it divides by."""
    samples = sample(function, REACH * math.sqrt(length))
    measure = samples.measure(math.sqrt(length))
    values = samples.values - float(measure @ samples.values)
    variance = float(measure @ values**2)
    if not variance > FLAT * float(measure @ samples.values**2):
        raise DomainError(
            "the function is constant wherever the signal goes, and batch norm divides by its deviation over the "
            "batch. Check which function was passed."
        )
    return variance
