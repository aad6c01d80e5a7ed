"""How lazily somebody's own network trains: how far its tangent kernel moves, and whether it turns to the targets."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import torch
from torch import Tensor
from torch.nn import functional

from isometry._errors import LabError
from isometry._phrases import Phrase
from isometry.anatomy.task import Task
from isometry.lab.experiment import ON_TASK, Claim, Measured, OnTask, OwnTask, Progress
from isometry.lab.figure import Figure, Series
from isometry.lab.own_data import OwnData, Schooling, own_data, train
from isometry.probes.tangent.kernel import tangent_kernel
from isometry.probes.tangent.laziness import alignment, drift
from isometry.training.labels.learner import Learner

MAX_OUTPUTS = 100  # numbers of an answer; the kernel has as many rows for every example
MAX_FALL = 0.1  # of the alignment, which differs by 0.04 between draws of 48 examples; two such, and a little more
COUNTED = ("drift", "turn", "alignment", "weights")


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnKernelSettings:
    """Settings.

    Attributes:
        num_examples: Between which the kernel is taken, counts.
        max_examples: Largest number of examples, a fifth of which is held out, counts.
        num_epochs: Passes over the others, counts.
        batch_size: Examples of a step, counts.
    """

    num_examples: int = 48
    max_examples: int = 1000
    num_epochs: int = 16
    batch_size: int = 50

    @property
    def recorded(self) -> list[int]:
        """Epochs after which the kernel is taken: 0, powers of 2 and the last."""
        powers = [2**power for power in range(self.num_epochs.bit_length())]
        return sorted({0, *(power for power in powers if power < self.num_epochs), self.num_epochs})


def measure(settings: OwnKernelSettings, own: OwnTask, progress: Progress) -> Measured:
    """Train a copy, and take its kernel after some of the epochs."""
    data = own_data(own.task, most=settings.max_examples, seed=own.seed)
    rows = data.train[: settings.num_examples]
    targets = _targets(own.task, data, rows)
    kernels: list[Tensor] = []
    weights: list[Tensor] = []
    found: dict[str, list[float]] = {name: [] for name in COUNTED}

    def look(learner: Learner, epoch: int) -> None:
        if epoch in settings.recorded:
            kernel, weight = _kernel(learner, data, rows), _weights(learner)
            kernels[:] = kernels or [kernel]
            weights[:] = weights or [weight]
            between = torch.einsum("icjc->ij", kernel)
            found["drift"].append(drift(kernels[0], kernel))
            found["turn"].append(drift(kernels[0] / kernels[0].norm(), kernel / kernel.norm()))
            found["alignment"].append(alignment(between, targets))
            found["weights"].append(float((weight - weights[0]).norm() / weights[0].norm()))
        progress(epoch / settings.num_epochs)

    schooling = Schooling(num_epochs=settings.num_epochs, batch_size=settings.batch_size, seed=own.seed)
    train(own.task, data, schooling, look=look)
    return found


def judge(_settings: OwnKernelSettings, measured: Sequence[Measured]) -> tuple[Claim, ...]:
    """Say whether training turns the kernel to the targets or away from them; how far it moves is no fault."""
    return (
        Claim(
            text=Phrase("training does not turn the tangent kernel away from the targets"),
            measured=fmean(each["alignment"][-1] - each["alignment"][0] for each in measured),
            low=-MAX_FALL,
            unit="alignment",
        ),
    )


def draw(settings: OwnKernelSettings, measured: Sequence[Measured]) -> tuple[Figure, ...]:
    """Draw how far kernel and weights move, and how well the kernel suits the targets."""
    names = {"drift": "kernel", "turn": "kernel but for its size", "weights": "weights"}
    moved = [
        Series(name=name, x=settings.recorded[1:], y=each[key][1:]) for key, name in names.items() for each in measured
    ]
    suited = [Series(name="kernel and targets", x=settings.recorded, y=each["alignment"]) for each in measured]
    return (
        Figure(
            key="drift",
            title="How far kernel and weights move: near 0 training is lazy",
            x_axis="epoch",
            y_axis="distance from the start over its size",
            y_scale="log",
            series=tuple(moved),
        ),
        Figure(
            key="alignment",
            title="How well the kernel suits the targets",
            x_axis="epoch",
            y_axis="centred alignment, from -1 to 1",
            series=tuple(suited),
        ),
    )


def _targets(task: Task, data: OwnData, rows: Tensor) -> Tensor:
    """Return a row of numbers for each example: classes one-hot.

    Raises:
        LabError: If an example has many of them.
    """
    targets = data.examples.targets[rows.to(data.examples.targets.device)].cpu()
    if data.kind == "classes" and not targets.is_floating_point() and targets.ndim == 1:
        return functional.one_hot(targets.clamp(min=0).long()).double()
    if targets[0].numel() > MAX_OUTPUTS or not targets.is_floating_point():
        raise LabError(
            f"{type(task.model).__name__} has targets of shape {tuple(targets.shape)}, and the kernel is between "
            f"examples with one class, or at most {MAX_OUTPUTS} numbers, each. Run memorise or early-stopping instead."
        )
    return targets.reshape(len(targets), -1).double()


def _kernel(learner: Learner, data: OwnData, rows: Tensor) -> Tensor:
    """Return the tangent kernel of a copy in eval mode."""
    model = learner.training.task.model
    modes = {module: module.training for module in model.modules()}
    model.eval()
    kernel = tangent_kernel(model, data.examples.take(rows).inputs).cpu()
    for module, mode in modes.items():
        module.training = mode
    return kernel


def _weights(learner: Learner) -> Tensor:
    parameters = (each for each in learner.training.task.model.parameters() if each.requires_grad)
    return torch.cat([each.detach().double().flatten().cpu() for each in parameters])


ON_TASK.add("kernels")(
    OnTask(
        question=Phrase("How lazily does this network train: does its tangent kernel stay put or turn to the targets?"),
        settings=OwnKernelSettings(),
        measure=measure,
        judge=judge,
        draw=draw,
    )
)
