"""A training that is measured at each step, and what its layers give, computed by plain hooks."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from isometry.probes.running.meter import Meter
from isometry.probes.running.readings import LayerReading, Reading

Loss = Callable[[], Tensor]


def measured(
    model: nn.Module,
    loss_of: Loss,
    *,
    optimizer: torch.optim.Optimizer | None = None,
    steps: int = 1,
    rows: int = 10_000,
) -> Reading:
    """Train for some steps under a meter, and return the last reading."""
    optimizer = optimizer or torch.optim.SGD(model.parameters(), lr=0.01)
    meter = Meter(model, optimizer, rows=rows)
    reading = None
    for step in range(1, steps + 1):
        meter.open()
        optimizer.zero_grad()
        loss = loss_of()
        loss.backward()
        meter.before_update()
        optimizer.step()
        meter.after_update()
        reading = meter.close([loss.detach()], step=step, seconds=0.0, micro_batches=1, loss_scale=None)
    assert reading is not None
    return reading


def layers_of(model: nn.Module, *inputs: Tensor) -> dict[str, LayerReading]:
    """Return the layers of one measured step whose loss is the mean square of what the model gives."""

    def loss() -> Tensor:
        output = model(*inputs)
        output = output[0] if isinstance(output, tuple) else output
        return output.float().square().mean()

    return {each.name: each for each in measured(model, loss).layers}


def rms(tensor: Tensor) -> float:
    return float(tensor.detach().double().square().mean().sqrt())
