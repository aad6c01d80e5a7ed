"""What a step of LARS and LAMB costs beside AdamW's, and what clipping adds to a step.

Tensors of the shapes of a GPT-2 small of six layers and of a ResNet-18, with gradients that are given; the optimisers
take turns in one run, and a ratio is that of two steps of one turn.
Run by hand: python benchmarks/optimisers.py > benchmarks/optimisers.md
"""

import platform
import statistics
import time
from collections.abc import Callable, Iterator

import pytorch_optimizer
import torch
from torch import nn
from torch.optim import Optimizer

from isometry.training.optim.clipping import clip_global_norm_
from isometry.training.optim.lamb import LAMB
from isometry.training.optim.lars import LARS
from isometry.training.optim.spikes import ZClip
from isometry.training.optim.units import clip_by_unit_norm_

TURNS, WARM_UP = 20, 3
WIDTH, DEPTH, VOCABULARY, PLACES = 768, 6, 50257, 1024
ALLOWED = 1.8  # times AdamW's step

Shapes = list[tuple[int, ...]]


def gpt2() -> Shapes:
    block = [(WIDTH,), (WIDTH,), (3 * WIDTH, WIDTH), (3 * WIDTH,), (WIDTH, WIDTH), (WIDTH,), (WIDTH,), (WIDTH,)]
    block += [(4 * WIDTH, WIDTH), (4 * WIDTH,), (WIDTH, 4 * WIDTH), (WIDTH,)]
    return [(VOCABULARY, WIDTH), (PLACES, WIDTH), *(block * DEPTH), (WIDTH,), (WIDTH,)]


def resnet18() -> Shapes:
    shapes: Shapes = [(64, 3, 7, 7), (64,), (64,)]
    into = 64
    for width in (64, 128, 256, 512):
        for place in range(2):
            shapes += [(width, into, 3, 3), (width,), (width,), (width, width, 3, 3), (width,), (width,)]
            if place == 0 and into != width:
                shapes += [(width, into, 1, 1), (width,), (width,)]
            into = width
    return [*shapes, (1000, 512), (1000,)]


def parameters(shapes: Shapes) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    made = [nn.Parameter(0.02 * torch.randn(shape, generator=generator)) for shape in shapes]
    for parameter in made:
        parameter.grad = 1e-3 * torch.randn(parameter.shape, generator=generator)
    return made


def groups(made: list[nn.Parameter]) -> list[dict[str, object]]:
    """As `param_groups` sorts them."""
    vectors = {"params": [each for each in made if each.ndim < 2], "weight_decay": 0.0, "is_adapted": False}
    return [{"params": [each for each in made if each.ndim > 1], "weight_decay": 0.1}, vectors]


OPTIMISERS: dict[str, Callable[[list[dict[str, object]]], Optimizer]] = {
    "AdamW, foreach": lambda given: torch.optim.AdamW(given, lr=1e-4, foreach=True),
    "LAMB": lambda given: LAMB(given, 1e-4),
    "LARS": lambda given: LARS(given, 1e-1),
    "SGD with momentum, foreach": lambda given: torch.optim.SGD(given, lr=1e-4, momentum=0.9, foreach=True),
    "pytorch_optimizer's Lamb": lambda given: pytorch_optimizer.Lamb(
        given, lr=1e-4, weight_decouple=False, foreach=True
    ),
    "pytorch_optimizer's LARS": lambda given: pytorch_optimizer.LARS(given, lr=1e-4, foreach=True),
}


def steps(shapes: Shapes) -> dict[str, Callable[[], object]]:
    """Return a step of each optimiser and each clipping; each has its own tensors, since one writes its gradients."""
    made = parameters(shapes)
    found: dict[str, Callable[[], object]] = {}
    for name, make in OPTIMISERS.items():
        own = [nn.Parameter(each.detach().clone()) for each in made]
        for mine, each in zip(own, made, strict=True):
            mine.grad = None if each.grad is None else each.grad.clone()
        found[name] = make(groups(own)).step
    clip = ZClip()
    found["clip_global_norm_"] = lambda: clip_global_norm_(made, 1e6)
    found["torch's clip_grad_norm_"] = lambda: nn.utils.clip_grad_norm_(made, 1e6, foreach=True)
    found["ZClip"] = lambda: clip(made)
    found["clip_by_unit_norm_"] = lambda: clip_by_unit_norm_(made, 1e6)
    return found


def timed(step: Callable[[], object]) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def rows(shapes: Shapes) -> Iterator[str]:
    all_steps = steps(shapes)
    turns = [{name: timed(step) for name, step in all_steps.items()} for _ in range(WARM_UP + TURNS)][WARM_UP:]
    for name in all_steps:
        ratios = sorted(turn[name] / turn["AdamW, foreach"] for turn in turns)
        low, high = ratios[len(ratios) // 10], ratios[-1 - len(ratios) // 10]
        spent = statistics.median(turn[name] for turn in turns)
        yield f"| {name} | {1e3 * spent:.1f} | {statistics.median(ratios):.2f} | {low:.2f} to {high:.2f} |"


def main() -> None:
    print("# What a step of the optimisers costs\n")
    torch.set_num_threads(1)
    print(f"`python benchmarks/optimisers.py`, torch {torch.__version__}, {platform.machine()}, one thread;")
    print(f"medians of {TURNS} turns in one run, and the middle eight tenths.")
    print(f"On the CPU a step of LARS and LAMB may take {ALLOWED} times that of AdamW with foreach; a GPU was not")
    print("measured. Tensors of one or no axis are neither decayed nor adapted, as `param_groups` sorts them. The")
    print("gradients are given, so a step is the whole of what an optimiser adds to a training, and a clipping cuts")
    print("nothing, which takes as long as to cut.")
    print("Other work on the machine moves the milliseconds, and the ratios of steps side by side far less.")
    for title, shapes in (("A GPT-2 small of six layers", gpt2()), ("A ResNet-18", resnet18())):
        count = sum(torch.Size(shape).numel() for shape in shapes)
        print(f"\n## {title}: {len(shapes)} tensors, {count / 1e6:.0f} million numbers\n")
        print("| step | ms | over AdamW's | spread |")
        print("|---|--:|--:|--:|")
        for row in rows(shapes):
            print(row, flush=True)


if __name__ == "__main__":
    main()
