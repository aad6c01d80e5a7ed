"""The value Change: the smallest change to a task that should remove a finding, made on a copy."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from isometry._phrases import Phrase
from isometry.anatomy.task import Task
from isometry.probes.evidence import Evidence
from isometry.report.finding import Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change to a task, for an experiment.

    Attributes:
        words: The change as it was made, a noun phrase such as `the layer '2' drawn anew`.
        make: Makes the changed task; the model of the old one is not touched.
        rate_factor: What the learning rates are multiplied by, dimensionless.
        is_evident: Whether the finding goes away with the change whatever its harm was, so that only what else gets
            better can confirm it.
        keeps_loss: Whether losses with and without the change are the same quantity, so that they compare.
        redrawn: Canonical names of the parameters that it draws anew.
        suggestion: The change as a line of code, empty if there is none.
    """

    words: Phrase
    make: Callable[[], Task]
    rate_factor: float = 1.0
    is_evident: bool = False
    keeps_loss: bool = True
    redrawn: frozenset[str] = frozenset()
    suggestion: str = ""


Changes = Callable[[Finding, Evidence], Iterator[Change]]
