"""What weights are drawn from: frozen values that draw nothing themselves."""

import math
from dataclasses import dataclass

from isometry._errors import DomainError


@dataclass(frozen=True, slots=True)
class Normal:
    """Gaussian numbers; both parameters in units of the weight, `std` in [0, inf)."""

    std: float
    mean: float = 0.0

    def __post_init__(self) -> None:
        _check(self, is_valid=0 <= self.std < math.inf and math.isfinite(self.mean), need="0 <= std < inf")

    def __str__(self) -> str:
        return f"N({self.mean:.3g}, {self.std:.3g}²)"


@dataclass(frozen=True, slots=True)
class Uniform:
    """Evenly spread numbers of [low, high), in units of the weight."""

    low: float
    high: float

    def __post_init__(self) -> None:
        _check(self, is_valid=-math.inf < self.low <= self.high < math.inf, need="-inf < low <= high < inf")

    @property
    def std(self) -> float:
        """Standard deviation, in units of the weight."""
        return (self.high - self.low) / math.sqrt(12)

    def __str__(self) -> str:
        return f"U(±{self.high:.3g})" if self.low == -self.high else f"U({self.low:.3g}, {self.high:.3g})"


@dataclass(frozen=True, slots=True)
class Constant:
    """One number for every weight."""

    value: float

    def __post_init__(self) -> None:
        _check(self, is_valid=math.isfinite(self.value), need="a finite value")

    @property
    def std(self) -> float:
        """Standard deviation, in units of the weight: 0."""
        return 0.0

    def __str__(self) -> str:
        return f"{self.value:.3g}"


@dataclass(frozen=True, slots=True)
class Orthogonal:
    """Matrices with orthonormal rows or columns, every such matrix equally likely, times a factor.

    With r rows (outputs) and c columns (inputs) the factor is gain · max(1, sqrt(r/c)): a unit's output has gain² times
    the mean square of its inputs, whatever the shape.

    Attributes:
        gain: Output over input root mean square, dimensionless, in [0, inf).
    """

    gain: float = 1.0

    def __post_init__(self) -> None:
        _check(self, is_valid=0 <= self.gain < math.inf, need="0 <= gain < inf")

    def std_for(self, num_columns: float) -> float:
        """Root mean square of an entry, in units of the weight: gain / sqrt(columns), for any number of rows."""
        return self.gain / math.sqrt(num_columns)

    def scale(self, num_rows: int, num_columns: int) -> float:
        """Factor on the matrix with orthonormal rows or columns, dimensionless."""
        return self.gain * max(1.0, math.sqrt(num_rows / num_columns))

    def __str__(self) -> str:
        return f"orthogonal × {self.gain:.3g}"


Distribution = Normal | Uniform | Constant | Orthogonal


def _check(distribution: Distribution, *, is_valid: bool, need: str) -> None:
    if not is_valid:
        raise DomainError(
            f"{distribution!r} is no distribution; it needs {need}. Check the fans and the gain it was computed from."
        )
