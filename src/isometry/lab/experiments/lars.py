"""Large batches in as many epochs: LARS beside momentum and Adam, each at the best of its own learning rates."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

from isometry._errors import DomainError
from isometry._phrases import Phrase
from isometry.lab.apparatus.averages import mean_curve
from isometry.lab.apparatus.claims import claim_in_points
from isometry.lab.apparatus.classification import accuracy_of
from isometry.lab.apparatus.digits import CLASSES, POOLED, Digits, Parts, mnist_5k, split
from isometry.lab.experiment import EXPERIMENTS, Claim, Experiment, Measured, Progress
from isometry.lab.figure import Figure, Series
from isometry.training.optim.lars import LARS

Method = Literal["SGD", "linear rule", "LARS", "Adam"]  # the rule: SGD's best rate of small batches, times the batch's
METHODS: tuple[Method, ...] = ("SGD", "linear rule", "LARS", "Adam")
TUNED: tuple[Method, ...] = ("SGD", "LARS", "Adam")

NUM_VALID = 1000  # images by which the learning rate is chosen
GUESSING = 100 / CLASSES  # per cent
MOMENTUM = 0.9
DECAY_POWER = 2  # of the share of steps that is left, as in the paper

# Points of accuracy. Stated from seeds 10 to 12 and 3,000 images, where the gain in depth was 5.1 and more, that in a
# shallow network -0.3 to 1.2, and Adam's before LARS -0.8 and more. What counts as no lag is half of what is a gain.
MOST_SMALL, LEAST_GAIN, SHALLOW_GAIN, MOST_LOSS, LEAST_LOSS, MOST_LAG = 2.5, 3.0, (-2.5, 3.0), 2.5, 1.5, 1.5
FAILED = 50.0  # per cent: the rule's networks mostly guess


@dataclass(frozen=True, slots=True, kw_only=True)
class LarsSettings:
    """Settings.

    Attributes:
        depths: Hidden layers of ReLU, each count a network, from the shallow to the deep; two or more.
        width: Units of each, counts.
        num_train: Images, counts.
        batch_sizes: Images of a batch, counts from the smallest to the largest; two or more.
        num_epochs: Passes over the images, the same for every batch size, counts.
        warm_up: Share of the steps over which the learning rate rises from 0; it then falls to 0 as a square.
        sgd_rates: Peaks of the learning rate of gradient descent with momentum, of which the best counts.
        lars_rates: Likewise of LARS, over 1,000 the length of a step over that of the weights.
        adam_rates: Likewise of Adam.
    """

    depths: tuple[int, ...] = (2, 8)
    width: int = 64
    num_train: int = 3000
    batch_sizes: tuple[int, ...] = (100, 500, 1500)
    num_epochs: int = 20
    warm_up: float = 0.1
    sgd_rates: tuple[float, ...] = (0.018, 0.032, 0.056, 0.1, 0.18, 0.32, 0.56, 1.0)
    lars_rates: tuple[float, ...] = (1.8, 3.2, 5.6, 10.0, 18.0, 32.0, 56.0, 100.0, 180.0, 320.0)
    adam_rates: tuple[float, ...] = (0.0018, 0.0032, 0.0056, 0.01, 0.018, 0.032, 0.056)

    def __post_init__(self) -> None:
        for counts in (self.depths, self.batch_sizes):
            if len(counts) < 2 or list(counts) != sorted(set(counts)):  # noqa: PLR2004 - ends to compare
                raise DomainError(f"{counts!r} was given; depths and batch sizes rise, and are two or more.")
        if self.batch_sizes[-1] > self.num_train:
            raise DomainError(f"batches of {self.batch_sizes[-1]} were asked for from {self.num_train} images.")

    def rates(self, method: Method) -> tuple[float, ...]:
        """Return the learning rates that are tried; of the linear rule none, as its rate is found."""
        return {"SGD": self.sgd_rates, "linear rule": (), "LARS": self.lars_rates, "Adam": self.adam_rates}[method]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Course:
    """One network at several learning rates."""

    depth: int
    batch_size: int
    method: Method
    rates: tuple[float, ...]
    seed: int


@dataclass(frozen=True, slots=True)
class _Nets:
    """One network several times, as stacked weights and as parts that an optimiser steps, which share their memory."""

    weights: list[Tensor]
    parts: list[list[Tensor]]

    def outputs(self, inputs: Tensor) -> Tensor:
        """Return (networks, examples, classes)."""
        signal = inputs.expand(len(self.parts), *inputs.shape)
        for weight in self.weights[:-1]:
            signal = torch.bmm(signal, weight).relu()
        return torch.bmm(signal, self.weights[-1])

    def take_gradients(self, inputs: Tensor, labels: Tensor) -> None:
        """Give every part the gradient of its own network's mean loss."""
        losses = F.cross_entropy(self.outputs(inputs).flatten(0, 1), labels.repeat(len(self.parts)), reduction="none")
        gradients = torch.autograd.grad(losses.sum() / len(labels), self.weights)
        for index, part in enumerate(self.parts):
            for tensor, gradient in zip(part, gradients, strict=True):
                tensor.grad = gradient[index]


def measure(settings: LarsSettings, seed: int, progress: Progress) -> Measured:
    """Train every depth with every batch size under every method, all its learning rates side by side."""
    parts = split(mnist_5k(), settings.num_train, NUM_VALID)
    found: dict[str, list[list[dict[str, list[float]]]]] = {method: [] for method in METHODS}
    done, total = 0, len(METHODS) * len(settings.depths) * len(settings.batch_sizes)
    for depth in settings.depths:
        for runs in found.values():
            runs.append([])
        for batch_size in settings.batch_sizes:
            for method in METHODS:
                rates = settings.rates(method) or (_by_rule(found["SGD"][-1][0], settings, batch_size),)
                course = _Course(depth=depth, batch_size=batch_size, method=method, rates=rates, seed=seed)
                found[method][-1].append(_trained(settings, course, parts))
                done += 1
                progress(done / total)
    return found


def judge(settings: LarsSettings, measured: Sequence[Measured]) -> tuple[Claim, ...]:
    """Hold LARS against the others in the deepest and the shallowest network, at both ends of the batch sizes."""

    def at(method: Method, batch: int, depth: int = -1) -> float:
        return fmean(_best(each[method][depth][batch], "test") for each in measured)

    small = [at(method, 0) for method in TUNED]
    large = max(at(method, -1) for method in TUNED)
    return (
        claim_in_points(
            Phrase("with small batches SGD, LARS and Adam differ little"), max(small) - min(small), high=MOST_SMALL
        ),
        Claim(
            text=Phrase("with the largest SGD's rate of small ones, times the batch's size, does not train"),
            measured=at("linear rule", -1),
            high=FAILED,
            unit="%",
        ),
        claim_in_points(
            Phrase("in the deep network LARS then gains on SGD at the best rate of its own"),
            at("LARS", -1) - at("SGD", -1),
            low=LEAST_GAIN,
        ),
        claim_in_points(
            Phrase("in the shallow one little"),
            at("LARS", -1, 0) - at("SGD", -1, 0),
            low=SHALLOW_GAIN[0],
            high=SHALLOW_GAIN[1],
        ),
        claim_in_points(Phrase("Adam does as well as LARS"), at("Adam", -1) - at("LARS", -1), low=-MOST_LAG),
        claim_in_points(
            Phrase(
                "with batches of {size} LARS keeps the accuracy of small ones under SGD", size=settings.batch_sizes[1]
            ),
            at("SGD", 0) - at("LARS", 1),
            high=MOST_LOSS,
        ),
        claim_in_points(Phrase("with the largest none of the three does"), at("SGD", 0) - large, low=LEAST_LOSS),
        Claim(text=Phrase("every best rate lies inside its grid: at an end are"), measured=_num_ends(measured), high=0),
    )


def draw(settings: LarsSettings, measured: Sequence[Measured]) -> tuple[Figure, ...]:
    """Draw the accuracy over the batch size, and that of every rate in the deepest network at the largest batch."""
    places = reversed(range(len(settings.depths)))
    best = [
        series for place in places for method in TUNED for series in _curves(settings, measured, method, place=place)
    ]
    every = [
        Series(name=method, x=run["rates"], y=run["test"])
        for method in TUNED
        for run in (each[method][-1][-1] for each in measured)
    ]
    ruled = sorted({_best(each["linear rule"][-1][-1], "rates") for each in measured})
    return (
        Figure(
            key="best-rate",
            title=Phrase("Each at the best of its learning rates, {epochs} epochs", epochs=settings.num_epochs),
            x_axis="images of a batch",
            y_axis="test accuracy, %",
            x_scale="log",
            series=tuple(best),
        ),
        Figure(
            key="every-rate",
            title=Phrase(
                "{depth} hidden layers, batches of {size}", depth=settings.depths[-1], size=settings.batch_sizes[-1]
            ),
            x_axis="learning rate at its peak",
            y_axis="test accuracy, %",
            x_scale="log",
            series=tuple(every),
            x_marks=tuple((rate, "" if number else "SGD's by the linear rule") for number, rate in enumerate(ruled)),
        ),
    )


def _curves(settings: LarsSettings, measured: Sequence[Measured], method: Method, *, place: int) -> Iterator[Series]:
    """Yield a line through the means of the seeds, and in the deepest network the seeds as points."""
    found = [[_best(run, "test") for run in each[method][place]] for each in measured]
    name = Phrase("{method}, {depth} layers", method=method, depth=settings.depths[place])
    places = settings.batch_sizes
    if place == len(settings.depths) - 1:
        for accuracies in found:
            yield Series(name=name, x=places, y=accuracies, mark="points")
    yield Series(name=name, x=places, y=mean_curve(found))


def _by_rule(smallest: dict[str, list[float]], settings: LarsSettings, batch_size: int) -> float:
    """Return the best rate of the smallest batch times the ratio of batch sizes."""
    return _best(smallest, "rates") * batch_size / settings.batch_sizes[0]


def _best(run: dict[str, list[float]], key: str) -> float:
    """Return what a run has at the rate that does best on the validation images."""
    return run[key][int(np.argmax(run["validation"]))]


def _num_ends(measured: Sequence[Measured]) -> int:
    """Return in how many runs a rate beyond those that were tried might have been better."""
    runs = [run for each in measured for method in TUNED for row in each[method] for run in row]
    return sum(_best(run, "rates") in {run["rates"][0], run["rates"][-1]} for run in runs)


def _trained(settings: LarsSettings, course: _Course, parts: Parts) -> dict[str, list[float]]:
    """Train, and return the accuracy at each rate in per cent; guessing where the network gives no numbers."""
    train, generator = parts.train, torch.Generator().manual_seed(course.seed)
    nets = _nets(settings, course, generator)
    optimiser = _optimiser(course, nets)
    per_epoch = settings.num_train // course.batch_size
    num_steps, step = settings.num_epochs * per_epoch, 0
    for _ in range(settings.num_epochs):
        order = torch.randperm(settings.num_train, generator=generator)
        for rows in order[: per_epoch * course.batch_size].split(course.batch_size):
            share = min(1.0, (step + 1) / (settings.warm_up * num_steps)) * (1 - step / num_steps) ** DECAY_POWER
            for group, rate in zip(optimiser.param_groups, course.rates, strict=True):
                group["lr"] = rate * share
            nets.take_gradients(train.images[rows], train.labels[rows])
            optimiser.step()
            step += 1
    return {
        "rates": list(course.rates),
        "validation": _accuracies(nets, parts.valid),
        "test": _accuracies(nets, parts.test),
    }


def _nets(settings: LarsSettings, course: _Course, generator: torch.Generator) -> _Nets:
    """Draw one network after He, and repeat it for every rate."""
    count, sizes = len(course.rates), (POOLED**2, *[settings.width] * course.depth, CLASSES)
    weights = [
        math.sqrt((1 if out == CLASSES else 2) / into) * torch.randn(into, out, generator=generator)
        for into, out in pairwise(sizes)
    ]
    stacked = [weight.repeat(count, 1, 1).requires_grad_() for weight in weights]
    return _Nets(stacked, [[weight.detach()[index] for weight in stacked] for index in range(count)])


def _optimiser(course: _Course, nets: _Nets) -> torch.optim.Optimizer:
    groups = [{"params": part, "lr": rate} for part, rate in zip(nets.parts, course.rates, strict=True)]
    match course.method:
        case "LARS":
            return LARS(groups, lr=1.0, momentum=MOMENTUM)
        case "Adam":
            return torch.optim.Adam(groups, foreach=True)
        case _:
            return torch.optim.SGD(groups, momentum=MOMENTUM, foreach=True)


@torch.no_grad()
def _accuracies(nets: _Nets, part: Digits) -> list[float]:
    outputs = nets.outputs(part.images)
    is_finite = outputs.isfinite().all(2).all(1)
    return torch.where(is_finite, accuracy_of(outputs, part.labels), GUESSING).tolist()


EXPERIMENTS.add("lars")(
    Experiment(
        name="lars",
        question=Phrase("Does LARS train with large batches where other optimisers lose accuracy?"),
        quick=LarsSettings(),
        paper=LarsSettings(
            depths=(2, 8, 12),
            width=128,
            batch_sizes=(100, 250, 500, 1000, 1500),
            sgd_rates=(0.01, *LarsSettings().sgd_rates),
            adam_rates=(*LarsSettings().adam_rates, 0.1),
        ),
        measure=measure,
        judge=judge,
        draw=draw,
        source=(
            "You, Gitman, Ginsburg 2017, arXiv:1708.03888; on tuned rivals Nado, Gilmer, Shallue, Anil, Dahl 2021, "
            "arXiv:2102.06356."
        ),
    )
)
