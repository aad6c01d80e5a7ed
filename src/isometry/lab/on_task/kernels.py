"""How lazily somebody's own network trains: how far its tangent kernel moves, and whether it turns to the targets."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean

from isometry._errors import NotApplicableError
from isometry._phrases import Phrase
from isometry.anatomy.task import Batch, Task, tensors_in
from isometry.lab.experiment import ON_TASK, Claim, Measured, OnTask, OwnTask, Progress
from isometry.lab.figure import Figure, Series
from isometry.lab.lazy import laziness
from isometry.probes.tangent.kernel import DEFAULT_BYTES

# Of the alignment, which differs by 0.04 between draws of 48 examples: two such, and a little more. Within the first
# tens of steps it dipped by up to 0.13 in networks that ended above their start, so fewer steps say nothing.
MAX_FALL = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnKernelSettings:
    """Settings, as for `laziness`.

    Attributes:
        num_steps: Of the optimiser, counts.
        num_looks: At the kernel after the first step, counts.
        max_examples: Between which the kernel is taken, counts.
        max_bytes: Memory that the kernel may take beside its result, bytes.
    """

    num_steps: int = 200
    num_looks: int = 8
    max_examples: int = 64
    max_bytes: int = DEFAULT_BYTES


def measure(settings: OwnKernelSettings, own: OwnTask, progress: Progress) -> Measured:
    """Train a copy for some steps, and look at its kernel in between."""
    _require_rows(own.task)
    found = laziness(
        own.task,
        steps=settings.num_steps,
        looks=settings.num_looks,
        max_examples=settings.max_examples,
        max_bytes=settings.max_bytes,
        seed=own.seed,
        on_progress=progress,
    )
    rows = [asdict(look) for look in found.looks]
    return {name: [row[name] for row in rows] for name in rows[0]}


def _require_rows(task: Task) -> None:
    """Refuse inputs between whose rows there is no kernel.

    Raises:
        NotApplicableError: If only the task's own step knows them, or they have not as many rows each, one an example.
    """
    if not isinstance(task.batch, Batch):
        raise NotApplicableError(
            Phrase(
                "the task of {model} has a batch that its own step reads, and this experiment calls the model "
                "itself: it needs inputs. Let the builder return (model, inputs, targets, loss).",
                model=type(task.model).__name__,
            )
        )
    shapes = [tuple(tensor.shape) for tensor in tensors_in(task.batch.inputs) if tensor.ndim]
    if not shapes:
        raise NotApplicableError(
            Phrase(
                "{model} takes inputs without a tensor that has rows, one an example, and this experiment compares "
                "examples. Let the builder return tensors; torch.from_numpy makes them of arrays.",
                model=type(task.model).__name__,
            )
        )
    if len({shape[0] for shape in shapes}) > 1:
        raise NotApplicableError(
            Phrase(
                "{model} takes inputs of shape {shapes}, and this experiment compares examples: it needs a row an "
                "example in each. What all examples share, such as a mask, goes into a module around the model.",
                model=type(task.model).__name__,
                shapes=", ".join(map(str, shapes)),
            )
        )


def judge(_settings: OwnKernelSettings, measured: Sequence[Measured]) -> tuple[Claim, ...]:
    """Say whether training turns the kernel to the targets or away from them; how far it moves is no fault."""
    if any(None in each["alignment"] for each in measured):
        return ()  # targets that are neither classes nor numbers, or all alike
    return (
        Claim(
            text=Phrase("training does not turn the tangent kernel away from the targets"),
            measured=fmean(each["alignment"][-1] - each["alignment"][0] for each in measured),
            low=-MAX_FALL,
            unit="alignment",
        ),
    )


def draw(_settings: OwnKernelSettings, measured: Sequence[Measured]) -> tuple[Figure, ...]:
    """Draw how far kernel and weights move, and how well the kernel suits the targets."""
    names = {"kernel_drift": "kernel", "weight_drift": "weights"}
    moved = Figure(
        key="drift",
        title="How far kernel and weights move: near 0 training is lazy",
        x_axis="step",
        y_axis="distance from the start over its size",
        x_scale="log",
        y_scale="log",
        series=tuple(
            Series(name=name, x=each["step"][1:], y=each[key][1:])
            for key, name in names.items()
            for each in measured
            if None not in each[key]  # of what starts at 0
        ),
    )
    suited = [each for each in measured if None not in each["alignment"]]
    if not suited:
        return (moved,)
    alignment = Figure(
        key="alignment",
        title="How well the kernel suits the targets",
        x_axis="step",
        y_axis="centred alignment, from -1 to 1",
        series=tuple(Series(name="kernel and targets", x=each["step"], y=each["alignment"]) for each in suited),
    )
    return moved, alignment


ON_TASK.add("kernels")(
    OnTask(
        question=Phrase("How lazily does this network train: does its tangent kernel stay put or turn to the targets?"),
        settings=OwnKernelSettings(),
        measure=measure,
        judge=judge,
        draw=draw,
    )
)
