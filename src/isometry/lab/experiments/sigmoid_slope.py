"""The slope of a sigmoid is at most a quarter, so gradients through many of them all but vanish."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from isometry._phrases import Phrase
from isometry.lab.experiment import EXPERIMENTS, Claim, Experiment, Measured, Progress
from isometry.lab.figure import Figure, Series

LARGEST_SLOPE = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class SigmoidSlopeSettings:
    """Settings.

    Attributes:
        reach: Half the interval on which the slope is taken.
        num_points: On the interval, an odd count so that 0 is one of them.
        num_layers: Sigmoids in a row, counts.
        num_chains: Random chains of them, counts.
        spread: Standard deviation of what is added between two of them.
    """

    reach: float = 8.0
    num_points: int = 1601
    num_layers: int = 15
    num_chains: int = 2000
    spread: float = 2.0


def measure(settings: SigmoidSlopeSettings, seed: int, progress: Progress) -> Measured:
    """Take the slope by back-propagation on the interval, and through random chains of sigmoids."""
    x = torch.linspace(-settings.reach, settings.reach, settings.num_points, dtype=torch.float64, requires_grad=True)
    y = torch.sigmoid(x)
    (slope,) = torch.autograd.grad(y.sum(), x)
    progress(0.5)
    generator = torch.Generator().manual_seed(seed)
    shape = (settings.num_layers, settings.num_chains)
    shifts = settings.spread * torch.randn(shape, generator=generator, dtype=torch.float64)
    start = torch.zeros(settings.num_chains, dtype=torch.float64, requires_grad=True)
    signal, slopes = start, list[float]()
    for shift in shifts:
        signal = torch.sigmoid(signal + shift)
        (through,) = torch.autograd.grad(signal.sum(), start, retain_graph=True)
        slopes.append(float(through.max()))
    progress(1.0)
    return {"x": x.detach(), "y": y.detach(), "slope": slope, "through": slopes}


def judge(settings: SigmoidSlopeSettings, measured: Sequence[Measured]) -> tuple[Claim, ...]:
    """Hold the slope against a quarter, and chains against its powers."""
    bound = settings.num_layers * math.log10(LARGEST_SLOPE)
    largest = max(max(each["slope"]) for each in measured)
    place = measured[0]["x"][max(range(len(measured[0]["x"])), key=lambda index: measured[0]["slope"][index])]
    edge = max(measured[0]["slope"][0], measured[0]["slope"][-1])
    through = max(each["through"][-1] for each in measured)
    return (
        Claim(text=Phrase("the slope is nowhere above a quarter"), measured=largest, low=0.2499, high=0.25 + 1e-12),
        Claim(text=Phrase("it is largest at 0"), measured=place, low=-1e-9, high=1e-9),
        Claim(text=Phrase("it goes to 0 for large inputs of both signs"), measured=edge, high=1e-3),
        Claim(
            text=Phrase("through {count} sigmoids no gradient is above 0.25 to that power", count=settings.num_layers),
            measured=math.log10(through),
            high=bound + 1e-9,
            unit="decades",
        ),
    )


def draw(settings: SigmoidSlopeSettings, measured: Sequence[Measured]) -> tuple[Figure, ...]:
    """Draw the sigmoid with its slope, and what is left of a gradient after each layer."""
    first = measured[0]
    layers = range(1, settings.num_layers + 1)
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
        ),
        Figure(
            key="through-layers",
            title="The largest gradient through sigmoids in a row",
            x_axis="sigmoids",
            y_axis="gradient",
            y_scale="log",
            series=(
                *(Series(name="largest seen", x=layers, y=each["through"], mark="points") for each in measured),
                Series(name="0.25 to that power", x=layers, y=[LARGEST_SLOPE**count for count in layers]),
            ),
        ),
    )


EXPERIMENTS.add("sigmoid-slope")(
    Experiment(
        name="sigmoid-slope",
        question=Phrase("How much of a gradient can pass through a sigmoid, and through many?"),
        quick=SigmoidSlopeSettings(),
        paper=SigmoidSlopeSettings(num_layers=100, num_chains=20_000),
        measure=measure,
        judge=judge,
        draw=draw,
        source="Dive into Deep Learning, section 5.4.1.1.",
    )
)
