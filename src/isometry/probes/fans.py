"""Weights whose deviation is a known rule's for a fan that is not theirs, as of another axis, layout or grouping."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor

from isometry.anatomy.reading import Layer
from isometry.probes.evidence import Evidence, NotMeasuredError, measure, probe
from isometry.probes.weights import WeightNumbers, WeightTable

# Variance times fan of the rules that depend on one fan.
UNIFORM = "PyTorch's default"  # which is bounded by the root of three times its variance
RULES_OF_ONE_FAN: Mapping[str, float] = {"He's": 2.0, "LeCun's": 1.0, UNIFORM: 1 / 3}
# Deviations that people write down whatever the fan, and that fit one by accident: language models have the small ones,
# and 1 is what torch.randn gives.
CHOSEN = (0.01, 0.02, 1.0)
TOLERANCE = 0.02  # of the deviation; two rules for fans that differ by less are one
SIGMAS = 4.0  # standard errors of a deviation that was measured on few numbers
ROUNDING = 1e-3  # of the bound of a uniform distribution
MATRIX_AXES = 2  # counts; axes after these two are the kernel's


@dataclass(frozen=True, slots=True)
class WrongFan:
    """One weight that was drawn for another fan than it has.

    Attributes:
        name: Its canonical name.
        layer: The layer that uses it.
        rule: Whose rule its deviation fits.
        fan: The fan that the rule was given, counts.
        true_fan: Connections into one unit, counts.
    """

    name: str
    layer: str
    rule: str
    fan: float
    true_fan: float

    @property
    def decades(self) -> float:
        """By how much the layer's output is too large, negative if too small; log10 of a root mean square."""
        return math.log10(self.true_fan / self.fan) / 2


@dataclass(frozen=True, slots=True)
class WrongFans:
    """All such weights that all data pass and that no norm makes up for, in the order of execution."""

    weights: tuple[WrongFan, ...]

    @property
    def decades(self) -> float:
        """By how much the signal is off behind the last of them: their factors multiply."""
        return sum(each.decades for each in self.weights)


@probe(WrongFans)
def find_wrong_fans(evidence: Evidence) -> WrongFans:
    """Compare the deviation of every weight with the rules for its own fans, and for those that are mistaken for it."""
    if not evidence.task.is_fresh:
        raise NotMeasuredError("the weights are pretrained, and their deviation follows no rule")
    on_trunk = {point for points in evidence.anatomy.trunks for point in points}
    found: list[WrongFan] = []
    for weight in measure(evidence, WeightTable).weights:
        tensor, *others = evidence.step.names.parameters[weight.name]
        is_computed = bool(others) or weight.name in evidence.step.names.parametrised
        if _is_judged(weight) and not is_computed and weight.layer.operation in on_trunk:
            found.extend(_mistaken(weight, tensor))
    return WrongFans(tuple(found))


def _is_judged(weight: WeightNumbers) -> bool:
    layer = weight.layer
    is_plain = not layer.kind.startswith("embedding") and layer.layout.out_axis is not None
    return is_plain and weight.constant is None and not layer.is_normalised and weight.rms > 0


def _mistaken(weight: WeightNumbers, tensor: Tensor) -> Iterator[WrongFan]:
    """Yield what a weight was drawn for, if its deviation fits a wrong fan and no right one."""
    shape, largest = tuple(tensor.shape), float(tensor.detach().abs().max())
    layout = weight.layer.layout
    into, out = layout.fans.into, layout.fans.out
    allowed = max(TOLERANCE, SIGMAS / math.sqrt(2 * math.prod(shape)))
    right = [*_deviations(into).values(), *_deviations(out).values(), math.sqrt(2 / (into + out))]
    if _is_usual_layout(weight.layer) and _fits(weight.rms, right, allowed):
        return
    if _fits(weight.rms, [*_deviations(into).values(), math.sqrt(2 / (into + out)), *CHOSEN], allowed):
        return
    for fan in _mistakable_fans(weight.layer, shape):
        for rule, deviation in _deviations(fan).items():
            is_bounded = rule != UNIFORM or largest <= (1 + ROUNDING) / math.sqrt(fan)
            if is_bounded and _fits(weight.rms, [deviation], allowed):
                yield WrongFan(weight.name, weight.layer.name, rule, fan, into)
                return


def _mistakable_fans(layer: Layer, shape: tuple[int, ...]) -> tuple[float, ...]:
    """Return what is taken for the fan: what `nn.init` reads from the shape, and channels of all groups."""
    kernel = math.prod(shape[MATRIX_AXES:])
    groups, into = layer.layout.groups, layer.layout.fans.into
    fans = (shape[1] * kernel, shape[0] * kernel, into * groups, into / kernel)
    return tuple(dict.fromkeys(float(fan) for fan in fans if fan != into))


def _is_usual_layout(layer: Layer) -> bool:
    """Say whether `nn.init` reads the fans right, so that the backward fan is a choice."""
    return layer.layout.out_axis == 0 and layer.layout.groups == 1 and layer.layout.stacked == 1


def _deviations(fan: float) -> dict[str, float]:
    return {rule: math.sqrt(factor / fan) for rule, factor in RULES_OF_ONE_FAN.items()}


def _fits(rms: float, deviations: list[float], allowed: float) -> bool:
    return any(abs(rms / deviation - 1) <= allowed for deviation in deviations)
