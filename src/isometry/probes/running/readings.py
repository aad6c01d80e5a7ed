"""The values of a watched run: what one recorded step measured, what an evaluation gave, and the run so far."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

Entry = TypeVar("Entry")
MAX_READINGS = 512  # recorded steps that stay in memory; the file has them all
MAX_POINTS = 4096  # losses that stay in memory before every second one is dropped


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerReading:
    """One layer in one recorded step; None where it was not measured.

    Attributes:
        name: Canonical name of the module or parameter, as in the table of `check`.
        kind: The operation, such as `linear` or `conv2d`; `attention` for scaled dot products.
        activation_rms: Root mean square of the layer's output, over the rows that were looked at.
        zero_share: Share of the following activation's outputs that are exactly zero, in [0, 1].
        saturated_share: Share of the following activation's outputs whose slope is almost gone, in [0, 1].
        dead_share: Share of the rectifier's units that were zero on every row of the last `window` recorded steps, in
            [0, 1]; None before there were so many.
        logit_max: Largest size of an attention's logits before the softmax, dimensionless.
        difference: How far the layer's output differs between rows: norm(rows - first row) / norm(rows), dimensionless;
            0 where all rows are alike. Measured at the first layer and at the model's outputs alone, and not on a
            single row.
        is_output: Whether the model gives what the layer makes, as it is or through an activation.
    """

    name: str
    kind: str
    activation_rms: float | None = None
    zero_share: float | None = None
    saturated_share: float | None = None
    dead_share: float | None = None
    logit_max: float | None = None
    difference: float | None = None
    is_output: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterReading:
    """One parameter that the optimiser trains, in one recorded step; None where it was not measured.

    Attributes:
        name: Canonical name.
        weight_rms: Root mean square before the step.
        gradient_rms: Root mean square of the gradient that the optimiser was given; None without one.
        update_rms: Root mean square of what the optimiser's step added.
        trust_ratio: By which LARS or LAMB scaled the step, dimensionless; None for other optimisers.
        sampled: Numbers that weight and update are read from, counts; None where all are. An update that is zero on
            all of them is not known.
    """

    name: str
    weight_rms: float | None = None
    gradient_rms: float | None = None
    update_rms: float | None = None
    trust_ratio: float | None = None
    sampled: int | None = None

    @property
    def update_ratio(self) -> float | None:
        """Update over weight, dimensionless; None where the weight is zero or was not measured."""
        if self.update_rms is None or not self.weight_rms:
            return None
        return self.update_rms / self.weight_rms


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One recorded step of a run.

    Attributes:
        step: The optimiser's steps that were made, this one included; counts from 1.
        seconds: Wall time since the run began.
        losses: Of all steps since the reading before, this one last; of accumulated micro-batches the mean. A run's
            last reading may hold them alone: where it ended between two recorded steps.
        learning_rates: Of the optimiser's groups, as this step used them.
        layers: In the order of execution.
        parameters: In the order of the model.
        gradient_norm: Euclidean norm of all gradients that the optimiser was given.
        noise_scale: tr(covariance) / |gradient|^2, in examples, or in batches where `noise_unit` says so.
        noise_unit: `examples` or `batches`; where there is no noise scale, the reason.
        loss_scale: Of the gradient scaler; None without one.
        rows: Rows of a layer's output that were looked at, at most.
        nonfinite: Names of parameters whose gradient or weight is not finite.
    """

    step: int
    seconds: float
    losses: tuple[float, ...]
    learning_rates: tuple[float, ...]
    layers: tuple[LayerReading, ...] = ()
    parameters: tuple[ParameterReading, ...] = ()
    gradient_norm: float | None = None
    noise_scale: float | None = None
    noise_unit: str = ""
    loss_scale: float | None = None
    rows: int = 0
    nonfinite: tuple[str, ...] = ()

    @property
    def is_measured(self) -> bool:
        """Whether it holds more than losses."""
        return bool(self.layers or self.parameters)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What an evaluation of a run gave.

    Attributes:
        step: The optimiser's steps that were made before it, counts.
        epoch: Passes through the training data made before it; None if nobody counts them.
        metrics: From a name, such as `val_loss`, to its value.
    """

    step: int
    metrics: Mapping[str, float]
    epoch: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A step that came to numbers which are not finite.

    Attributes:
        step: The optimiser's step it happened in, counts from 1.
        during: `forward`, `loss`, `backward` or `update`.
        operation: The first operation whose result was not finite while its operands were; empty if it is not known.
        where: Canonical name of the module or parameter at it; empty if it is not known.
        action: What was done: `stop`, `skip` or `rollback`.
        restored: The step whose state was put back; None if none was.
        reason: Why the operation is not known; empty if it is.
        rank: The process that met it, where several trained together.
    """

    step: int
    during: str
    operation: str
    where: str
    action: str
    restored: int | None = None
    reason: str = ""
    rank: int = 0


@dataclass(slots=True)
class History:
    """A run so far, in bounded memory: what the rules that judge a training read.

    Attributes:
        readings: The last recorded steps, oldest first.
        losses: (step, loss) over the whole run, thinned evenly where it grew long; as they were, finite or not.
        evaluations: All evaluations, oldest first, the middle ones thinned where there are many.
        faults: Steps that came to numbers which are not finite.
        baseline: Loss of the best constant predictor, if the run knows it; else None.
    """

    readings: deque[Reading] = field(default_factory=lambda: deque(maxlen=MAX_READINGS))
    losses: list[tuple[int, float]] = field(default_factory=list[tuple[int, float]])
    evaluations: list[Evaluation] = field(default_factory=list[Evaluation])
    faults: list[Fault] = field(default_factory=list[Fault])
    baseline: float | None = None

    def add(self, entry: Reading | Evaluation | Fault) -> None:
        """Take in what was recorded."""
        match entry:
            case Reading():
                self.readings.append(entry)
                self.add_losses(entry)
            case Evaluation():
                self.evaluations = _thinned([*self.evaluations, entry])
            case Fault():
                self.faults = [*self.faults, entry][-MAX_READINGS:]

    def add_losses(self, reading: Reading) -> None:
        """Take in a reading's losses alone, where nothing else was measured."""
        first = reading.step - len(reading.losses) + 1
        self.losses.extend((first + number, loss) for number, loss in enumerate(reading.losses))
        self.losses = _thinned(self.losses)


def _thinned(entries: list[Entry]) -> list[Entry]:
    """Drop every second entry of the older half, once there are too many; the first and the newer half stay."""
    if len(entries) <= MAX_POINTS:
        return entries
    half = len(entries) // 2
    return entries[:half:2] + entries[half:]
