"""How much room float16 needs at the start, and how much of a gradient may be flushed.

Run `python benchmarks/arithmetic.py`; it prints benchmarks/arithmetic.md.
"""

import platform

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from sklearn.datasets import load_digits
from torch import nn

from isometry.anatomy.task import Task
from isometry.probes.evidence import gather, measure
from isometry.probes.headroom import Headroom, limit_of
from isometry.probes.underflow import GradientUnderflow

STEPS, SEEDS = 150, 2
DIGITS = load_digits()
INPUTS = torch.tensor(DIGITS.data[:512] / 16.0, dtype=torch.float32)
LABELS = torch.tensor(DIGITS.target[:512])


def network(width: int = 64, depth: int = 3) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Linear(64, width), nn.ReLU()]
    for _ in range(depth - 1):
        layers += [nn.Linear(width, width), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(width, 10))


def half_precision() -> torch.autocast:
    return torch.autocast("cpu", dtype=torch.float16)


def largest(model: nn.Module, inputs: torch.Tensor) -> float:
    found: list[float] = []
    hooks = [
        layer.register_forward_hook(lambda _, __, out: found.append(float(out.abs().max())))
        for layer in model.children()
    ]
    with torch.no_grad():
        model(inputs)
    for hook in hooks:
        hook.remove()
    return max(found)


def growth(seed: int, *, rate: float, optimizer: str) -> tuple[float, float]:
    """Largest activation before and after ordinary training in float32."""
    torch.manual_seed(seed)
    model = network()
    before = largest(model, INPUTS)
    made = (
        torch.optim.Adam(model.parameters(), rate)
        if optimizer == "Adam"
        else torch.optim.SGD(model.parameters(), rate, 0.9)
    )
    for _ in range(STEPS):
        made.zero_grad()
        F.cross_entropy(model(INPUTS), LABELS).backward()
        made.step()
    return before, largest(model, INPUTS)


def underflow(seed: int, factor: float) -> tuple[float, float]:
    """Lost share of the gradient at the start, and accuracy after training with a loss times a factor."""
    torch.manual_seed(seed)
    model = network()

    def step(model: nn.Module, batch: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(model(batch).float(), LABELS) * factor

    task = Task(model=model, batch=INPUTS, step=step, context=half_precision)
    lost = measure(gather(task, [GradientUnderflow]), GradientUnderflow).lost
    made = torch.optim.SGD(model.parameters(), 0.05 / factor, 0.9)
    for _ in range(STEPS):
        made.zero_grad()
        task.compute_loss().backward()
        made.step()
    with half_precision(), torch.no_grad():
        return lost, float((model(INPUTS).argmax(1) == LABELS).float().mean())


def headroom(seed: int, scale: float) -> tuple[float, str, float]:
    """Largest share of float16 at the start, and how training in float16 ends on inputs times a scale."""
    torch.manual_seed(seed)
    model, inputs = network(), INPUTS * scale

    def step(model: nn.Module, batch: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(model(batch).float(), LABELS)

    task = Task(model=model, batch=inputs, step=step, context=half_precision)
    share = max(each.share for each in measure(gather(task, [Headroom]), Headroom).results)
    made = torch.optim.Adam(model.parameters(), 1e-3)
    for number in range(STEPS):
        made.zero_grad()
        loss = task.compute_loss()
        loss.backward()
        made.step()
        if not loss.isfinite():
            return share, f"NaN at step {number}", 0.0
    with half_precision(), torch.no_grad():
        return share, "finite", float((model(inputs).argmax(1) == LABELS).float().mean())


def main() -> None:
    torch.set_num_threads(1)
    print("# What float16 needs: room at the start, and gradients that are not flushed\n")
    print(
        f"`python benchmarks/arithmetic.py`, torch {torch.__version__}, {platform.machine()}, one thread, {STEPS} full"
    )
    print(f"batches of 512 digits, three hidden layers of width 64; worst of {SEEDS} seeds.\n")
    print("How far the largest activation grows in ordinary training, in float32:\n")
    print("| optimiser | rate | before | after | times |\n|---|--:|--:|--:|--:|")
    for optimizer, rate in (("Adam", 1e-3), ("Adam", 3e-3), ("SGD", 0.03), ("SGD", 0.1)):
        before, after = max(
            (growth(seed, rate=rate, optimizer=optimizer) for seed in range(SEEDS)), key=lambda pair: pair[1] / pair[0]
        )
        print(f"| {optimizer} | {rate:g} | {before:.2f} | {after:.1f} | {after / before:.1f} |")
    print(f"\nTraining in float16 (ends at {limit_of('float16'):.0f}) with Adam, inputs times a scale:\n")
    print("| scale | largest share of float16 at the start | course | accuracy |\n|--:|--:|---|--:|")
    for scale in (1.0, 1e3, 1e4, 2e4, 4e4):
        runs = [headroom(seed, scale) for seed in range(SEEDS)]
        share, course, accuracy = min(runs, key=lambda run: run[2])
        print(f"| {scale:g} | {share:.3f} | {course} | {accuracy:.2f} |")
    print("\nTraining in float16 without a scaler, the loss times a factor and the rate over it:\n")
    print("| factor | share of the gradient's norm that is flushed | accuracy |\n|--:|--:|--:|")
    for factor in (1.0, 1e-3, 1e-4, 3e-5, 1e-5, 1e-6):
        lost, accuracy = min((underflow(seed, factor) for seed in range(SEEDS)), key=lambda pair: pair[1])
        print(f"| {factor:g} | {lost:.3f} | {accuracy:.2f} |")


if __name__ == "__main__":
    main()
