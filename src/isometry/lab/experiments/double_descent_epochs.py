"""Over steps of training the risk falls twice where two groups of features are learnt at different times."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
import torch
from torch import Tensor

from isometry._phrases import Phrase
from isometry.lab.apparatus.averages import mean_curve
from isometry.lab.apparatus.digits import CLASSES, mnist_5k, split, with_wrong_labels
from isometry.lab.apparatus.rises import largest_rise
from isometry.lab.experiment import EXPERIMENTS, Claim, Experiment, Measured, Progress
from isometry.lab.figure import Figure, Series
from isometry.lab.members.member import Member
from isometry.lab.members.training import Examples, SideBySide
from isometry.theory.least_squares import LinearProblem, TwoScales, descent_risk, two_scale_risk

HALF = 0.5  # of the signal lies in each group
NUM_TIMES = 49  # places of the curves, even in the logarithm
NEAR = 0.2  # share of theory's ratio of two risks within which the measured one lies, where each is within 0.1
SOONER = 0.3  # share of theory's ratio of times; the risk is flat around its best
WINDOW = 21  # epochs of the running median, which takes the spikes of Adam out


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochsSettings:
    """Settings.

    Attributes:
        num_examples: Of the linear model, counts.
        num_fast: Features of scale 1, counts.
        num_slow: Features of the small scale, counts.
        scale: Standard deviation of the slow features.
        noise: Standard deviation of the targets' noise; the signal has 1.
        step: Of gradient descent on half of the mean square.
        num_steps: At which the curves end, counts.
        num_draws: Data sets, counts.
        width: Hidden units of the network that is trained on digits, counts.
        num_images: Digits that it is trained on, counts.
        wrong: Share of wrong labels among them.
        num_epochs: Of its training, counts.
    """

    num_examples: int = 1000
    num_fast: int = 700
    num_slow: int = 50
    scale: float = 0.03
    noise: float = 0.5
    step: float = 0.1
    num_steps: int = 200_000
    num_draws: int = 8
    width: int = 256
    num_images: int = 1000
    wrong: float = 0.2
    num_epochs: int = 400

    @property
    def num_features(self) -> int:
        """Of both groups, counts."""
        return self.num_fast + self.num_slow

    @property
    def times(self) -> list[int]:
        """Steps at which the risk is taken, the first of them 0."""
        return [0, *np.unique(np.geomspace(1, self.num_steps, NUM_TIMES).round().astype(int)).tolist()]

    @property
    def groups(self) -> TwoScales:
        """The two groups as theory takes them."""
        return TwoScales(
            num_examples=self.num_examples,
            num_fast=self.num_fast,
            num_slow=self.num_slow,
            scale=self.scale,
            fast=HALF,
            slow=HALF,
            noise=self.noise**2,
            step=self.step,
        )


def measure(settings: EpochsSettings, seed: int, progress: Progress) -> Measured:
    """Follow the risk of the linear model with both kinds of step, and the test error of a network."""
    _theory(settings)  # refuses settings that it tells nothing of, before any of them is run
    as_is: list[list[float]] = []
    scaled: list[list[float]] = []
    for draw in range(settings.num_draws):
        generator = torch.Generator().manual_seed(seed * settings.num_draws + draw)
        data, scale = _linear_data(settings, generator), torch.ones(settings.num_features, dtype=torch.float64)
        scaled.append(_risks(settings, data, scale))  # a step scaled by 1/s² does what features scaled by 1/s do
        scale[settings.num_fast :] = settings.scale
        as_is.append(_risks(settings, data, scale))
        progress((draw + 1) / (2 * settings.num_draws))
    network = _network_errors(settings, seed, lambda share: progress((1 + share) / 2))
    return {"risk": mean_curve(as_is), "scaled": mean_curve(scaled), "network": network}


def judge(settings: EpochsSettings, measured: Sequence[Measured]) -> tuple[Claim, ...]:
    """Hold both curves against theory and against each other, and the network against its own worst."""
    risk, scaled, network = (mean_curve(each[key] for each in measured) for key in ("risk", "scaled", "network"))
    return (*_linear_claims(settings, risk, scaled), *_network_claims(_running_median(network)))


def draw(settings: EpochsSettings, measured: Sequence[Measured]) -> tuple[Figure, ...]:
    """Draw the linear model's risk with theory's, and the network's test error."""
    times, count = settings.times[1:], len(settings.times)
    theory = _theory(settings)
    names = {"risk": Phrase("one step for all"), "scaled": Phrase("slow group's step scaled up")}
    curves: list[Series] = []
    for place, (key, name) in enumerate(names.items()):
        told = theory[place * count + 1 : (place + 1) * count]
        curves.append(Series(name=Phrase("theory, {name}", name=name), x=times, y=told))
        seen = mean_curve(each[key] for each in measured)[1:]
        curves.append(Series(name=Phrase("measured, {name}", name=name), x=times, y=seen, mark="points"))
    epochs = range(1, settings.num_epochs + 1)
    networks = [
        Series(name="test", x=epochs, y=[100 * value for value in _running_median(each["network"])])
        for each in measured
    ]
    return (
        Figure(
            key="risk-over-steps",
            title="Least squares on features of two scales",
            x_axis="steps of gradient descent",
            y_axis="risk, targets squared",
            x_scale="log",
            series=tuple(curves),
        ),
        Figure(
            key="network-over-epochs",
            title=Phrase(
                "{width} ReLU units on digits, {wrong:.0%} wrong labels: no second descent",
                width=settings.width,
                wrong=settings.wrong,
            ),
            x_axis="epochs",
            y_axis="test error, %",
            series=tuple(networks),
        ),
    )


@dataclass(frozen=True, slots=True)
class _Shape:
    """What two curves look like, in ratios.

    Attributes:
        rise: The peak over the first minimum, of the curve with one step for all.
        end: Its end over the first minimum.
        gain: The least value with the slow group's step scaled up over its least value.
        sooner: The steps that it takes to its least over those of the other.
    """

    rise: float
    end: float
    gain: float
    sooner: float


def _shape(settings: EpochsSettings, risk: Sequence[float], scaled: Sequence[float]) -> _Shape:
    rise = largest_rise(risk)
    first = risk[rise.start]
    best, soonest = (int(np.argmin(curve)) for curve in (risk, scaled))
    return _Shape(
        rise=risk[rise.end] / first,
        end=risk[-1] / first,
        gain=scaled[soonest] / risk[best],
        sooner=settings.times[best] / max(settings.times[soonest], 1),
    )


def _linear_claims(settings: EpochsSettings, risk: list[float], scaled: list[float]) -> tuple[Claim, ...]:
    theory, count = _theory(settings), len(risk)
    errors = [abs(seen / told - 1) for seen, told in zip(risk + scaled, theory, strict=True)]
    seen, told = _shape(settings, risk, scaled), _shape(settings, theory[:count], theory[count:])
    return (
        Claim(
            text=Phrase("the risk rises between two descents"),
            measured=seen.rise,
            low=max(1.0, (1 - NEAR) * told.rise),
            high=(1 + NEAR) * told.rise,
            unit="times",
        ),
        Claim(text=Phrase("and ends below the first minimum"), measured=seen.end, high=1.0, unit="times"),
        Claim(text=Phrase("both curves are theory's, at every step"), measured=max(errors), high=0.1),
        Claim(
            text=Phrase("with the slow group's step scaled up there is no second descent"),
            measured=_second_descent(scaled),
            high=0.01,
        ),
        Claim(
            text=Phrase("its best risk is lower"),
            measured=seen.gain,
            low=(1 - NEAR) * told.gain,
            high=min(1.0, (1 + NEAR) * told.gain),
            unit="times",
        ),
        Claim(
            text=Phrase("and comes sooner"),
            measured=seen.sooner,
            low=max(1.0, SOONER * told.sooner),
            unit="times",
        ),
    )


def _network_claims(error: list[float]) -> tuple[Claim, ...]:
    worst = int(np.argmax(error))
    return (
        Claim(
            text=Phrase("a network of one hidden layer on digits with wrong labels overfits after its best epoch"),
            measured=100 * (error[worst] - min(error[: worst + 1])),
            low=3.0,
            unit="points",
        ),
        Claim(
            text=Phrase("and does not show it: from its worst the error falls again by no more than"),
            measured=100 * (error[worst] - min(error[worst:])),
            high=3.0,
            unit="points",
        ),
    )


@dataclass(frozen=True, slots=True)
class _LinearData:
    """Standard normal features, what each of them adds to a target, and the targets with their noise."""

    features: Tensor
    truth: Tensor
    targets: Tensor


def _linear_data(settings: EpochsSettings, generator: torch.Generator) -> _LinearData:
    count = settings.num_features
    features = torch.randn(settings.num_examples, count, generator=generator, dtype=torch.float64)
    truth = torch.randn(count, generator=generator, dtype=torch.float64)
    for group in truth.split([settings.num_fast, settings.num_slow]):
        group.mul_((HALF / group.square().sum()).sqrt())
    noise = torch.randn(settings.num_examples, generator=generator, dtype=torch.float64)
    return _LinearData(features, truth, features @ truth + settings.noise * noise)


def _risks(settings: EpochsSettings, data: _LinearData, scale: Tensor) -> list[float]:
    """Return the risk at all times of gradient descent from zero on scaled features, without running the steps."""
    features = data.features * scale
    values, vectors = torch.linalg.eigh(features.T @ features / len(features))
    goal = vectors.T @ (features.T @ data.targets) / len(features)
    found: list[float] = []
    for time in settings.times:
        weights = vectors @ (goal * (1 - (1 - settings.step * values) ** time) / values)
        found.append(float((weights * scale - data.truth).square().sum()) + settings.noise**2)
    return found


def _network_errors(settings: EpochsSettings, seed: int, progress: Callable[[float], None]) -> list[float]:
    parts = split(mnist_5k(), settings.num_images)
    train, test = parts.train, parts.test
    labels = with_wrong_labels(train.labels, settings.wrong, seed=seed).labels
    net = SideBySide(
        [Member(hidden=(settings.width,), seed=seed)],
        Examples(inputs=train.images, labels=labels, num_classes=CLASSES),
    )
    examined = Examples(inputs=test.images, labels=test.labels, num_classes=CLASSES)
    errors: list[float] = []
    for number in net.train(settings.num_epochs, batch_size=50, seed=seed):
        errors.append(net.errors(examined).item())
        progress(number / settings.num_epochs)
    return errors


def _theory(settings: EpochsSettings) -> list[float]:
    """Return theory's risks at all times: with one step for all, and with the slow group's scaled up."""
    aspect = settings.num_features / settings.num_examples
    alike = LinearProblem(signal=2 * HALF, noise=settings.noise**2)
    told = two_scale_risk(settings.groups, settings.times)
    return [*told.tolist(), *descent_risk(aspect, alike, step=settings.step, times=settings.times).tolist()]


def _second_descent(curve: Sequence[float]) -> float:
    """Return how far the curve falls at most after having risen as far, over its least value."""
    falls = (min(value - min(curve[: place + 1]), value - min(curve[place:])) for place, value in enumerate(curve))
    return max(falls) / min(curve)


def _running_median(values: Sequence[float]) -> list[float]:
    reach = WINDOW // 2
    return [median(values[max(0, place - reach) : place + reach + 1]) for place in range(len(values))]


EXPERIMENTS.add("double-descent-epochs")(
    Experiment(
        name="double-descent-epochs",
        question=Phrase("Why can the error fall a second time in the course of training, and can it be had at once?"),
        quick=EpochsSettings(),
        paper=EpochsSettings(num_draws=100, num_epochs=4000),
        measure=measure,
        judge=judge,
        draw=draw,
        source="Heckel, Yilmaz 2021, arXiv:2007.10099; Nakkiran et al. 2020, arXiv:1912.02292, for deep networks.",
    )
)
