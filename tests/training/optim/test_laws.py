"""Laws of the optimisers and clippings, on generated sizes."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from isometry.training.optim.clipping import clip_global_norm_
from isometry.training.optim.lamb import LAMB
from isometry.training.optim.lars import LARS
from isometry.training.optim.trust import TrustRatioOptimizer
from isometry.training.optim.units import clip_by_unit_norm_, units_of
from tests.training.optim.driven import drawn

SCALES = st.floats(1e-4, 1e4)
Make = Callable[..., TrustRatioOptimizer]


def step(make: Make, weight: Tensor, gradient: Tensor) -> Tensor:
    """Return by how much a first step moves a weight."""
    parameter = nn.Parameter(weight.clone())
    parameter.grad = gradient.clone()
    options = {"eps": 0.0} if make is LAMB else {}
    make([parameter], 0.1, **options).step()
    return parameter.detach() - weight


@pytest.mark.parametrize("make", [LARS, LAMB])
@given(scale=SCALES, seed=st.integers(0, 99))
def test_a_larger_gradient_makes_no_larger_step(make: Make, scale: float, seed: int) -> None:
    weight, gradient = drawn(4, 3, seed=seed), drawn(4, 3, seed=seed + 100)

    torch.testing.assert_close(step(make, weight, scale * gradient), step(make, weight, gradient))


@pytest.mark.parametrize("make", [LARS, LAMB])
@given(scale=SCALES, seed=st.integers(0, 99))
def test_a_larger_weight_takes_a_larger_step_in_proportion(make: Make, scale: float, seed: int) -> None:
    weight, gradient = drawn(4, 3, seed=seed), drawn(4, 3, seed=seed + 100)

    torch.testing.assert_close(step(make, scale * weight, gradient), scale * step(make, weight, gradient))


@given(max_norm=SCALES, scale=SCALES)
def test_to_clip_again_changes_nothing(max_norm: float, scale: float) -> None:
    parameter = nn.Parameter(drawn(5, 4, seed=1))
    parameter.grad = scale * drawn(5, 4, seed=2)

    clip_global_norm_([parameter], max_norm)
    clip_by_unit_norm_([parameter], max_norm)
    once = parameter.grad.clone()
    clip_global_norm_([parameter], max_norm)
    clip_by_unit_norm_([parameter], max_norm)

    torch.testing.assert_close(parameter.grad, once, rtol=1e-12, atol=0)


@given(cut=st.integers(1, 5), scale=SCALES)
def test_the_common_norm_does_not_depend_on_how_numbers_are_split_into_tensors(cut: int, scale: float) -> None:
    numbers = scale * drawn(6, 3, seed=3)
    norms: list[float] = []
    for parts in ([numbers], numbers.split([cut, 6 - cut])):
        parameters = [nn.Parameter(torch.zeros_like(part)) for part in parts]
        for parameter, part in zip(parameters, parts, strict=True):
            parameter.grad = part.clone()
        norms.append(clip_global_norm_(parameters, 1.0).norm)

    assert norms[0] == pytest.approx(norms[1], rel=1e-12)
    assert norms[0] == pytest.approx(math.sqrt(float(numbers.square().sum())), rel=1e-12)


@pytest.mark.parametrize("groups", [1, 2])
def test_a_layout_with_channels_last_changes_nothing(groups: int) -> None:
    results: list[Tensor] = []
    for layout in (torch.contiguous_format, torch.channels_last):
        parameter = nn.Parameter(drawn(4, 6, 3, 3, seed=1).to(memory_format=layout))
        layer = nn.ConvTranspose2d(4, 6 * groups, 3, groups=groups)
        layer.weight = parameter
        parameter.grad = drawn(4, 6, 3, 3, seed=2).to(memory_format=layout)
        clip_by_unit_norm_([parameter], 0.1, units=units_of(layer))
        for make in (LARS, LAMB):
            make([parameter], 0.1, weight_decay=0.1).step()
        results.append(parameter.detach().contiguous())

    torch.testing.assert_close(results[0], results[1])
