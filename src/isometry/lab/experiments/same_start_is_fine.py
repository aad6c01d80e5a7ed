"""A linear or softmax regression reaches the same optimum from any start; a network with a hidden layer does not."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from isometry._phrases import Phrase
from isometry.lab.apparatus.recorded import spreading
from isometry.lab.experiment import EXPERIMENTS, Claim, Experiment, Measured, Progress
from isometry.lab.figure import Figure, Series

SAME = ("zeros", "ones")  # those that give all weights one value
SPREADS = {"random": 1.0, "far": 10.0}  # standard deviations of those that are drawn
CONVEX = ("linear", "softmax")
STARTS = dict.fromkeys(CONVEX, (*SAME, *SPREADS)) | {"hidden layer": (*SAME, "random")}
MOST_EXCESS = 1e-6  # of a loss from its least, in its own unit; what is left falls geometrically
ONE = 1e-9  # largest difference of what is one but for rounding: losses in nats, units over their size
LEAST_GAIN = math.log(2)  # nats by which a random start of the hidden layer ends lower: one of the two exclusive ors
FLOOR = 1e-16  # a loss nearer to the least is drawn at it
NUM_RECORDED = 200  # losses of a course, at most
HIDDEN_RATE = 0.5  # of gradient descent on the hidden layer
MOST_ITERATIONS = 1000  # of the quasi-Newton method that finds the least cross-entropy
XOR_FEATURES, XOR_CLASSES = 4, 4  # of which two and two tell a class of the hidden layer's labels


@dataclass(frozen=True, slots=True, kw_only=True)
class SameStartSettings:
    """Settings.

    Attributes:
        num_examples: Counts.
        num_features: Of an example, counts.
        num_classes: Of softmax regression, counts.
        num_units: Of the hidden layer, counts.
        num_steps: Of gradient descent on all examples, counts.
        noise: Standard deviation of what is added to the targets of the regression, and to the classes' scores.
    """

    num_examples: int = 500
    num_features: int = 8
    num_classes: int = 4
    num_units: int = 16
    num_steps: int = 2000
    noise: float = 2.0

    @property
    def recorded(self) -> list[int]:
        """Steps before which the loss is noted, ever further apart, and the last."""
        return spreading(self.num_steps, NUM_RECORDED)


@dataclass(frozen=True, slots=True)
class Problem:
    """What is learned.

    Attributes:
        inputs: (examples, features), with a column of ones for the bias.
        targets: (examples, 1).
        labels: (examples,), of a linear rule with noise.
        bent_labels: (examples,), of a rule that no linear model can follow.
    """

    inputs: Tensor
    targets: Tensor
    labels: Tensor
    bent_labels: Tensor


Loss = Callable[[Sequence[Tensor], Problem], Tensor]


def measure(settings: SameStartSettings, seed: int, progress: Progress) -> Measured:
    """Train each model from each start by plain gradient descent on all examples."""
    generator = torch.Generator().manual_seed(seed)
    problem = _problem(settings, generator)
    shapes = {
        "linear": [(settings.num_features + 1, 1)],
        "softmax": [(settings.num_features + 1, settings.num_classes)],
        "hidden layer": [(settings.num_features + 1, settings.num_units), (settings.num_units, XOR_CLASSES)],
    }
    found: dict[str, dict[str, list[float]]] = {model: {} for model in shapes}
    apart: list[float] = []
    for number, (model, starts) in enumerate(STARTS.items()):
        for start in starts:
            weights = [_drawn(shape, start, generator) for shape in shapes[model]]
            found[model][start] = _descend(weights, model, problem, recorded=settings.recorded)
            if model not in CONVEX and start in SAME:
                apart.append(_apart(weights))
        progress((number + 1) / len(STARTS))
    zeros = _drawn(shapes["softmax"][0], "zeros", generator)
    least = {"linear": _least_squares(problem), "softmax": _least_entropy(zeros, problem)}
    return {"loss": found, "least": least, "apart": max(apart)}


def judge(settings: SameStartSettings, measured: Sequence[Measured]) -> tuple[Claim, ...]:  # noqa: ARG001 - judges are called alike
    """Hold the last loss from each start against the least there is, and the hidden layer's starts together."""
    excess, differences, gains = _excess(measured), _differences(measured), _gains(measured)
    return (
        Claim(
            text=Phrase("from any start linear regression comes to the least squares"),
            measured=excess["linear"],
            high=MOST_EXCESS,
        ),
        Claim(
            text=Phrase("from any start softmax regression comes to the least cross-entropy"),
            measured=excess["softmax"],
            high=MOST_EXCESS,
            unit="nats",
        ),
        Claim(
            text=Phrase("to softmax regression any one value is as zero: both runs have the same losses"),
            measured=max(differences),
            high=ONE,
            unit="nats",
        ),
        Claim(
            text=Phrase("units of a hidden layer that start from one value stay one"),
            measured=max(each["apart"] for each in measured),
            high=ONE,
        ),
        Claim(
            text=Phrase("a hidden layer that starts from one value stays behind one drawn at random"),
            measured=min(gains),
            low=LEAST_GAIN,
            unit="nats",
        ),
    )


def _excess(measured: Sequence[Measured]) -> dict[str, float]:
    """Return how far the last loss of each regression is from the least there is, from its worst start."""
    return {
        model: max(
            abs(each["loss"][model][start][-1] - each["least"][model]) for each in measured for start in STARTS[model]
        )
        for model in CONVEX
    }


def _differences(measured: Sequence[Measured]) -> list[float]:
    """Return by how much two runs of softmax regression differ, each from one value for all weights, at every step."""
    courses = [[each["loss"]["softmax"][start] for start in SAME] for each in measured]
    return [abs(one - other) for pair in courses for one, other in zip(*pair, strict=True)]


def _gains(measured: Sequence[Measured]) -> list[float]:
    """Return by how much a hidden layer drawn at random ends below one that starts from one value."""
    losses = [each["loss"]["hidden layer"] for each in measured]
    return [min(each[start][-1] for start in SAME) - each["random"][-1] for each in losses]


def draw(settings: SameStartSettings, measured: Sequence[Measured]) -> tuple[Figure, ...]:
    """Draw the loss above its least for both regressions, and the hidden layer's loss."""
    steps = [step + 1 for step in settings.recorded]
    above = [
        Series(
            name=Phrase(
                "{model}, {start}",
                model=Phrase(model),
                start=Phrase("zeros and ones" if model == "softmax" and start in SAME else start),
            ),
            x=steps,
            y=[max(value - each["least"][model], FLOOR) for value in each["loss"][model][start]],
        )
        for model in CONVEX
        for start in STARTS[model]
        for each in measured
    ]
    hidden = [
        Series(name=start, x=steps, y=each["loss"]["hidden layer"][start])
        for start in STARTS["hidden layer"]
        for each in measured
    ]
    return (
        Figure(
            key="above-the-least",
            title="Linear and softmax regression from four starts",
            x_axis="step, counted from 1",
            y_axis="loss above the least",
            x_scale="log",
            y_scale="log",
            series=tuple(above),
        ),
        Figure(
            key="hidden-layer",
            title=Phrase("A hidden layer of {count} units from three starts", count=settings.num_units),
            x_axis="step, counted from 1",
            y_axis="loss, nats",
            x_scale="log",
            series=tuple(hidden),
        ),
    )


def _problem(settings: SameStartSettings, generator: Generator) -> Problem:
    def normal(*sizes: int) -> Tensor:
        return torch.randn(sizes, generator=generator, dtype=torch.float64)

    features = normal(settings.num_examples, settings.num_features)
    scores = features @ normal(settings.num_features, settings.num_classes)
    noise = settings.noise * normal(settings.num_examples, settings.num_classes)
    first, second, third, fourth = (features[:, number] > 0 for number in range(XOR_FEATURES))
    return Problem(
        inputs=torch.cat([features, torch.ones(settings.num_examples, 1, dtype=torch.float64)], 1),
        targets=(scores + noise)[:, :1],
        labels=(scores + noise).argmax(1),
        bent_labels=2 * (first ^ second).long() + (third ^ fourth).long(),
    )


def _drawn(shape: tuple[int, int], start: str, generator: Generator) -> Tensor:
    match start:
        case "zeros":
            weights = torch.zeros(shape, dtype=torch.float64)
        case "ones":
            weights = torch.ones(shape, dtype=torch.float64)
        case _:
            weights = SPREADS[start] * torch.randn(shape, generator=generator, dtype=torch.float64)
    return weights.requires_grad_()


def _squares(weights: Sequence[Tensor], problem: Problem) -> Tensor:
    return (problem.inputs @ weights[0] - problem.targets).square().mean() / 2


def _entropy(weights: Sequence[Tensor], problem: Problem) -> Tensor:
    return torch.nn.functional.cross_entropy(problem.inputs @ weights[0], problem.labels)


def _hidden_entropy(weights: Sequence[Tensor], problem: Problem) -> Tensor:
    # A product a unit: in one for all the last bit differs by the place in the matrix, and equal units part by it.
    into, out = weights[0].T[:, :, None], weights[1][:, None, :]
    signal = torch.bmm(problem.inputs.expand(len(into), -1, -1), into).tanh()
    return torch.nn.functional.cross_entropy(torch.bmm(signal, out).sum(0), problem.bent_labels)


def _apart(weights: Sequence[Tensor]) -> float:
    """Return the largest distance of a unit from the first over the largest one's size; 0 if all weights are."""
    units = torch.cat([weights[0].T, weights[1]], 1).detach()
    size = float(units.norm(dim=1).max())
    return float((units - units[0]).norm(dim=1).max()) / size if size else 0.0


LOSSES: Mapping[str, Loss] = {"linear": _squares, "softmax": _entropy, "hidden layer": _hidden_entropy}


def _descend(weights: Sequence[Tensor], model: str, problem: Problem, *, recorded: Sequence[int]) -> list[float]:
    """Return the loss before some of the steps; those of regressions are one over the most curvature there is."""
    curvature = float(torch.linalg.eigvalsh(problem.inputs.T @ problem.inputs / len(problem.inputs))[-1])
    rates = {"linear": 1 / curvature, "softmax": 2 / curvature, "hidden layer": HIDDEN_RATE}
    rate = rates[model]
    losses: list[float] = []
    for step in range(recorded[-1] + 1):
        loss = LOSSES[model](weights, problem)
        if step in recorded:
            losses.append(loss.item())
        gradients = torch.autograd.grad(loss, weights)
        with torch.no_grad():
            for weight, gradient in zip(weights, gradients, strict=True):
                weight.sub_(rate * gradient)
    return losses


def _least_squares(problem: Problem) -> float:
    best = torch.linalg.lstsq(problem.inputs, problem.targets).solution
    return _squares([best], problem).item()


def _least_entropy(weights: Tensor, problem: Problem) -> float:
    optimiser = torch.optim.LBFGS(
        [weights],
        max_iter=MOST_ITERATIONS,
        tolerance_grad=1e-12,
        tolerance_change=0.0,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = _entropy([weights], problem)
        loss.backward()
        return loss

    optimiser.step(closure)
    return _entropy([weights], problem).item()


EXPERIMENTS.add("same-start-is-fine")(
    Experiment(
        name="same-start-is-fine",
        question=Phrase("May all weights of a linear or softmax regression start from the same value?"),
        quick=SameStartSettings(),
        paper=SameStartSettings(num_examples=2000, num_features=20, num_classes=10, num_units=64, num_steps=5000),
        measure=measure,
        judge=judge,
        draw=draw,
        source="Dive into Deep Learning, section 5.4, exercise 2; Boyd, Vandenberghe 2004, sections 4.2.2 and 9.3.",
    )
)
