"""How many units of each layer of somebody's own network differ, from its own start and from one constant."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

import torch
from torch import Tensor, nn

from isometry._errors import DomainError, NotApplicableError
from isometry._phrases import Phrase
from isometry.anatomy.names import names_of
from isometry.anatomy.preserve import preserved, seeded
from isometry.anatomy.task import Task, with_model
from isometry.lab.apparatus.distinct import num_distinct
from isometry.lab.apparatus.recorded import doubling
from isometry.lab.experiment import ON_TASK, Claim, Measured, OnTask, OwnTask, Progress
from isometry.lab.figure import Figure, Series
from isometry.planning.roles import Slot
from isometry.planning.subject import subject_of
from isometry.probes.evidence import gather
from isometry.probes.training import Training, copied
from isometry.probes.twins import EQUAL, TwinTable, hidden_units

DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
MAX_UNITS = 256  # of a layer that are compared
MIN_DISTINCT = 99.0  # per cent of a layer's units; two of a wide layer may be dead and alike
OWN, CONSTANT, DROPPED = "own", "constant", "dropout"
NAMES = {OWN: "own start", CONSTANT: "one constant", DROPPED: "one constant, with dropout"}


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnSymmetrySettings:
    """Settings.

    Attributes:
        num_steps: Of the optimiser on the task's batch, counts.
        learning_rate: Of gradient descent from the constant start; the own start has the task's optimiser.
    """

    num_steps: int = 16
    learning_rate: float = 0.1

    def __post_init__(self) -> None:
        if not self.learning_rate > 0:
            raise DomainError(f"learning_rate={self.learning_rate!r}: a positive rate is needed.")

    @property
    def recorded(self) -> list[int]:
        """Steps after which units are compared: 0, powers of 2 and the last."""
        return doubling(self.num_steps)


def measure(settings: OwnSymmetrySettings, own: OwnTask, progress: Progress) -> Measured:
    """Train copies from each start for some steps, and count the distinct units of each layer."""
    constant = _at_one_constant(own)
    tasks = {OWN: own.task, CONSTANT: with_model(constant, copied(constant.model).eval())}
    if _has_dropout(own.task, seed=own.seed):
        tasks[DROPPED] = constant
    found: dict[str, Any] = {}
    for number, (name, task) in enumerate(tasks.items()):
        is_own = name == OWN
        started = task if is_own else replace(task, optimizer_factory=_descent(settings.learning_rate))

        def tell(share: float, *, number: int = number) -> None:
            progress((number + share) / len(tasks))

        found[name] = _train(started, settings, seed=own.seed, tell=tell)
    return found


def judge(_settings: OwnSymmetrySettings, measured: Sequence[Measured]) -> tuple[Claim, ...]:
    """Say whether the own start tells all units apart, and that no step does where the start does not."""
    shares = [100 * layer["distinct"][-1] / layer["num_units"] for each in measured for layer in each[OWN].values()]
    claims = [
        Claim(
            text=Phrase("from its own start every layer's units go their own ways"),
            measured=min(shares),
            low=MIN_DISTINCT,
            unit="%",
        ),
        Claim(
            text=Phrase("from one constant gradient descent leaves a layer's units one"),
            measured=max(min(layer["distinct"][-1] for layer in each[CONSTANT].values()) for each in measured),
            high=1,
            unit="distinct",
        ),
    ]
    dropped = [each for each in measured if DROPPED in each]
    if dropped:
        claims.append(
            Claim(
                text=Phrase("from there its dropout parts some"),
                measured=min(max(layer["distinct"][-1] for layer in each[DROPPED].values()) for each in dropped),
                low=2,
                unit="distinct",
            )
        )
    return tuple(claims)


def draw(settings: OwnSymmetrySettings, measured: Sequence[Measured]) -> tuple[Figure, ...]:
    """Draw the share of distinct units by layer at the end, and their mean over the steps."""
    ends = [
        Series(
            name=name,
            x=range(1, len(each[key]) + 1),
            y=[100 * layer["distinct"][-1] / layer["num_units"] for layer in each[key].values()],
            mark="points",
        )
        for key, name in NAMES.items()
        for each in measured
        if key in each
    ]
    courses = [
        Series(
            name=name,
            x=settings.recorded,
            y=[
                100 * fmean(layer["distinct"][place] / layer["num_units"] for layer in each[key].values())
                for place in range(len(settings.recorded))
            ],
        )
        for key, name in NAMES.items()
        for each in measured
        if key in each
    ]
    return (
        Figure(
            key="layers",
            title=Phrase("Distinct units of each layer after {steps} steps", steps=settings.num_steps),
            x_axis="hidden layer, in the order of execution",
            y_axis="distinct units, %",
            series=tuple(ends),
        ),
        Figure(
            key="steps",
            title="Distinct units, mean over the hidden layers",
            x_axis="step",
            y_axis="distinct units, %",
            series=tuple(courses),
        ),
    )


def _at_one_constant(own: OwnTask) -> Task:
    """Return the task with a copy in which all numbers of a parameter are alike, but one number an output of a head.

    With all of a head alike too, no gradient would pass it.
    """
    subject = subject_of(own.task, seed=own.seed)
    task = with_model(own.task, copied(own.task.model))
    tensors = names_of(task.model).parameters
    with torch.no_grad():
        for slot in subject.slots:
            for tensor in tensors[slot.name]:
                if tensor.is_floating_point():
                    tensor.copy_(_alike(slot, tensor))
    return task


def _alike(slot: Slot, tensor: Tensor) -> Tensor:
    """Return one over the fan-in for weights, from minus to plus that for a head, and the mean for all else."""
    if not slot.is_weight or slot.fans is None:
        return tensor.mean().expand(tensor.shape)
    axis = slot.layer.layout.out_axis if slot.is_head and slot.layer is not None else None
    if axis is None:
        return tensor.new_full(tensor.shape, 1 / slot.fans.into)
    rows = torch.linspace(-1, 1, tensor.shape[axis]).to(tensor) / slot.fans.into
    return rows.reshape([-1 if place == axis else 1 for place in range(tensor.ndim)]).expand(tensor.shape)


def _has_dropout(task: Task, *, seed: int) -> bool:
    """Say whether a module drops something, and other random numbers give another loss; a step may draw noise too."""
    if not any(_drops(module) for module in task.model.modules()):
        return False
    found: list[float] = []
    with preserved(task.model, seed=seed) as guard:
        training = Training(task, task.model, guard)
        for draw in (seed, seed + 1):
            with seeded(task.model, draw):
                found.append(float(training.loss(task.batch).detach()))
    return found[0] != found[1]


def _drops(module: nn.Module) -> bool:
    """Say whether it is a dropout, or an attention or recurrent module with one inside, that is on."""
    rate: object = module.p if isinstance(module, DROPOUTS) else getattr(module, "dropout", None)
    return module.training and isinstance(rate, int | float) and rate > 0


def _descent(rate: float) -> Any:
    def make(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, lr=rate)

    return make


def _train(task: Task, settings: OwnSymmetrySettings, *, seed: int, tell: Callable[[float], None]) -> dict[str, Any]:
    """Return for every hidden layer the number of its units, and of the distinct ones after some steps."""
    found: dict[str, Any] = {}
    with preserved(task.model, seed=seed) as guard:
        training = Training(task, task.model, guard)
        for step in range(settings.num_steps + 1):
            if step in settings.recorded:
                for name, (count, distinct) in _counted(training.task, seed=seed).items():
                    found.setdefault(name, {"num_units": count, "distinct": []})["distinct"].append(distinct)
            with seeded(training.task.model, 1_000_003 * seed + step):
                training.step(task.batch)
            tell((step + 1) / (settings.num_steps + 1))
    return found


def _by_unit(rows: Tensor, parts: int) -> Tensor:
    """Return a row for each unit, of a weight whose rows are several matrices, such as the gates of an LSTM."""
    if parts < 2 or len(rows) % parts:  # noqa: PLR2004 - one matrix
        return rows
    return rows.reshape(parts, len(rows) // parts, -1).transpose(0, 1).flatten(1)


def _counted(task: Task, *, seed: int) -> dict[str, tuple[int, int]]:
    """Return how many units of each hidden layer were compared, and how many of them differ."""
    found: dict[str, tuple[int, int]] = {}
    with torch.no_grad():
        for layer, weights, _ in hidden_units(gather(task, [TwinTable], seed=seed)):
            rows = _by_unit(weights, layer.layout.parts)[:MAX_UNITS].double()
            found[layer.name] = len(rows), num_distinct(rows, equal=EQUAL)
    if not found:
        raise NotApplicableError(
            Phrase(
                "{model} has no hidden layer whose weight is one parameter, and this experiment counts the units of "
                "such layers. isometry check says what it reads of the network.",
                model=type(task.model).__name__,
            )
        )
    return found


ON_TASK.add("symmetry")(
    OnTask(
        question=Phrase("Do the units of this network differ, and what becomes of them if they start alike?"),
        settings=OwnSymmetrySettings(),
        measure=measure,
        judge=judge,
        draw=draw,
    )
)
