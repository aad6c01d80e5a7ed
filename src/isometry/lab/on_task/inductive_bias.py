"""Whether the assumptions of somebody's own network fit its data: natural, permuted and shifted inputs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from isometry._errors import NotApplicableError
from isometry._phrases import Phrase
from isometry.anatomy.task import Task, map_tensors, tensors_in
from isometry.lab.apparatus.own_data import (
    SURE,
    OwnData,
    Schooling,
    accuracy,
    noise_of,
    own_data,
    require_classes,
    train,
)
from isometry.lab.experiment import ON_TASK, Claim, Measured, OnTask, OwnTask, Progress
from isometry.lab.figure import Figure, Series
from isometry.training.labels.learner import Learner

VECTOR_AXES, IMAGE_AXES = 2, 4  # examples by numbers; examples by channels, rows and columns
DIRECTIONS = ((0, 1), (0, -1), (1, 0), (-1, 0))
MAX_LOST = 3.0  # points beyond noise; without a bias for an order both differ by 0.8 and that
VARIANTS = ("natural", "permuted")


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnBiasSettings:
    """Settings.

    Attributes:
        max_examples: Largest number of examples, a fifth of which is held out, counts.
        num_epochs: Passes over the others, counts.
        batch_size: Examples of a step, counts.
        shift: By how many pixels held-out images are moved, counts.
    """

    max_examples: int = 1500
    num_epochs: int = 20
    batch_size: int = 50
    shift: int = 1


def measure(settings: OwnBiasSettings, own: OwnTask, progress: Progress) -> Measured:
    """Train a copy on the inputs as they are, and one on inputs in another order, the same for all examples."""
    data = own_data(own.task, most=settings.max_examples, seed=own.seed)
    require_classes(own.task, data)
    inputs = _the_input(own.task, data)
    variants = (
        _with_shifted(data, inputs, settings.shift),
        _with_inputs(data, inputs, _permuted(inputs, seed=own.seed)),
    )
    found: dict[str, Any] = {"shifted": [], "num_held_out": len(data.held_out)}
    for number, (name, variant) in enumerate(zip(VARIANTS, variants, strict=True)):
        course: list[float] = []

        def look(
            learner: Learner, epoch: int, *, here: OwnData = variant, seen: list[float] = course, number: int = number
        ) -> None:
            seen.append(accuracy(learner, here, here.held_out))
            extra = torch.arange(data.examples.count, here.examples.count)
            if len(extra) and epoch == settings.num_epochs:
                found["shifted"].append(accuracy(learner, here, extra))
            progress((number + epoch / settings.num_epochs) / len(VARIANTS))

        schooling = Schooling(num_epochs=settings.num_epochs, batch_size=settings.batch_size, seed=own.seed)
        train(own.task, variant, schooling, look=look)
        found[name] = course
    return found


def judge(_settings: OwnBiasSettings, measured: Sequence[Measured]) -> tuple[Claim, ...]:
    """Say whether the order of the inputs, on which the architecture counts, is the one that it learns from best."""
    permuted, natural = ([each[name][-1] for each in measured] for name in ("permuted", "natural"))
    noise = noise_of(permuted, natural, [each["num_held_out"] for each in measured])
    return (
        Claim(
            text=Phrase("inputs in their own order are learned as well as in any: the architecture suits them"),
            measured=fmean(permuted) - fmean(natural),
            high=MAX_LOST + SURE * noise,
            unit="points",
        ),
    )


def draw(settings: OwnBiasSettings, measured: Sequence[Measured]) -> tuple[Figure, ...]:
    """Draw accuracy on held-out examples over the epochs, and at the end on shifted ones."""
    curves = [
        Series(name=Phrase("{name} inputs", name=Phrase(name)), x=range(len(each[name])), y=each[name])
        for name in VARIANTS
        for each in measured
    ]
    points = [
        Series(
            name=Phrase("natural, held-out images shifted by {pixels}", pixels=settings.shift),
            x=(settings.num_epochs,),
            y=each["shifted"],
            mark="points",
        )
        for each in measured
        if each["shifted"]
    ]
    return (
        Figure(
            key="accuracy",
            title="Inputs in their own order and in another",
            x_axis="epoch",
            y_axis="accuracy on held-out examples, %",
            series=(*curves, *points),
        ),
    )


def _the_input(task: Task, data: OwnData) -> Tensor:
    """Return the one tensor of images or vectors among the inputs.

    Raises:
        NotApplicableError: If there is none, or more than one.
    """
    found = [tensor for tensor in tensors_in(data.examples.inputs) if tensor.is_floating_point()]
    if len(found) != 1 or found[0].ndim not in {VECTOR_AXES, IMAGE_AXES}:
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in tensors_in(data.examples.inputs))
        raise NotApplicableError(
            Phrase(
                "{model} takes inputs of shape {shapes}, and this experiment reorders the numbers of one: it needs one "
                "floating tensor, of vectors (examples, numbers) or of images (examples, channels, rows, columns).",
                model=type(task.model).__name__,
                shapes=shapes,
            )
        )
    return found[0]


def _permuted(inputs: Tensor, *, seed: int) -> Tensor:
    """Return inputs whose places are in another order, one for all examples and channels."""
    places = inputs.flatten(2) if inputs.ndim == IMAGE_AXES else inputs
    order = torch.randperm(places.shape[-1], generator=torch.Generator().manual_seed(seed)).to(inputs.device)
    return places[..., order].reshape(inputs.shape)


def _shifted(images: Tensor, rows: int, columns: int) -> Tensor:
    """Return images moved by some pixels, their edges drawn out."""
    reach = max(abs(rows), abs(columns))
    wide = functional.pad(images, (reach,) * 4, mode="replicate")
    return wide.roll((rows, columns), (2, 3))[..., reach:-reach, reach:-reach]


def _with_inputs(data: OwnData, inputs: Tensor, others: Tensor) -> OwnData:
    """Return a data set with another tensor in the place of its own."""
    changed = map_tensors(data.examples.inputs, lambda tensor: others if tensor is inputs else tensor)
    return replace(data, examples=replace(data.examples, inputs=changed))


def _with_shifted(data: OwnData, inputs: Tensor, shift: int) -> OwnData:
    """Return a data set with its held-out images behind all others, moved to each side; vectors have no sides."""
    if inputs.ndim != IMAGE_AXES or not shift:
        return data
    rows = data.held_out.to(inputs.device)
    moved = [_shifted(inputs[rows], down * shift, right * shift) for down, right in DIRECTIONS]

    def longer(tensor: Tensor) -> Tensor:
        repeated = [tensor[data.held_out.to(tensor.device)]] * len(DIRECTIONS)
        return torch.cat([tensor, *(moved if tensor is inputs else repeated)])

    examples = data.examples
    extended = replace(examples, inputs=map_tensors(examples.inputs, longer), targets=longer(examples.targets))
    return replace(data, examples=extended)


ON_TASK.add("inductive-bias")(
    OnTask(
        question=Phrase("Does this network learn its inputs better in their own order than in another?"),
        settings=OwnBiasSettings(),
        measure=measure,
        judge=judge,
        draw=draw,
    )
)
