import math
from collections.abc import Sequence

import pytest
import torch
from torch import nn

from isometry._errors import DomainError
from isometry.training.optim.clipping import ClipTally
from isometry.training.optim.spikes import ZClip
from tests.training.optim.driven import Transfers

NORMS = [1.0, 1.4, 0.9, 1.1, 1.2, 0.8, 9.0, 1.0, 1.3, 40.0, 1.1, 0.2, 2.0, 1.0, 400.0, 1.2]


def paper(norms: Sequence[float], *, threshold: float, memory: float, warmup: int) -> list[float]:
    """Algorithm 1 of arXiv:2504.02507 with reciprocal clipping, in plain floats."""
    seen, out, mean, variance = list[float](), list[float](), 0.0, 0.0
    for norm in norms:
        if len(seen) < warmup:
            seen.append(norm)
            out.append(norm)
            if len(seen) == warmup:
                mean = sum(seen) / warmup
                variance = sum((each - mean) ** 2 for each in seen) / warmup
            continue
        deviation = math.sqrt(variance)
        z = (norm - mean) / deviation
        new = mean + threshold**2 / z * deviation if z > threshold else norm
        mean = memory * mean + (1 - memory) * new
        variance = memory * variance + (1 - memory) * (new - mean) ** 2
        out.append(new)
    return out


def clipped(clip: ZClip, norms: Sequence[float]) -> list[float]:
    """Return the norms of gradients after clipping; each gradient is spread over two tensors."""
    weights = [nn.Parameter(torch.zeros(2, dtype=torch.float64)), nn.Parameter(torch.zeros((), dtype=torch.float64))]
    found: list[float] = []
    for norm in norms:
        weights[0].grad = torch.full((2,), norm / 2, dtype=torch.float64)
        weights[1].grad = torch.tensor(norm / math.sqrt(2), dtype=torch.float64)
        told = clip(weights)
        parts = torch.cat([weights[0].grad, weights[1].grad.view(1)])
        found.append(float(parts.norm()))
        assert told.norm == pytest.approx(norm, nan_ok=True)
        if math.isfinite(norm):
            assert told.factor * norm == pytest.approx(found[-1])
    return found


@pytest.mark.parametrize(("threshold", "memory", "warmup"), [(2.5, 0.97, 5), (1.0, 0.5, 3), (3.0, 0.9, 9)])
def test_norms_become_what_the_papers_algorithm_makes_of_them(threshold: float, memory: float, warmup: int) -> None:
    clip = ZClip(threshold=threshold, memory=memory, warmup_steps=warmup)
    expected = paper(NORMS, threshold=threshold, memory=memory, warmup=warmup)

    assert clipped(clip, NORMS) == pytest.approx(expected, rel=1e-9)
    assert sum(new < old for new, old in zip(expected, NORMS, strict=True)) >= 2


def test_nothing_is_cut_in_the_warm_up() -> None:
    norms = [1.0, 100.0, 1.0, 1e4]

    assert clipped(ZClip(warmup_steps=4), norms) == pytest.approx(norms)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("place", [1, 9])
def test_norms_that_are_not_finite_are_neither_cut_nor_learnt(bad: float, place: int) -> None:
    clip, other = ZClip(warmup_steps=4), ZClip(warmup_steps=4)
    disturbed = [*NORMS[:place], bad, *NORMS[place:]]

    after = clipped(clip, disturbed)

    assert not math.isfinite(after[place])
    assert [each for each in after if math.isfinite(each)] == clipped(other, NORMS)


def test_it_goes_on_from_a_saved_state() -> None:
    whole, first, second = ZClip(warmup_steps=5), ZClip(warmup_steps=5), ZClip(warmup_steps=5)
    expected = clipped(whole, NORMS)

    before = clipped(first, NORMS[:8])
    second.load_state_dict(first.state_dict())

    assert before + clipped(second, NORMS[8:]) == expected


def test_a_lasting_rise_is_cut_for_ever_and_the_tally_tells_it() -> None:
    usual = [1.0 + 0.1 * (step % 5) for step in range(50)]
    clip, tally, weight = ZClip(), ClipTally(), nn.Parameter(torch.zeros(1))
    clipped(clip, usual)

    for norm in (10 * each for each in usual * 4):
        weight.grad = torch.tensor([norm])
        tally.add(clip([weight]))

    assert tally.share_cut == 1


def test_norms_that_never_varied_may_shrink_but_not_jump() -> None:
    assert clipped(ZClip(warmup_steps=3), [2.0, 2.0, 2.0, 8.0, 1.0]) == pytest.approx([2.0, 2.0, 2.0, 2.0, 1.0])


@pytest.mark.parametrize(
    "settings", [{"threshold": 0.0}, {"memory": 1.0}, {"memory": -0.1}, {"warmup_steps": 1}], ids=str
)
def test_settings_out_of_range_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(DomainError, match=r"it takes a threshold above 0, a memory in \[0, 1\) and at least 2 steps"):
        ZClip(**settings)


def test_nothing_is_read_from_the_device() -> None:
    clip, parameter = ZClip(warmup_steps=2), nn.Parameter(torch.zeros(3))
    parameter.grad = torch.ones(3)

    with Transfers() as transfers:
        for _ in range(4):
            clip([parameter])

    assert transfers.count == 0
    assert clip.state_dict()["count"] == 4
