"""The slope of a sigmoid is at most a quarter, so gradients through many of them all but vanish."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from isometry._errors import DomainError
from isometry._phrases import Phrase
from isometry.lab.experiment import EXPERIMENTS, Claim, Experiment, Measured, Progress
from isometry.lab.figure import Figure, Series
from isometry.theory.quadrature import gaussian_mean

LARGEST_SLOPE = 0.25
ZONE = math.log(3 + 2 * math.sqrt(2))  # input at which the slope is half of its largest: σ (1 - σ) = 1/8
LEAST_REACH = 7.0  # input at which the slope is below a thousandth

QUANTILES = {"largest": 1.0, "median": 0.5}


@dataclass(frozen=True, slots=True, kw_only=True)
class SigmoidSlopeSettings:
    """Settings.

    Attributes:
        reach: Half the interval on which the slope is taken, 7 or more.
        num_points: On the interval, an odd count from 3 so that 0 is one of them.
        num_layers: Sigmoids in a row, counts.
        num_chains: Random chains of them, counts.
        spreads: Standard deviations of what is added between two of them, from the least on, chains of each.
    """

    reach: float = 8.0
    num_points: int = 1601
    num_layers: int = 15
    num_chains: int = 2000
    spreads: tuple[float, ...] = (0.5, 2.0, 8.0)

    def __post_init__(self) -> None:
        if self.num_points < 3 or self.num_points % 2 == 0:  # noqa: PLR2004 - both ends and 0
            raise DomainError(f"num_points={self.num_points!r}: an odd count from 3 on is needed, so that 0 is one.")
        is_ordered = self.spreads == tuple(sorted(self.spreads)) and self.spreads[:1] >= (0.0,)
        if self.reach < LEAST_REACH or not is_ordered:
            raise DomainError(
                f"reach={self.reach!r}, spreads={self.spreads!r}: the reach is 7 or more, and the spreads are at least "
                "one number, 0 or more, from the least on."
            )


def measure(settings: SigmoidSlopeSettings, seed: int, progress: Progress) -> Measured:
    """Take the slope by back-propagation on the interval, and through random chains of sigmoids."""
    x = torch.linspace(-settings.reach, settings.reach, settings.num_points, dtype=torch.float64, requires_grad=True)
    y = torch.sigmoid(x)
    (slope,) = torch.autograd.grad(y.sum(), x)
    progress(0.5)
    generator = torch.Generator().manual_seed(seed)
    chains = [_through(settings, spread, generator) for spread in settings.spreads]
    progress(1.0)
    return {
        "x": x.detach(),
        "y": y.detach(),
        "slope": slope,
        **{key: [each[key] for each in chains] for key in QUANTILES},
    }


def judge(settings: SigmoidSlopeSettings, measured: Sequence[Measured]) -> tuple[Claim, ...]:
    """Hold the slope against a quarter, and chains against its powers."""
    x, slope = measured[0]["x"], measured[0]["slope"]
    place = x[int(np.argmax(slope))]
    zone = max(abs(at) for at, value in zip(x, slope, strict=True) if value >= LARGEST_SLOPE / 2)
    grid = 2 * settings.reach / (settings.num_points - 1)
    return (
        Claim(text=Phrase("the slope is nowhere above a quarter"), measured=max(slope), low=0.249, high=0.25 + 1e-12),
        Claim(text=Phrase("it is largest at 0"), measured=place, low=-1e-9, high=1e-9),
        Claim(text=Phrase("it goes to 0 for large inputs of both signs"), measured=max(slope[0], slope[-1]), high=1e-3),
        Claim(
            text=Phrase("inputs within ln(3 + 2√2) of 0 have at least half of it: the Goldilocks zone"),
            measured=zone,
            low=ZONE - grid,
            high=ZONE + grid,
        ),
        *_claims_on_chains(settings, measured),
    )


def draw(settings: SigmoidSlopeSettings, measured: Sequence[Measured]) -> tuple[Figure, ...]:
    """Draw the sigmoid with its slope, and what is left of a gradient after each layer."""
    first = measured[0]
    layers = range(1, settings.num_layers + 1)
    chains = [
        Series(
            name=Phrase("median, inputs spread by {spread:g}", spread=spread),
            x=layers,
            y=each["median"][place],
            mark="points",
        )
        for place, spread in enumerate(settings.spreads)
        for each in measured
    ]
    return (
        Figure(
            key="slope",
            title="A sigmoid and its slope",
            x_axis="input",
            y_axis="value",
            series=(
                Series(name="sigmoid", x=first["x"], y=first["y"]),
                Series(name="slope", x=first["x"], y=first["slope"]),
                Series(name="a quarter", x=[-settings.reach, settings.reach], y=[LARGEST_SLOPE] * 2),
            ),
            x_marks=((-ZONE, "half"), (ZONE, "half")),
        ),
        Figure(
            key="through-layers",
            title="Gradients through sigmoids in a row",
            x_axis="sigmoids",
            y_axis="gradient",
            y_scale="log",
            series=(
                Series(name="0.25 to that power", x=layers, y=[LARGEST_SLOPE**count for count in layers]),
                *chains,
            ),
        ),
    )


def expected_loss(spread: float, num_layers: int) -> tuple[float, float]:
    """Return between which bounds the median gradient of chains falls below the powers of a quarter.

    What enters a sigmoid is N(m, spread²), with m what the one before it gave, between 0 and 1. The mean of what it
    takes grows with m; a median is within one standard deviation of a mean, and a mean of n terms has 1/√n of theirs.

    Args:
        spread: Standard deviation of what is added.
        num_layers: n.

    Returns:
        Least and most, decades a layer.
    """

    def losses(middle: float, power: int) -> float:
        # log10 of 0.25 / σ'(x)
        return gaussian_mean(lambda z: (2 * np.log10(np.cosh((spread * z + middle) / 2))) ** power, 1.0)

    least, most = losses(0.0, 1), losses(1.0, 1)
    variance = max(losses(0.0, 2) - least**2, losses(1.0, 2) - most**2, 0.0)
    stray = math.sqrt(variance / num_layers)
    return max(0.0, least - stray), most + stray


def _through(settings: SigmoidSlopeSettings, spread: float, generator: torch.Generator) -> dict[str, list[float]]:
    """Return the largest and the median gradient behind each sigmoid of random chains."""
    shape = (settings.num_layers, settings.num_chains)
    start = torch.zeros(settings.num_chains, dtype=torch.float64, requires_grad=True)
    signal, found = start, {key: list[float]() for key in QUANTILES}
    for shift in spread * torch.randn(shape, generator=generator, dtype=torch.float64):
        signal = torch.sigmoid(signal + shift)
        (through,) = torch.autograd.grad(signal.sum(), start, retain_graph=True)
        for key, share in QUANTILES.items():
            found[key].append(float(through.quantile(share)))
    return found


def _claims_on_chains(settings: SigmoidSlopeSettings, measured: Sequence[Measured]) -> tuple[Claim, ...]:
    bound = settings.num_layers * math.log10(LARGEST_SLOPE)
    largest = math.log10(max(row[-1] for each in measured for row in each["largest"]))
    lost = [
        [(bound - math.log10(each["median"][place][-1])) / settings.num_layers for each in measured]
        for place in (0, -1)
    ]
    least, _ = expected_loss(settings.spreads[-1], settings.num_layers)
    _, most = expected_loss(settings.spreads[0], settings.num_layers)
    return (
        Claim(
            text=Phrase("through {count} sigmoids no gradient is above 0.25 to that power", count=settings.num_layers),
            measured=largest,
            high=bound + 1e-9,
            unit="decades",
        ),
        Claim(
            text=Phrase(
                "with inputs spread by {spread:g} the median gradient loses no more than slopes at such inputs say",
                spread=settings.spreads[0],
            ),
            measured=max(lost[0]),
            high=most,
            unit="decades a layer",
        ),
        Claim(
            text=Phrase(
                "with inputs spread by {spread:g} it loses no less than slopes at such inputs say",
                spread=settings.spreads[-1],
            ),
            measured=min(lost[1]),
            low=least,
            unit="decades a layer",
        ),
    )


EXPERIMENTS.add("sigmoid-slope")(
    Experiment(
        name="sigmoid-slope",
        question=Phrase("How much of a gradient can pass through a sigmoid, and through many?"),
        quick=SigmoidSlopeSettings(),
        paper=SigmoidSlopeSettings(num_layers=50, num_chains=20_000),
        measure=measure,
        judge=judge,
        draw=draw,
        source="Dive into Deep Learning, section 5.4.1.1.",
    )
)
