"""How many connections a unit has: the two counts on which every variance rule rests."""

import math
from dataclasses import dataclass

from isometry._errors import DomainError


@dataclass(frozen=True, slots=True)
class Fans:
    """Connections of one unit of a layer.

    They are floats because a strided or transposed convolution connects its units unequally: these are their means.

    Attributes:
        into: Connections into one output unit (fan-in), counts, in (0, inf).
        out: Connections out of one input unit (fan-out), counts, in (0, inf).
    """

    into: float
    out: float

    def __post_init__(self) -> None:
        for name, count in (("into", self.into), ("out", self.out)):
            if not 0 < count < math.inf:
                raise DomainError(
                    f"fans.{name}={count!r} is no number of connections; a unit has more than 0 and finitely many. "
                    "Check the shape of the weight for an empty axis."
                )

    @property
    def average(self) -> float:
        """Arithmetic mean of fan-in and fan-out, counts."""
        return (self.into + self.out) / 2
