"""Steps of a length relative to the weights mend gradients of a wrong size, and not a signal that is lost."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from torch import Generator, Tensor

from isometry._errors import DomainError
from isometry._phrases import Phrase
from isometry.lab.apparatus.classification import accuracy_of
from isometry.lab.apparatus.plain_stacks import start_of
from isometry.lab.experiment import EXPERIMENTS, Claim, Experiment, Measured, Progress
from isometry.lab.figure import Figure, Series
from isometry.training.optim.lars import LARS

Optimiser = Literal["SGD", "LARS"]
OPTIMISERS: tuple[Optimiser, ...] = ("SGD", "LARS")

NUM_INPUTS, NUM_CLASSES, TEACHER = 16, 4, 32
MOMENTUM = 0.9
UNEVEN = 16.0  # factor on every other layer of ReLU, and one over it on the rest: the function stays as it is
GIVEN_UP = 2.0  # loss at which a run is drawn that ended higher, or at no number
GUESSING = math.log(NUM_CLASSES)  # nats; classes are of equal size
LEARNED, STUCK = 0.3, GUESSING - 0.1  # nats
MENDED = math.log(NUM_CLASSES - 1)  # nats; what guessing costs who rules out one class
ANSWERED, UNANSWERED = 75.0, 35.0  # % right; guessing has 25, and where a network explodes no loss is small
MOST_CHANGE = 1e-3  # nats by which scales may change the loss under LARS: they change rounding alone
LEAST_GAIN = 0.1  # nats that a critical start is better than one that LARS has to mend; 0.2 and more were seen


@dataclass(frozen=True, slots=True, kw_only=True)
class MendedSettings:
    """Settings.

    Attributes:
        scales: Of every layer's weights over He's, each a network of ReLU; 1 and one below it at least.
        depth: Layers of it, an even count.
        width: Units of each layer, counts.
        num_examples: That are learned, all in each step, counts.
        num_steps: Counts.
        sgd_rates: Learning rates of gradient descent with momentum, of which the best counts.
        lars_rates: Likewise of LARS, over 1,000 the length of a step over that of the weights.
        exploding: Scale of another network's weights, above 1.
        tiny_sgd_rates: Learning rates of gradient descent for it, besides those of all.
        tiny_lars_rates: Likewise of LARS.
        sigmoid_depth: Hidden layers of the network of sigmoids.
        sigmoid_rates: Learning rates of LARS on it.
    """

    scales: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0)
    depth: int = 10
    width: int = 32
    num_examples: int = 256
    num_steps: int = 250
    sgd_rates: tuple[float, ...] = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
    lars_rates: tuple[float, ...] = (1.0, 3.0, 10.0)
    exploding: float = 8.0
    tiny_sgd_rates: tuple[float, ...] = (1e-10, 1e-9, 1e-8)
    tiny_lars_rates: tuple[float, ...] = (0.1, 0.3)
    sigmoid_depth: int = 20
    sigmoid_rates: tuple[float, ...] = (0.3, 1.0, 3.0)

    def __post_init__(self) -> None:
        if 1.0 not in self.scales or min(self.scales) >= 1 or self.depth % 2:
            raise DomainError(
                f"scales={self.scales!r}, depth={self.depth!r}: the scales have 1 and one below it among them, and the "
                "depth is even, so that scales in turn cancel out."
            )

    def rates(self, optimiser: Optimiser) -> tuple[float, ...]:
        """Return the learning rates that are tried on the networks of ReLU."""
        return self.sgd_rates if optimiser == "SGD" else self.lars_rates


@dataclass(frozen=True, slots=True)
class _Training:
    optimiser: Optimiser
    rate: float
    num_steps: int


@dataclass(frozen=True, slots=True)
class _Run:
    loss: float  # nats, at the end; infinite if it is no number
    right: float  # %


def measure(settings: MendedSettings, seed: int, progress: Progress) -> Measured:
    """Train every network at every rate under both optimisers, and networks of sigmoids from two starts."""
    scalings = [*([scale] * settings.depth for scale in settings.scales), _uneven(settings.depth)]
    losses: dict[str, list[list[float]]] = {optimiser: [] for optimiser in OPTIMISERS}
    for number, scaling in enumerate(scalings):
        for optimiser in OPTIMISERS:
            runs = [
                _relu_run(settings, scaling, optimiser, rate=rate, seed=seed).loss for rate in settings.rates(optimiser)
            ]
            losses[optimiser].append(runs)
        progress((number + 1) / (len(scalings) + 3))
    exploded = _exploded(settings, seed)
    sigmoid: list[float] = []
    for number, start in enumerate(("xavier", "critical")):
        sigmoid.append(min(_sigmoid_loss(settings, start, rate=rate, seed=seed) for rate in settings.sigmoid_rates))
        progress((len(scalings) + number + 2) / (len(scalings) + 3))
    return {"loss": losses, "exploded": exploded, "sigmoid": sigmoid}


def judge(settings: MendedSettings, measured: Sequence[Measured]) -> tuple[Claim, ...]:
    """Say what learns at which scale, what scales do to the best rate, and what is not mended."""
    return (
        *_claims_on_scale(settings, measured),
        *_claims_on_explosion(settings, measured),
        *_claims_on_unequal_scales(settings, measured),
        *_claims_on_sigmoids(settings, measured),
    )


def draw(settings: MendedSettings, measured: Sequence[Measured]) -> tuple[Figure, ...]:
    """Draw the loss of the best rate over the scale, and that of every rate with layers of unequal scale."""
    best = [
        Series(
            name=optimiser,
            x=settings.scales,
            y=[min(GIVEN_UP, *each["loss"][optimiser][place]) for place in range(len(settings.scales))],
        )
        for optimiser in OPTIMISERS
        for each in measured
    ]
    even = settings.scales.index(1.0)
    in_turn = Phrase("scales {factor:g} and 1/{factor:g} in turn", factor=UNEVEN)
    rates = [
        Series(
            name=Phrase("{optimiser}, {scales}", optimiser=optimiser, scales=scales),
            x=settings.rates(optimiser),
            y=[min(GIVEN_UP, loss) for loss in each["loss"][optimiser][place]],
        )
        for optimiser in OPTIMISERS
        for scales, place in ((Phrase("one scale"), even), (in_turn, -1))
        for each in measured
    ]
    return (
        Figure(
            key="best-rate",
            title="The best of all learning rates",
            x_axis="scale of all weights, over He's",
            y_axis="loss at the end, nats",
            x_scale="log",
            series=tuple(best),
        ),
        Figure(
            key="unequal-scales",
            title="One function, written with layers of unequal scale",
            x_axis="learning rate",
            y_axis="loss at the end, nats",
            x_scale="log",
            series=tuple(rates),
        ),
    )


def _claims_on_scale(settings: MendedSettings, measured: Sequence[Measured]) -> tuple[Claim, ...]:
    factor = min(settings.scales)
    even, small = settings.scales.index(1.0), settings.scales.index(factor)

    def best(optimiser: Optimiser, place: int) -> list[float]:
        return [min(each["loss"][optimiser][place]) for each in measured]

    return (
        Claim(
            text=Phrase("at He's scale both optimisers learn"),
            measured=max(*best("SGD", even), *best("LARS", even)),
            high=LEARNED,
            unit="nats",
        ),
        Claim(
            text=Phrase("with all weights times {factor} gradients vanish, and SGD learns at no rate", factor=factor),
            measured=min(best("SGD", small)),
            low=STUCK,
            unit="nats",
        ),
        Claim(
            text=Phrase("LARS learns there: its steps are as long as the weights allow"),
            measured=max(best("LARS", small)),
            high=MENDED,
            unit="nats",
        ),
    )


def _claims_on_unequal_scales(settings: MendedSettings, measured: Sequence[Measured]) -> tuple[Claim, ...]:
    even = settings.scales.index(1.0)
    change = max(
        0.0 if one == other else abs(one - other)  # of two runs that end at no number as well
        for each in measured
        for one, other in zip(each["loss"]["LARS"][even], each["loss"]["LARS"][-1], strict=True)
    )
    rates = [[_best(each["loss"]["SGD"][place]) for place in (even, -1)] for each in measured]
    falls = [settings.sgd_rates[plain] / settings.sgd_rates[uneven] for plain, uneven in rates]
    spoilt = [each["loss"]["SGD"][-1][plain] for each, (plain, _) in zip(measured, rates, strict=True)]
    # A gradient goes as one over the scale, so the longest step for a layer goes as its square. Each best rate is that
    # of a grid, and may be off by half a step of it.
    step = max(later / earlier for earlier, later in pairwise(settings.sgd_rates))
    return (
        Claim(
            text=Phrase("layers of unequal scale take the best rate of SGD down, as the square of the scale"),
            measured=math.exp(float(np.mean(np.log(falls)))),
            low=UNEVEN**2 / step,
            high=UNEVEN**2 * step,
            unit="times",
        ),
        Claim(
            text=Phrase("at the rate that was best before SGD learns nothing now"),
            measured=min(GIVEN_UP, *spoilt),
            low=STUCK,
            unit="nats",
        ),
        Claim(
            text=Phrase("LARS does not notice them: every run ends where it did"),
            measured=change,
            high=MOST_CHANGE,
            unit="nats",
        ),
    )


def _claims_on_explosion(settings: MendedSettings, measured: Sequence[Measured]) -> tuple[Claim, ...]:
    right = {key: [each["exploded"][key] for each in measured] for key in ("usual", "tiny", "LARS")}
    return (
        Claim(
            text=Phrase(
                "with all weights times {factor:g} gradients explode, and SGD learns at no usual rate",
                factor=settings.exploding,
            ),
            measured=max(right["usual"]),
            high=UNANSWERED,
            unit="% right",
        ),
        Claim(
            text=Phrase("at a rate of {rate:g} and less it does", rate=max(settings.tiny_sgd_rates)),
            measured=min(right["tiny"]),
            low=ANSWERED,
            unit="% right",
        ),
        Claim(
            text=Phrase("LARS learns there as well"),
            measured=min(right["LARS"]),
            low=ANSWERED,
            unit="% right",
        ),
    )


def _claims_on_sigmoids(settings: MendedSettings, measured: Sequence[Measured]) -> tuple[Claim, ...]:
    """Say what LARS leaves unmended; nothing of other settings than the range is of, as in time it mends this too."""
    if _sigmoid_part(settings) != _sigmoid_part(MendedSettings()):
        return ()
    return (
        Claim(
            text=Phrase(
                "in {steps} steps what sigmoids under Xavier lose is not mended: the critical start is better by",
                steps=settings.num_steps,
            ),
            measured=min(each["sigmoid"][0] - each["sigmoid"][1] for each in measured),
            low=LEAST_GAIN,
            unit="nats",
        ),
    )


def _sigmoid_part(settings: MendedSettings) -> tuple[object, ...]:
    """Return all on which the network of sigmoids depends."""
    own = settings.width, settings.num_examples, settings.num_steps
    return *own, settings.sigmoid_depth, settings.sigmoid_rates


def _uneven(depth: int) -> list[float]:
    return [UNEVEN if layer % 2 == 0 else 1 / UNEVEN for layer in range(depth)]


def _best(losses: Sequence[float]) -> int:
    return int(np.argmin(losses))


def _exploded(settings: MendedSettings, seed: int) -> dict[str, float]:
    """Return the most answers that are right after a start at which gradients explode, in per cent."""
    scaling = [settings.exploding] * settings.depth
    tried: dict[str, tuple[Optimiser, tuple[float, ...]]] = {
        "usual": ("SGD", settings.sgd_rates),
        "tiny": ("SGD", settings.tiny_sgd_rates),
        "LARS": ("LARS", (*settings.tiny_lars_rates, *settings.lars_rates)),
    }
    return {
        key: max(_relu_run(settings, scaling, optimiser, rate=rate, seed=seed).right for rate in rates)
        for key, (optimiser, rates) in tried.items()
    }


def _relu_run(
    settings: MendedSettings, scaling: Sequence[float], optimiser: Optimiser, *, rate: float, seed: int
) -> _Run:
    generator = torch.Generator().manual_seed(seed)
    inputs, labels = _examples(settings, generator)
    sizes = (NUM_INPUTS, *[settings.width] * (settings.depth - 1), NUM_CLASSES)
    weights = [
        (scale * math.sqrt(2 / into) * torch.randn(into, out, generator=generator)).requires_grad_()
        for scale, (into, out) in zip(scaling, pairwise(sizes), strict=True)
    ]

    def answers() -> Tensor:
        signal = inputs
        for weight in weights[:-1]:
            signal = (signal @ weight).relu()
        return signal @ weights[-1]

    def loss() -> Tensor:
        return torch.nn.functional.cross_entropy(answers(), labels)

    last = _trained(weights, loss, _Training(optimiser, rate, settings.num_steps))
    return _Run(last, accuracy_of(answers(), labels).item())


def _sigmoid_loss(settings: MendedSettings, start: str, *, rate: float, seed: int) -> float:
    generator = torch.Generator().manual_seed(seed)
    inputs, labels = _examples(settings, generator)
    chosen = start_of(start, "sigmoid", settings.width)
    sizes = (NUM_INPUTS, *[settings.width] * settings.sigmoid_depth, NUM_CLASSES)
    weights: list[Tensor] = []
    biases: list[Tensor] = []
    for layer, (into, out) in enumerate(pairwise(sizes)):
        variance = chosen.first if layer == 0 and chosen.first is not None else chosen.weight_variance
        weights.append(math.sqrt(variance / into) * torch.randn(into, out, generator=generator))
        biases.append(-chosen.mean * weights[-1].sum(0) if layer else torch.zeros(out))
    parameters = [each.requires_grad_() for each in (*weights, *biases)]

    def loss() -> Tensor:
        signal = inputs
        for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
            signal = (signal @ weight + bias).sigmoid()
        return torch.nn.functional.cross_entropy(signal @ weights[-1] + biases[-1], labels)

    return _trained(parameters, loss, _Training("LARS", rate, settings.num_steps))


def _examples(settings: MendedSettings, generator: Generator) -> tuple[Tensor, Tensor]:
    """Return inputs, and classes of equal size by the rank of a random teacher's answer."""
    inputs = torch.randn(settings.num_examples, NUM_INPUTS, generator=generator)
    into, out = (torch.randn(sizes, generator=generator) for sizes in ((NUM_INPUTS, TEACHER), (TEACHER,)))
    ranks = ((inputs @ into).relu() @ out).argsort().argsort()
    return inputs, ranks * NUM_CLASSES // settings.num_examples


def _trained(parameters: Sequence[Tensor], loss_of: Callable[[], Tensor], training: _Training) -> float:
    """Return the loss at the end; infinite if it is no number."""
    optimiser: torch.optim.Optimizer = (
        torch.optim.SGD(parameters, lr=training.rate, momentum=MOMENTUM)
        if training.optimiser == "SGD"
        else LARS(parameters, lr=training.rate, momentum=MOMENTUM)
    )
    for _ in range(training.num_steps):
        loss = loss_of()
        if not bool(loss.isfinite()):
            return math.inf
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    last = loss_of().item()
    return last if math.isfinite(last) else math.inf


EXPERIMENTS.add("mended-afterwards")(
    Experiment(
        name="mended-afterwards",
        question=Phrase("If gradients are known to vanish or explode, can it be mended afterwards, by the step?"),
        quick=MendedSettings(),
        paper=MendedSettings(width=128, num_examples=1000, num_steps=500),
        measure=measure,
        judge=judge,
        draw=draw,
        source="Dive into Deep Learning, section 5.4, exercise 4; You, Gitman, Ginsburg 2017, arXiv:1708.03888, eq. 6.",
    )
)
