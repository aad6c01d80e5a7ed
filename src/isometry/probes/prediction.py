"""What mean-field theory predicts for a network's Jacobian, from its measured variances, where it is a plain stack."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from isometry._phrases import Phrase
from isometry.anatomy.reading import Layer
from isometry.probes.evidence import Evidence
from isometry.probes.jacobian_result import MeanField
from isometry.theory.criticality import length_map, susceptibility
from isometry.theory.meanfield import depths, relative_spread, slope_moments
from isometry.theory.phases import edge_of_chaos

KINDS = frozenset({"linear", "matmul", "mm", "addmm", "conv1d", "conv2d", "conv3d"})
MIN_LAYERS = 3  # two hidden layers and a head; fewer have no depth to speak of
MAX_MEAN = 5.0  # standard errors of a weight's mean from 0
EDGE_LENGTHS = tuple(float(10**exponent) for exponent in np.linspace(-3, 2, 31))  # mean squares, for the line
IS_ORTHOGONAL = 1e-3  # largest departure of W W^T from a multiple of the identity, relative to it


@dataclass(frozen=True, slots=True)
class _Statistics:
    """Variances of one layer: of a weight times fan-in, and of a bias."""

    weight: float
    bias: float


def predict(evidence: Evidence) -> tuple[MeanField | None, str]:
    """Return what theory predicts for a network, or None with the reason in a sentence."""
    layers = evidence.anatomy.layers
    why_not = _why_no_stack(evidence) or _why_not_random(evidence, layers)
    if why_not:
        return None, why_not
    activation = layers[0].activation_after
    assert activation is not None
    variances = [_statistics(evidence, layer) for layer in layers]
    data = evidence.numbers[layers[0].operation].data_rms
    if data is None or data == 0:
        return None, Phrase("The first layer reads no data of a known size.")
    length = variances[0].weight * data**2 + variances[0].bias
    factors: list[float] = []
    lengths: list[float] = []
    for each in variances[1:]:
        lengths.append(length)
        factors.append(susceptibility(activation, length, weight_variance=each.weight))
        length = length_map(activation, length, weight_variance=each.weight, bias_variance=each.bias)
    behind = variances[1:-1]  # the head, often smaller on purpose, says nothing of depth
    weight = statistics.geometric_mean(each.weight for each in behind)
    bias = statistics.fmean(each.bias for each in behind)
    deep = depths(activation, weight_variance=weight, bias_variance=bias, start=lengths[0])
    is_square = len({layer.layout.fans.out for layer in layers[:-1]}) == 1 and layers[0].kind not in _CONVOLUTIONS
    moments = [slope_moments(activation, each) for each in lengths[:-1]]
    is_orthogonal = all(_is_orthogonal(_weight(evidence, layer)) for layer in layers[1:-1])
    return MeanField(
        activation=activation.name,
        weight_variance=weight,
        bias_variance=bias,
        length=deep.length,
        slope=deep.slope,
        depth_scale=deep.depth_scale,
        phase=deep.phase,
        mean_square=variances[0].weight * math.prod(factors),
        hidden_mean_square=math.prod(factors[:-1]) if is_square else None,
        hidden_spread=relative_spread(moments, is_orthogonal=is_orthogonal) if is_square else None,
        edge=edge_of_chaos(activation, EDGE_LENGTHS),
    ), ""


_CONVOLUTIONS = frozenset({"conv1d", "conv2d", "conv3d"})


def _why_no_stack(evidence: Evidence) -> str:
    """Say what keeps a network from being a stack of layers with one activation between them; empty if it is one."""
    anatomy = evidence.anatomy
    layers = anatomy.layers
    trunk = next((trunk for trunk in anatomy.trunks if len(trunk) == len(layers)), ())
    others = sorted({layer.kind for layer in layers} - KINDS)
    names = {layer.activation_after.name if layer.activation_after else "" for layer in layers[:-1]}
    repeatable = [layer.activation_after for layer in layers[:-1] if layer.activation_after is not None]
    reasons = {
        Phrase("It has fewer than {count} layers.", count=MIN_LAYERS): len(layers) < MIN_LAYERS,
        Phrase("It has residual paths, which the theory of plain networks leaves out."): bool(anatomy.branches),
        Phrase("It normalises, which the theory of plain networks leaves out."): any(
            layer.is_normalised or layer.reads_norm for layer in layers
        ),
        Phrase("It has layers of other kinds: {kinds}.", kinds=", ".join(others)): bool(others),
        Phrase("Its layers do not follow one another on one way."): trunk != tuple(layer.operation for layer in layers),
        Phrase("The network's hidden layers have no activation, or different ones."): len(names) != 1 or names == {""},
        Phrase("Its activation cannot be repeated on other numbers."): not all(
            each.is_repeatable for each in repeatable
        ),
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def _why_not_random(evidence: Evidence, layers: Sequence[Layer]) -> str:
    for layer in layers:
        if len(layer.weight) != 1:
            return Phrase("The weight of {layer!r} is made of several parameters.", layer=layer.name)
        weight = _weight(evidence, layer).double()
        deviation = float(weight.std(correction=0))
        if deviation == 0 or abs(float(weight.mean())) > MAX_MEAN * deviation / math.sqrt(weight.numel()):
            return Phrase(
                "The weights of {layer!r} have a mean, and theory is about weights without one.", layer=layer.name
            )
    return ""


def _statistics(evidence: Evidence, layer: Layer) -> _Statistics:
    weight = _weight(evidence, layer).double()
    biases = [evidence.step.names.parameters[name][0].detach().double() for name in layer.biases]
    return _Statistics(
        weight=float(weight.square().mean()) * layer.layout.fans.into,
        bias=sum(float(bias.square().mean()) for bias in biases),
    )


def _weight(evidence: Evidence, layer: Layer) -> Tensor:
    return evidence.step.names.parameters[layer.weight[0]][0].detach()


def _is_orthogonal(weight: Tensor) -> bool:
    matrix = weight.double().flatten(1)
    if matrix.shape[0] > matrix.shape[1]:
        matrix = matrix.T
    gram = matrix @ matrix.T
    scale = gram.diagonal().mean()
    return bool((gram / scale - torch.eye(len(gram), dtype=gram.dtype)).abs().max() < IS_ORTHOGONAL)
