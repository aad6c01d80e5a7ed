"""Training of a linearised network under squared error, in closed form at any time.

With kernel Θ and outputs f₀ at the start, gradient flow on ½ Σ (f - y)² gives f(t) = y + exp(-Θ t) (f₀ - y) on the
training inputs, and f(t) = f₀ - Θ_* Θ⁻¹ (1 - exp(-Θ t)) (f₀ - y) elsewhere.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isometry._errors import DomainError, ShapeError

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Spectrum:
    """A training kernel taken apart, so that predictions at many times cost little.

    Attributes:
        values: Eigenvalues, ascending, in units of the kernel; those below 0 by rounding are 0.
        vectors: Eigenvectors, (n, n), one a column.
    """

    values: FloatArray
    vectors: FloatArray

    @property
    def largest_rate(self) -> float:
        """The learning rate at which gradient descent on ½ Σ (f - y)² still is stable: 2 over the largest value."""
        return 2 / float(self.values[-1])


def spectrum_of(kernel: FloatArray) -> Spectrum:
    """Take a symmetric positive kernel apart.

    Args:
        kernel: Between all training inputs, (n, n).

    Returns:
        Its eigenvalues and eigenvectors.

    Raises:
        ShapeError: If it is not square.
        DomainError: If it is not symmetric, not finite or not positive.
    """
    if kernel.ndim != 2 or kernel.shape[0] != kernel.shape[1]:  # noqa: PLR2004 - rows and columns
        raise ShapeError(f"a kernel of shape {kernel.shape} was given; the one between training inputs is square.")
    scale = float(np.abs(kernel).max(initial=0.0))
    if not math.isfinite(scale):
        raise DomainError(
            "the kernel is not finite. Check the scale of the inputs, whose squares and their products must be below "
            "1e308, and that none is NaN."
        )
    if not np.allclose(kernel, kernel.T, atol=1e-8 * scale):
        raise DomainError("the kernel is not symmetric; give the one of training inputs with themselves.")
    values, vectors = np.linalg.eigh((kernel + kernel.T) / 2)
    if values[-1] <= 0 or values[0] < -1e-6 * values[-1]:
        raise DomainError(
            f"the kernel has eigenvalues from {values[0]:.3g} to {values[-1]:.3g}; a kernel has none below 0. "
            "Check that it was computed in float64."
        )
    return Spectrum(np.maximum(values, 0.0), vectors)


def flow_weights(spectrum: Spectrum, targets: FloatArray, *, time: float = math.inf, ridge: float = 0.0) -> FloatArray:
    """Return the weights α of the training inputs, so that Θ_* α predicts from outputs of 0 at the start.

    α = Θ⁻¹ (1 - exp(-Θ t)) y, or (Θ + λ)⁻¹ y where training was not cut short

    Directions in which Θ is 0 but for rounding get no weight: no input's kernel with the training inputs has a part
    there.

    Args:
        spectrum: Of the training kernel Θ.
        targets: y, (n, outputs).
        time: Learning rate times steps of gradient descent on ½ Σ (f - y)², in [0, inf].
        ridge: λ, in units of the kernel, at least 0; for `time` without end alone.

    Returns:
        The weights, (n, outputs).

    Raises:
        DomainError: If time or ridge is negative, or both are given.

    Source:
        Jacot et al. 2018, arXiv:1806.07572, section 5; Lee et al. 2019, arXiv:1902.06720, eqs. 9 to 11.
    """
    if not time >= 0 or not ridge >= 0 or (ridge and not math.isinf(time)):
        raise DomainError(f"time={time}, ridge={ridge}: neither is below 0, and a ridge is for a time without end.")
    values = spectrum.values
    tiny = np.finfo(np.float64).eps * len(values) * values[-1]
    safe = np.maximum(values, tiny)
    if math.isinf(time):
        factors = np.where(values + ridge > tiny, 1 / np.maximum(values + ridge, tiny), 0.0)
    else:
        factors = np.where(values > tiny, -np.expm1(-safe * time) / safe, 0.0)
    return spectrum.vectors @ (factors[:, None] * (spectrum.vectors.T @ targets))
