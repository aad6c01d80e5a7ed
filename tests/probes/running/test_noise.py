import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from isometry.probes.running.meter import Meter
from isometry.probes.running.noise import NoiseEstimate, NoiseScale, noise_from_moments, noise_from_parts

SIZE, NOISE = 400, 0.5  # numbers in a gradient, and the deviation of each
SIGNAL = torch.linspace(0.0, 0.2, SIZE, dtype=torch.float64)
TRUE = SIZE * NOISE**2 / float(SIGNAL.square().sum())


def gradients(count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return SIGNAL + NOISE * torch.randn(count, SIZE, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("count", [2, 5])
def test_parts_of_a_batch_give_the_noise_of_a_known_covariance(count: int) -> None:
    estimates = list[NoiseEstimate]()
    for seed in range(300):
        parts = gradients(count, seed)
        squares = float(parts[0].square().sum()), float(parts.mean(0).square().sum())
        estimates.append(noise_from_parts(*squares, count=count))

    variance = sum(each.variance for each in estimates) / len(estimates)
    signal = sum(each.signal for each in estimates) / len(estimates)

    assert variance == pytest.approx(SIZE * NOISE**2 / count, rel=0.03)
    assert signal == pytest.approx(float(SIGNAL.square().sum()), rel=0.15)


@pytest.mark.parametrize("beta", [0.8, 0.95])
@pytest.mark.parametrize("steps", [4, 100])
def test_moments_give_the_noise_of_a_known_covariance(beta: float, steps: int) -> None:
    estimates = list[NoiseEstimate]()
    for seed in range(150):
        drawn = gradients(steps + 1, seed)
        moment = torch.zeros(SIZE, dtype=torch.float64)
        for each in drawn[:-1]:
            moment = beta * moment + (1 - beta) * each
        squares = float(drawn[-1].square().sum()), float(moment.square().sum())
        estimates.append(noise_from_moments(*squares, beta=beta, step=steps))

    variance = sum(each.variance for each in estimates) / len(estimates)
    signal = sum(each.signal for each in estimates) / len(estimates)

    assert variance == pytest.approx(SIZE * NOISE**2, rel=0.03)
    assert signal == pytest.approx(float(SIGNAL.square().sum()), rel=0.35)


@given(factor=st.floats(1e-3, 1e3))
def test_the_scale_of_the_loss_does_not_matter(factor: float) -> None:
    one, two = NoiseScale(), NoiseScale()

    found = one.add(noise_from_parts(5.0, 2.0, count=4))

    assert two.add(noise_from_parts(5.0 * factor, 2.0 * factor, count=4)) == pytest.approx(found)


def test_where_noise_hides_the_gradient_there_is_no_scale() -> None:
    scale = NoiseScale()

    assert scale.add(NoiseEstimate(variance=1.0, signal=-1.0)) is None
    assert scale.add(NoiseEstimate(variance=math.nan, signal=1.0)) is None


def run(
    optimizer_class: type[torch.optim.Optimizer],
    *,
    micro_batches: int,
    divisor: float,
    scales: tuple[float, ...] = (1.0,),
    change: Callable[[nn.Module], None] = lambda _: None,
) -> tuple[float | None, str]:
    """Train where the gradient is the input: noise around a mean."""
    torch.manual_seed(0)
    model = nn.Linear(SIZE, 1, bias=False)
    optimizer = optimizer_class(model.parameters(), lr=0.0)
    meter = Meter(model, optimizer)
    reading = None
    for step in range(80):
        meter.open()
        optimizer.zero_grad()
        loss_scale = scales[step % len(scales)]
        for part in range(micro_batches):
            x = SIGNAL.float() + NOISE * torch.randn(1, SIZE)
            (loss_scale * model(x).mean() / divisor).backward()
            if part == 0 and micro_batches > 1:
                meter.first_backward()
        change(model)
        meter.before_update()
        optimizer.step()
        meter.after_update()
        reading = meter.close([], step=step, seconds=0.0, micro_batches=micro_batches, loss_scale=loss_scale)
    assert reading is not None
    return reading.noise_scale, reading.noise_unit


@pytest.mark.parametrize("divisor", [1.0, 4.0])
def test_accumulated_steps_tell_the_noise_of_a_batch_whether_losses_are_divided_or_not(divisor: float) -> None:
    found, unit = run(torch.optim.SGD, micro_batches=4, divisor=divisor)

    assert unit == "batches"
    assert found == pytest.approx(TRUE / 4, rel=0.3)


@pytest.mark.parametrize("scaler", [1.0, 2.0**20])
def test_neither_clipping_nor_a_scaled_loss_changes_the_noise_of_accumulated_steps(scaler: float) -> None:
    def clip(model: nn.Module) -> None:
        nn.utils.clip_grad_norm_(model.parameters(), 1e-3)

    plain, _ = run(torch.optim.SGD, micro_batches=4, divisor=4.0)
    found, _ = run(torch.optim.SGD, micro_batches=4, divisor=4.0, scales=(scaler, 1.0), change=clip)

    assert found == pytest.approx(plain, rel=1e-3)


def test_a_backward_pass_whose_end_is_not_seen_gives_no_noise_but_the_reason() -> None:
    model = nn.ModuleList([nn.Linear(2, 1, bias=False), nn.Linear(2, 1, bias=False)])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    meter = Meter(model, optimizer)
    meter.open()
    sum(each(torch.ones(1, 2)).sum() for each in model).backward()
    meter.first_backward()
    model[0](torch.ones(1, 2)).sum().backward()
    meter.before_update()
    optimizer.step()
    meter.after_update()
    reading = meter.close([], step=1, seconds=0.0, micro_batches=2, loss_scale=None)

    assert reading.noise_scale is None
    assert "was not seen" in reading.noise_unit


def test_adam_tells_the_noise_without_micro_batches() -> None:
    found, unit = run(torch.optim.Adam, micro_batches=1, divisor=1.0)

    assert unit == "batches"
    assert found == pytest.approx(TRUE, rel=0.4)


def test_without_either_the_reason_is_said() -> None:
    found, reason = run(torch.optim.SGD, micro_batches=1, divisor=1.0)

    assert found is None
    assert "Adam" in reason
