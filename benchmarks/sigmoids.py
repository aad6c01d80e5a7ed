"""How long 20 layers of sigmoids under Xavier stay at guessing with LARS: numbers of docs/lab/mended-afterwards.md.

The network, the examples and the rates are those of `isometry lab run mended-afterwards`, for more steps. A network has
left guessing when its loss is 0.1 nats below. Run by hand: python -m benchmarks.sigmoids > benchmarks/sigmoids.md
"""

import math
import platform
from collections.abc import Iterator
from itertools import pairwise
from statistics import median

import torch
from torch import Tensor

from isometry.lab.apparatus.plain_stacks import start_of
from isometry.lab.experiments.mended_afterwards import MOMENTUM, NUM_CLASSES, NUM_INPUTS, STUCK, MendedSettings
from isometry.training.optim.lars import LARS
from tests.lab.experiments.test_mended_afterwards import drawn

SETTINGS, SEEDS, STEPS, STARTS = MendedSettings(), (0, 1, 2), 1000, ("xavier", "critical")
LOOKS = (250, 500, 1000)  # steps


def training(start: str, rate: float, seed: int) -> Iterator[tuple[float, list[Tensor]]]:
    """Yield the loss and the weights before each step, and after the last."""
    generator, inputs, labels = drawn(SETTINGS, seed)
    chosen = start_of(start, "sigmoid", SETTINGS.width)
    weights: list[Tensor] = []
    biases: list[Tensor] = []
    for layer, (into, out) in enumerate(
        pairwise((NUM_INPUTS, *[SETTINGS.width] * SETTINGS.sigmoid_depth, NUM_CLASSES))
    ):
        variance = chosen.first if layer == 0 and chosen.first is not None else chosen.weight_variance
        weights.append(math.sqrt(variance / into) * torch.randn(into, out, generator=generator))
        biases.append(-chosen.mean * weights[-1].sum(0) if layer else torch.zeros(out))
    optimizer = LARS([each.requires_grad_() for each in (*weights, *biases)], lr=rate, momentum=MOMENTUM)
    for _ in range(STEPS + 1):
        signal = inputs
        for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
            signal = (signal @ weight + bias).sigmoid()
        loss = torch.nn.functional.cross_entropy(signal @ weights[-1] + biases[-1], labels)
        yield loss.item(), weights
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def stretch(weights: list[Tensor]) -> float:
    """Return the largest singular value of a hidden layer's weights, the median over layers."""
    return median(float(torch.linalg.matrix_norm(each.detach(), 2)) for each in weights[1:-1])


def measured(start: str, rate: float, seed: int) -> tuple[list[float], int | None, float, float]:
    """Return losses, the first step that is away from guessing, and the layers' stretch at first and there."""
    losses: list[float] = []
    left, before, then = None, 0.0, math.nan
    for step, (loss, weights) in enumerate(training(start, rate, seed)):
        losses.append(loss)
        if step == 0:
            before = stretch(weights)
        if left is None and loss < STUCK:
            left, then = step, stretch(weights)
    return losses, left, before, then


def main() -> None:
    torch.set_num_threads(1)
    found = {
        (seed, start, rate): measured(start, rate, seed)
        for seed in SEEDS
        for start in STARTS
        for rate in SETTINGS.sigmoid_rates
    }
    print(f"""# Sigmoids under Xavier, with LARS

`python -m benchmarks.sigmoids`, torch {torch.__version__}, {platform.machine()}, one thread. {SETTINGS.sigmoid_depth} \
hidden layers of {SETTINGS.width} sigmoids, {SETTINGS.num_examples}
examples. First step with a loss below {STUCK:.2f} nats, and the largest singular value of hidden layers, the median.

| seed | start | rate | step | at the start | then |
|--:|---|--:|--:|--:|--:|""")
    for (seed, start, rate), (_, left, before, then) in found.items():
        print(f"| {seed} | {start} | {rate:g} | {'none' if left is None else left} | {before:.2f} | {then:.2f} |")
    print("\nLoss at the best of the rates, nats, after so many steps:\n")
    print(f"| seed | start | {' | '.join(map(str, LOOKS))} |")
    print("|--:|---|" + "--:|" * len(LOOKS))
    for seed in SEEDS:
        for start in STARTS:
            runs = [found[seed, start, rate][0] for rate in SETTINGS.sigmoid_rates]
            cells = (f"{min(losses[step] for losses in runs):.2f}" for step in LOOKS)
            print(f"| {seed} | {start} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
