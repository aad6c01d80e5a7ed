"""The wider a network is, the less its weights and its kernel move in training, and the more it is a kernel machine."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import final

import numpy as np
import torch
from torch import Tensor, nn

from isometry._errors import DomainError, MissingExtraError
from isometry._phrases import Phrase
from isometry.lab.apparatus.averages import mean_curve
from isometry.lab.apparatus.claims import claim_in_points
from isometry.lab.apparatus.classification import accuracy_of, one_hot
from isometry.lab.apparatus.digits import CLASSES, Digits, Parts, mnist_5k, split
from isometry.lab.experiment import EXPERIMENTS, Claim, Experiment, Measured, Progress
from isometry.lab.figure import Figure, Series
from isometry.probes.tangent.kernel import mean_tangent_kernel
from isometry.probes.tangent.laziness import drift
from isometry.theory.duals import leaky_relu
from isometry.theory.kernel_flow import flow_weights, spectrum_of
from isometry.theory.kernels import WideNetwork, kernels_of

VARIANCE = 2.0  # of a weight times fan-in: ReLU's critical one
SETTLED = 64  # units from which on the weights' drift follows its power law

# From runs of the same experiment before this one was written, widened by two points or about half of what was seen.
NTK_ACCURACY = (91.2, 95.2)
MAX_BETWEEN_KERNELS = 2.0
MIN_OVER_NEIGHBOURS = 2.6
MAX_FROM_KERNEL, MIN_LOSS_OF_NARROW = 2.8, 10.0
DISTANCE_POWER = (-0.6, -0.2)  # in the end -1/2; narrow networks are not there yet
ERROR_POWER, WEIGHT_POWER = (-0.65, -0.35), (-0.6, -0.4)
DRIFT_POWER = (-1.4, -0.7)  # -1: what is of order -1/2 in the two halves of a network cancels
MAX_WIDE_DRIFT = 0.03

CURVES = {
    "distance": "outputs from the NTK's prediction",
    "kernel_error": "kernel at the start from the NTK",
    "kernel_drift": "kernel after training from its start",
    "weight_drift": "weights after training from their start",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelsSettings:
    """Settings.

    Attributes:
        num_train: Images, counts.
        widths: Hidden units of the trained networks, each a network, even counts.
        steps: Of full-batch gradient descent, at a rate of one over the NTK's largest eigenvalue.
        neighbours: Of the nearest-neighbour classifiers, each one, counts.
        num_kernel: Training images between which the empirical kernel is taken, counts.
    """

    num_train: int = 500
    widths: tuple[int, ...] = (16, 64, 256, 1024)
    steps: int = 600
    neighbours: tuple[int, ...] = (1, 3, 5, 9)
    num_kernel: int = 100

    def __post_init__(self) -> None:
        if len(set(self.widths)) < 2 or min(self.widths) < 2:  # noqa: PLR2004 - a slope takes two places, a network two halves
            raise DomainError(f"widths={self.widths!r}: at least two different ones are needed, each of at least 2.")


@final
class Network(nn.Module):
    """One hidden layer of ReLU in the NTK parametrisation: all weights N(0, 1), scaled on the way forward.

    Its second half repeats the first with the sign of the last layer turned, so that its outputs are 0 at the start,
    where those of the limit are in the mean (Chizat, Oyallon, Bach 2019, arXiv:1812.07956, section 1).
    """

    def __init__(self, num_inputs: int, width: int, *, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        first = torch.randn(width // 2, num_inputs, generator=generator)
        last = torch.randn(CLASSES, width // 2, generator=generator)
        self.first = nn.Parameter(torch.cat((first, first)))
        self.last = nn.Parameter(torch.cat((last, -last), 1))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs, (examples, classes)."""
        hidden = nn.functional.linear(inputs * math.sqrt(VARIANCE / inputs.shape[1]), self.first).relu()
        return nn.functional.linear(hidden * math.sqrt(VARIANCE / hidden.shape[1]), self.last)


@dataclass(frozen=True, slots=True, eq=False)
class Infinite:
    """What networks without end in width do.

    Attributes:
        kernel: NTK between the first training images.
        rate: One over the largest eigenvalue of the NTK between all of them.
        outputs: At the test images after the time that the networks train.
        accuracies: Of both kernels at the end, and of the NTK at that time, %.
    """

    kernel: Tensor
    rate: float
    outputs: Tensor
    accuracies: dict[str, float]


def measure(settings: KernelsSettings, seed: int, progress: Progress) -> Measured:
    """Predict with both kernels and by neighbours, and train networks of growing width."""
    parts = split(_on_sphere(mnist_5k()), settings.num_train)
    limit = _infinite(settings, parts)
    rows: list[dict[str, float]] = []
    for place, width in enumerate(settings.widths):
        rows.append(_trained(Network(parts.train.images.shape[1], width, seed=seed), settings, parts, limit=limit))
        progress(sum(settings.widths[: place + 1]) / sum(settings.widths))
    by_width = {name: [row[name] for row in rows] for name in rows[0]}
    return {"neighbours": _by_neighbours(settings, parts), **limit.accuracies, **by_width}


def judge(settings: KernelsSettings, measured: Sequence[Measured]) -> tuple[Claim, ...]:
    """Hold kernels against neighbours, networks against kernels, and drifts against their powers of the width."""
    powers = {name: _slope(settings, measured, name) for name in CURVES}
    return (
        *_claims_on_accuracy(measured),
        _power(Phrase("the outputs' distance from the NTK's falls with the width"), powers["distance"], DISTANCE_POWER),
        _power(
            Phrase("that of the kernel at the start falls as one over its root"), powers["kernel_error"], ERROR_POWER
        ),
        _power(Phrase("weights move less, as one over the root of the width"), powers["weight_drift"], WEIGHT_POWER),
        _power(Phrase("the kernel moves less, as one over the width"), powers["kernel_drift"], DRIFT_POWER),
        Claim(
            text=Phrase("the widest network's kernel stays put"),
            measured=_by_width(measured, "kernel_drift")[-1],
            high=MAX_WIDE_DRIFT,
        ),
    )


def _claims_on_accuracy(measured: Sequence[Measured]) -> tuple[Claim, ...]:
    ntk, nngp, at_time = (fmean(each[name] for each in measured) for name in ("ntk", "nngp", "ntk_at_time"))
    nearest, networks = max(measured[0]["neighbours"]), _by_width(measured, "accuracy")
    like_ntk = Phrase("the widest network does as well as the NTK stopped at the same time")
    return (
        Claim(
            text=Phrase("regression with the NTK classifies unseen digits"),
            measured=ntk,
            low=NTK_ACCURACY[0],
            high=NTK_ACCURACY[1],
            unit="%",
        ),
        claim_in_points(Phrase("regression with the NNGP does as well"), abs(ntk - nngp), high=MAX_BETWEEN_KERNELS),
        claim_in_points(
            Phrase("both do better than nearest neighbours"), min(ntk, nngp) - nearest, low=MIN_OVER_NEIGHBOURS
        ),
        claim_in_points(like_ntk, abs(at_time - networks[-1]), high=MAX_FROM_KERNEL),
        claim_in_points(Phrase("the narrowest does worse"), at_time - networks[0], low=MIN_LOSS_OF_NARROW),
    )


def draw(settings: KernelsSettings, measured: Sequence[Measured]) -> tuple[Figure, ...]:
    """Draw distances and drifts over the width, and the accuracies."""
    return _picture_of_distances(settings, measured), _picture_of_accuracies(settings, measured)


def _picture_of_distances(settings: KernelsSettings, measured: Sequence[Measured]) -> Figure:
    return Figure(
        key="distance",
        title="Trained networks beside the kernel machine of their limit",
        x_axis="hidden units",
        y_axis="relative distance",
        x_scale="log",
        y_scale="log",
        series=tuple(series for name, told in CURVES.items() for series in _curve(settings, measured, (name, told))),
    )


def _picture_of_accuracies(settings: KernelsSettings, measured: Sequence[Measured]) -> Figure:
    ends = (settings.widths[0], settings.widths[-1])
    levels = {
        "NTK, trained to the end": measured[0]["ntk"],
        "NTK, stopped at the same time": measured[0]["ntk_at_time"],
        "nearest neighbours": max(measured[0]["neighbours"]),
    }
    return Figure(
        key="accuracy",
        title="Test accuracy of networks, kernels and neighbours",
        x_axis="hidden units",
        y_axis="accuracy on unseen digits, %",
        x_scale="log",
        series=(
            *_curve(settings, measured, ("accuracy", "trained networks")),
            *(Series(name=name, x=ends, y=(level, level)) for name, level in levels.items()),
            Series(name="NNGP", x=settings.widths, y=(measured[0]["nngp"],) * len(settings.widths), mark="points"),
        ),
    )


def _curve(settings: KernelsSettings, measured: Sequence[Measured], names: tuple[str, str]) -> list[Series]:
    name, told = names
    points = [Series(name=told, x=settings.widths, y=each[name], mark="points") for each in measured]
    return [*points, Series(name=told, x=settings.widths, y=_by_width(measured, name))]


def _by_width(measured: Sequence[Measured], name: str) -> list[float]:
    return mean_curve(each[name] for each in measured)


def _slope(settings: KernelsSettings, measured: Sequence[Measured], name: str) -> float:
    """Return the slope of a curve in logarithms; of the weights' drift from where it is settled."""
    pairs = list(zip(settings.widths, _by_width(measured, name), strict=True))
    if name == "weight_drift":
        settled = [pair for pair in pairs if pair[0] >= SETTLED]
        pairs = settled if len(settled) > 1 else pairs
    widths, values = np.log(pairs).T
    return float(np.polyfit(widths, values, 1)[0])


def _power(text: Phrase, measured: float, ends: tuple[float, float]) -> Claim:
    return Claim(text=text, measured=measured, low=ends[0], high=ends[1], unit="power of the width")


def _on_sphere(digits: Digits) -> Digits:
    """Return images of length √pixels."""
    return Digits(nn.functional.normalize(digits.images) * digits.images.shape[1] ** 0.5, digits.labels)


def _targets(labels: Tensor) -> Tensor:
    """Return 1 for an image's class and 0 for others, less their mean; (images, classes), in float64."""
    return one_hot(labels) - 1 / CLASSES


def _infinite(settings: KernelsSettings, parts: Parts) -> Infinite:
    """Predict with both kernels, at the end of training and at the time when the networks stop."""
    network = WideNetwork(activation=leaky_relu(), weight_variance=VARIANCE)
    images, others = (each.images.double().numpy() for each in (parts.train, parts.test))
    within, across = kernels_of(network, images), kernels_of(network, others, images)
    spectra = {name: spectrum_of(getattr(within, name)) for name in ("ntk", "nngp")}
    rate, targets = spectra["ntk"].largest_rate / 2, _targets(parts.train.labels).numpy()

    def outputs(name: str, time: float) -> Tensor:
        weights = flow_weights(spectra[name], targets, time=time)
        return torch.from_numpy(getattr(across, name) @ weights)

    stopped = outputs("ntk", rate * settings.steps)
    predicted = {name: outputs(name, math.inf) for name in ("ntk", "nngp")} | {"ntk_at_time": stopped}
    accuracies = {name: accuracy_of(each, parts.test.labels).item() for name, each in predicted.items()}
    kernel = torch.from_numpy(within.ntk[: settings.num_kernel, : settings.num_kernel])
    return Infinite(kernel, rate, stopped, accuracies)


def _trained(network: Network, settings: KernelsSettings, parts: Parts, *, limit: Infinite) -> dict[str, float]:
    """Train a network by full-batch gradient descent on half the sum of squared errors, and say what has moved."""
    some = parts.train.images[: settings.num_kernel]
    kernel = mean_tangent_kernel(network, some)
    start = nn.utils.parameters_to_vector(network.parameters()).detach().clone()
    targets = _targets(parts.train.labels).float()
    optimizer = torch.optim.SGD(network.parameters(), lr=limit.rate)
    for _ in range(settings.steps):
        optimizer.zero_grad()
        ((network(parts.train.images) - targets).square().sum() / 2).backward()
        optimizer.step()
    with torch.no_grad():
        outputs = network(parts.test.images).double()
    moved = nn.utils.parameters_to_vector(network.parameters()).detach() - start
    return {
        "accuracy": accuracy_of(outputs, parts.test.labels).item(),
        "distance": float((outputs - limit.outputs).norm() / limit.outputs.norm()),
        "kernel_error": drift(limit.kernel, kernel),
        "kernel_drift": drift(kernel, mean_tangent_kernel(network, some)),
        "weight_drift": float(moved.norm() / start.norm()),
    }


def _by_neighbours(settings: KernelsSettings, parts: Parts) -> list[float]:
    """Return the accuracy of each nearest-neighbour classifier, %.

    Raises:
        MissingExtraError: If scikit-learn is not installed.
    """
    try:
        from sklearn.neighbors import KNeighborsClassifier  # noqa: PLC0415 - an extra, and slow to import
    except ImportError as error:
        raise MissingExtraError(
            "neighbours come from scikit-learn, which is not installed. Install it: pip install 'isometry[lab]'."
        ) from error
    images, labels = parts.train.images.numpy(), parts.train.labels.numpy()
    rivals = [KNeighborsClassifier(count).fit(images, labels) for count in settings.neighbours]
    return [100 * float(rival.score(parts.test.images.numpy(), parts.test.labels.numpy())) for rival in rivals]


EXPERIMENTS.add("kernels")(
    Experiment(
        name="kernels",
        question=Phrase("Does a network become a kernel machine as it grows wide?"),
        quick=KernelsSettings(),
        paper=KernelsSettings(widths=(16, 32, 64, 128, 256, 512, 1024, 2048, 4096)),
        measure=measure,
        judge=judge,
        draw=draw,
        source=(
            "Jacot, Gabriel, Hongler 2018, arXiv:1806.07572; Lee et al. 2018, arXiv:1711.00165; Lee et al. 2019, "
            "arXiv:1902.06720, theorem 2.1 and figure 1."
        ),
    )
)
