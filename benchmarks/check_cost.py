"""What `check` costs, against a bare training step of the same network, in one process: seconds and peak memory.

Prints a Markdown table. Each ratio is the median of pairs measured in turn.
Run by hand: python benchmarks/check_cost.py > benchmarks/check_cost.md
"""

import itertools
import platform
import statistics
import subprocess
import sys
import time

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

import isometry as iso

PAIRS, BATCH, WIDTH = 15, 128, 256
DEPTHS = (20, 100, 300, 1000)


def network(depth: int) -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for _ in range(depth):
        linear = nn.Linear(WIDTH, WIDTH)
        nn.init.kaiming_normal_(linear.weight)
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(WIDTH, 10))


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(BATCH, WIDTH, generator=generator), torch.randint(0, 10, (BATCH,), generator=generator)


def step(model: nn.Module, optimizer: torch.optim.Optimizer, data: tuple[Tensor, Tensor]) -> None:
    x, y = data
    optimizer.zero_grad()
    F.cross_entropy(model(x), y).backward()
    optimizer.step()


def seconds_of(depth: int) -> tuple[float, float]:
    """Return the median seconds of a bare step and of a check, measured in turn."""
    model, (x, y) = network(depth), batch()
    optimizer = torch.optim.Adam(model.parameters())
    step(model, optimizer, (x, y))
    iso.check(model, x, y, loss=F.cross_entropy)
    steps: list[float] = []
    checks: list[float] = []
    for _ in range(PAIRS):
        start = time.perf_counter()
        step(model, optimizer, (x, y))
        middle = time.perf_counter()
        iso.check(model, x, y, loss=F.cross_entropy)
        checks.append(time.perf_counter() - middle)
        steps.append(middle - start)
    return statistics.median(steps), statistics.median(checks)


def peak_of(what: str, depth: int) -> int:
    """Return the most bytes that tensors hold at one time, beyond the model, in a process that does one thing only."""
    code = f"import sys; sys.path.insert(0, 'benchmarks'); import check_cost; check_cost.grow({what!r}, {depth})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    return int(run.stdout)


def grow(what: str, depth: int) -> None:
    model, (x, y) = network(depth), batch()
    small = network(2)  # loads code and thread pools before the measurement
    optimizer = torch.optim.Adam(small.parameters())
    step(small, optimizer, (x, y))
    iso.check(small, x, y, loss=F.cross_entropy)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profiler:
        if what == "check":
            iso.check(model, x, y, loss=F.cross_entropy)
        else:
            F.cross_entropy(model(x), y).backward()
    print(highest(profiler))


def highest(profiler: torch.profiler.profile) -> int:
    """Return the most bytes that tensors held at one time, from torch's own account of its allocations."""
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = itertools.accumulate(event.nbytes() for event in sorted(events, key=lambda event: event.start_ns()))
    return max(held)


def main() -> None:
    print("# What a check costs\n")
    machine = f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    print(f"`python benchmarks/check_cost.py`, {machine}, batch {BATCH}, width {WIDTH}; a step is forward, backward")
    print(f"and Adam; medians of {PAIRS} pairs measured in turn; peaks are the most bytes that tensors hold at a time,")
    print("beyond the model.\n")
    print("| hidden layers | step, ms | check, ms | check / step | peak step, MB | peak check, MB | ratio |")
    print("|--:|--:|--:|--:|--:|--:|--:|")
    for depth in DEPTHS:
        bare, check = seconds_of(depth)
        peaks = [peak_of(what, depth) / 1e6 for what in ("step", "check")]
        row = [f"{1e3 * bare:.1f}", f"{1e3 * check:.1f}", f"{check / bare:.2f}", f"{peaks[0]:.0f}", f"{peaks[1]:.0f}"]
        print(f"| {depth} | {' | '.join(row)} | {peaks[1] / max(peaks[0], 1e-9):.2f} |", flush=True)


if __name__ == "__main__":
    main()
