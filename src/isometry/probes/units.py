"""Observer of single units: which are silent on every sample, of this batch and of others of the data set."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from jaxtyping import Bool
from torch import Tensor

from isometry.anatomy.record import record
from isometry.anatomy.recorder import Call
from isometry.anatomy.tape import Operation
from isometry.anatomy.task import Task, tensors_in
from isometry.probes.evidence import Evidence
from isometry.probes.statistics import MAKES_ZEROS, MIN_ROWS, has_floats, other_axes, to_floats, unit_axis

MIN_AXES = 2  # samples and units
FEW_ROWS = 4  # samples and places; enough to call a layer dead of which almost all units are silent
MANY_OUTPUTS = 256  # numbers; so many are not almost all zero by chance on few rows
SUSPICIOUS_SHARE = 0.5  # of a layer's units; from there on other batches are asked, and sound layers stay below
MORE_BATCHES = 3  # counts; a unit that wakes on one sample in a thousand is seen among 4 x 256 with 64 %


@dataclass(slots=True)
class UnitActivity:
    """Observes which units of an activation are zero on every sample and place."""

    silent: dict[int, Bool[Tensor, " units"]] = field(default_factory=dict)

    def __call__(self, operation: Operation, call: Call) -> None:
        """Note the units that no sample wakes."""
        output = call.outputs[0].detach()
        if operation.name not in MAKES_ZEROS or output.ndim < MIN_AXES or not has_floats(output):
            return
        axis = unit_axis(operation, output)
        num_rows = output.numel() // output.shape[axis]
        if num_rows >= MIN_ROWS or (num_rows >= FEW_ROWS and output.numel() >= MANY_OUTPUTS):
            rows = other_axes(output, axis)  # two extremes take a fifth of the time of comparing each number with zero
            self.silent[operation.index] = output.amax(dim=rows).eq(0) & output.amin(dim=rows).eq(0)

    def silent_shares(self) -> dict[int, float]:
        """Return the share of silent units in [0, 1] by the operation's index."""
        return _shares(self.silent)


def silent_shares_over_data(evidence: Evidence) -> dict[int, float]:
    """Return the share of units, by the operation's index, that no sample wakes, of several batches where needed.

    More batches are drawn if many units are silent on the first, and the task has a data set to draw from.
    """
    silent = dict(evidence.observer(UnitActivity).silent)
    shares = _shares(silent)
    first = next(tensors_in(evidence.task.batch), None)
    if evidence.task.examples is None or first is None or max(shares.values(), default=0.0) <= SUSPICIOUS_SHARE:
        return shares
    if len(first) >= evidence.task.examples.count:
        return shares
    for seed in range(evidence.seed + 1, evidence.seed + 1 + MORE_BATCHES):
        batch = evidence.task.examples.random_batch(len(first), seed=seed)
        again = _silent_units(replace(evidence.task, batch=batch), seed=seed)
        for index, units in silent.items():
            if index in again and again[index].shape == units.shape:
                silent[index] = units & again[index]
    return _shares(silent)


def _silent_units(task: Task, *, seed: int) -> dict[int, Tensor]:
    watch = UnitActivity()
    record(task, [watch], seed=seed)
    return watch.silent


def _shares(silent: Mapping[int, Tensor]) -> dict[int, float]:
    return dict(zip(silent, to_floats([units.double().mean() for units in silent.values()]), strict=True))
