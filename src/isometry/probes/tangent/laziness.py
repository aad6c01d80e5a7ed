"""How lazy a network is: whether its tangent kernel stays put while it trains, and how well it suits the labels."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from isometry._errors import DomainError, ShapeError


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelSpectrum:
    """The eigenvalues of a kernel between examples.

    Attributes:
        values: Largest first, in units of the kernel.
        condition: Largest over smallest; infinite for a kernel without full rank, as far as its dtype tells.
        effective_rank: (Σ λ)² / Σ λ², in counts from 1 to the number of examples.
    """

    values: tuple[float, ...]
    condition: float
    effective_rank: float


def kernel_spectrum(kernel: Tensor) -> KernelSpectrum:
    """Return the eigenvalues of a kernel.

    Args:
        kernel: (n, n), or (n, outputs, n, outputs), which is taken as one of n · outputs rows.

    Raises:
        ShapeError: If it is not square, or empty.
        DomainError: If it is not finite.
    """
    square = _as_square(kernel).double()
    if not bool(square.isfinite().all()):
        raise DomainError("the kernel is not finite, so it has no eigenvalues. Check the model's outputs and weights.")
    values = torch.linalg.eigvalsh((square + square.T) / 2).flip(0).clamp(min=0)
    smallest = float(values[-1])
    unit = torch.finfo(kernel.dtype).eps if kernel.is_floating_point() else torch.finfo(torch.float64).eps
    rounding = unit * len(values) * float(values[0])
    condition = float(values[0]) / smallest if smallest > rounding else float("inf")
    rank = float(values.sum() ** 2 / values.square().sum()) if float(values[0]) > 0 else 0.0
    return KernelSpectrum(values=tuple(values.tolist()), condition=condition, effective_rank=rank)


def drift(start: Tensor, later: Tensor) -> float:
    """Return how far a kernel has moved: |Θ_t - Θ_0| / |Θ_0|, Frobenius norms, dimensionless.

    Near 0 the network trains lazily, as its linearisation would; from some tenths on it learns features. From a start
    of 0, as weights that begin there have, it is infinite; if nothing moves it is 0.

    Args:
        start: The kernel before training, of any shape.
        later: The kernel of the same examples later on.

    Raises:
        ShapeError: If their shapes differ.

    Source:
        Chizat, Oyallon, Bach 2019, arXiv:1812.07956; Fort et al. 2020, arXiv:2010.15110, section 3.
    """
    if start.shape != later.shape:
        raise ShapeError(
            f"kernels of shapes {tuple(start.shape)} and {tuple(later.shape)} were given; both must be equal."
        )
    before, after = start.detach().double(), later.detach().double()
    moved = float((after - before).norm())
    size = float(before.norm())
    if size:
        return moved / size
    return math.inf if moved else 0.0


def alignment(kernel: Tensor, targets: Tensor) -> float:
    """Return how well a kernel suits targets: ⟨Θ, Y Yᵀ⟩ / (|Θ| |Y Yᵀ|) of both centred, in [-1, 1].

    It is NaN where all targets are alike, as of one class alone, or all examples are to the kernel.

    Args:
        kernel: (n, n).
        targets: Predicted numbers or one-hot classes, (n, outputs).

    Raises:
        ShapeError: If there are not as many targets as rows.

    Source:
        Cortes, Mohri, Rostamizadeh 2012, Algorithms for learning kernels based on centered alignment, definition 4.
    """
    if kernel.ndim != 2 or targets.ndim != 2 or {*kernel.shape} != {len(targets)}:  # noqa: PLR2004 - rows and columns
        raise ShapeError(
            f"a kernel of shape {tuple(kernel.shape)} and targets of {tuple(targets.shape)} were given; the kernel "
            "is square, with a row of targets for each of its rows."
        )
    centred = kernel.double() - kernel.double().mean(0)
    centred = centred - centred.mean(1, keepdim=True)
    outer = targets.double() - targets.double().mean(0)
    ideal = outer @ outer.T
    sizes = centred.norm(), ideal.norm()
    rounding = torch.finfo(torch.float64).eps * len(kernel)
    if sizes[0] <= rounding * kernel.double().norm() or sizes[1] <= rounding * targets.double().square().sum():
        return math.nan
    return float((centred * ideal).sum() / (sizes[0] * sizes[1]))


def _as_square(kernel: Tensor) -> Tensor:
    if kernel.ndim == 4:  # noqa: PLR2004 - examples and outputs, twice
        kernel = kernel.reshape(kernel.shape[0] * kernel.shape[1], -1)
    if kernel.ndim != 2 or kernel.shape[0] != kernel.shape[1] or not kernel.numel():  # noqa: PLR2004 - rows and columns
        raise ShapeError(
            f"a kernel of shape {tuple(kernel.shape)} was given; one of examples with themselves is square, with "
            "at least one row."
        )
    return kernel
