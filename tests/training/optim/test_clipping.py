import math

import pytest
import torch
from torch import Tensor, nn

from isometry._errors import BuilderError, DomainError
from isometry.training.optim.clipping import Clipped, ClipTally, clip_global_norm_
from isometry.training.optim.spikes import ZClip
from isometry.training.optim.units import clip_by_unit_norm_
from tests.training.optim.driven import Transfers, drawn

SHAPES = ((4, 3), (7,), (), (2, 2, 2))


def with_gradients(dtype: torch.dtype = torch.float64, *, scale: float = 1.0) -> list[nn.Parameter]:
    parameters = [nn.Parameter(torch.zeros(shape, dtype=dtype)) for shape in SHAPES]
    for seed, parameter in enumerate(parameters):
        parameter.grad = scale * drawn(*parameter.shape, seed=seed, dtype=dtype)
    return parameters


def norm(parameters: list[nn.Parameter]) -> float:
    return math.sqrt(sum(float(each.grad.double().square().sum()) for each in parameters if each.grad is not None))


@pytest.mark.parametrize("max_norm", [0.01, 1.0, 4.0, 100.0])
def test_gradients_become_as_long_as_is_allowed_and_keep_their_direction(max_norm: float) -> None:
    parameters, untouched = with_gradients(), with_gradients()
    before = norm(untouched)

    clipped = clip_global_norm_(parameters, max_norm)

    assert clipped.norm == pytest.approx(before, rel=1e-12)
    assert clipped.factor == pytest.approx(min(1.0, max_norm / before), rel=1e-12)
    assert clipped.is_cut == (before > max_norm)
    for mine, other in zip(parameters, untouched, strict=True):
        torch.testing.assert_close(mine.grad, other.grad * min(1.0, max_norm / before))


def test_it_does_what_torch_does_but_for_torchs_millionth() -> None:
    ours, theirs = with_gradients(), with_gradients()

    clip_global_norm_(ours, 1.5)
    torch.nn.utils.clip_grad_norm_(theirs, 1.5)

    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-6, atol=0)


def test_gradients_that_are_short_enough_keep_their_bits() -> None:
    parameters, untouched = with_gradients(), with_gradients()

    clip_global_norm_(parameters, norm(untouched) * (1 + 1e-12))

    assert all(torch.equal(mine.grad, other.grad) for mine, other in zip(parameters, untouched, strict=True))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_gradients_that_are_not_finite_stay_where_they_were(bad: float) -> None:
    parameters, untouched = with_gradients(), with_gradients()
    for each in (parameters, untouched):
        each[1].grad[2] = bad

    clipped = clip_global_norm_(parameters, 0.1)

    assert not math.isfinite(clipped.norm)
    assert clipped.factor == 1.0
    for mine, other in zip(parameters, untouched, strict=True):
        torch.testing.assert_close(mine.grad, other.grad, equal_nan=True, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_the_norm_of_low_precision_is_summed_in_float32(dtype: torch.dtype) -> None:
    parameters = with_gradients(dtype, scale=2e4)  # a norm of about 1e5, past float16

    clipped = clip_global_norm_(parameters, 10.0)

    assert clipped.norm_tensor.dtype == torch.float32
    assert clipped.norm > 65504
    assert norm(parameters) == pytest.approx(10.0, rel=0.01)


def test_tensors_of_several_types_share_one_norm() -> None:
    parameters = [*with_gradients(torch.float32), *with_gradients(torch.float64), *with_gradients(torch.bfloat16)]
    before = norm(parameters)

    assert clip_global_norm_(parameters, 1.0).norm == pytest.approx(before, rel=1e-6)
    assert norm(parameters) == pytest.approx(1.0, rel=1e-2)


def test_no_gradients_have_no_norm_and_zeros_stay() -> None:
    assert clip_global_norm_([nn.Parameter(torch.zeros(3))], 1.0).norm == 0.0
    zeros = nn.Parameter(torch.zeros(3))
    zeros.grad = torch.zeros(3)

    assert clip_global_norm_(iter([zeros]), 1.0).factor == 1.0
    assert clip_global_norm_(zeros, 1.0).norm == 0.0
    assert torch.equal(zeros.grad, torch.zeros(3))


@pytest.mark.parametrize("max_norm", [0.0, -1.0, math.nan])
def test_a_norm_that_lets_nothing_through_is_refused(max_norm: float) -> None:
    with pytest.raises(DomainError, match=r"max_norm=.* lets nothing through; give a number above 0"):
        clip_global_norm_([], max_norm)


def test_a_module_and_sparse_gradients_are_refused_with_a_way_out() -> None:
    table = nn.Embedding(5, 3, sparse=True)
    table(torch.tensor([1, 2])).sum().backward()

    for clip in (lambda given: clip_global_norm_(given, 1.0), clip_by_unit_norm_, ZClip()):
        with pytest.raises(BuilderError, match=r"the module Embedding was given, .* Give model\.parameters\(\)"):
            clip(table)
        with pytest.raises(DomainError, match=r"sparse gradient of shape \(5, 3\).*sparse=False"):
            clip(table.parameters())


def test_what_was_cut_is_told_in_words_and_counted() -> None:
    tally = ClipTally()
    for size in (0.5, 2.0, 4.0, 1.0):
        tally.add(_clip(torch.tensor([size])))

    assert (tally.num_steps, tally.share_cut, tally.mean_factor) == (4, 0.5, pytest.approx((1 + 0.5 + 0.25 + 1) / 4))
    assert str(tally) == "50.0 % of 4 steps cut, mean factor 0.688"
    assert str(_clip(torch.tensor([4.0]))) == "gradient norm 4, cut to 1"
    assert str(_clip(torch.tensor([0.25]))) == "gradient norm 0.25, left"
    assert str(ClipTally()) == "0.0 % of 0 steps cut, mean factor 1"


def _clip(gradient: Tensor) -> Clipped:
    parameter = nn.Parameter(torch.zeros_like(gradient))
    parameter.grad = gradient
    return clip_global_norm_([parameter], 1.0)


def test_nothing_is_read_from_the_device_until_it_is_asked_for() -> None:
    parameters, tally = with_gradients(), ClipTally()

    with Transfers() as transfers:
        clipped = clip_global_norm_(parameters, 1.0)
        tally.add(clipped)
        during = transfers.count
        assert clipped.norm > 1
        assert tally.share_cut == 1

    assert during == 0
    assert transfers.count == 2
