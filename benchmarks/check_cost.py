"""What `check` costs, against a bare training step of the same network, in one process: seconds and peak memory.

Without trial, proof and Jacobian. Held to at most 3 steps and 0.3 s, 1.3 times the peak, and growth in line with depth.
Prints a Markdown table. Each ratio is the median of pairs measured in turn.
Run by hand: OMP_NUM_THREADS=1 python benchmarks/check_cost.py > benchmarks/check_cost.md
"""

import itertools
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

import isometry as iso

PAIRS, BATCH, WIDTH = 15, 128, 256
DEPTHS = (20, 100, 300, 1000)
STEPS, REST = 3, 0.3  # of a check at most: bare training steps, and seconds
ALONE = iso.Settings(steps=0, proofs=0)  # no trial, no proof
Case = tuple[nn.Module, Any, Tensor | None]


def network(depth: int) -> Case:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for _ in range(depth):
        linear = nn.Linear(WIDTH, WIDTH)
        nn.init.kaiming_normal_(linear.weight)
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(WIDTH, 10))
    return model, torch.randn(BATCH, WIDTH), torch.randint(0, 10, (BATCH,))


class Block(nn.Module):
    """A basic block of ResNet-18."""

    def __init__(self, into: int, out: int, stride: int) -> None:
        super().__init__()
        self.first, self.second = (
            nn.Conv2d(into, out, 3, stride, 1, bias=False),
            nn.Conv2d(out, out, 3, 1, 1, bias=False),
        )
        self.norms = nn.ModuleList([nn.BatchNorm2d(out), nn.BatchNorm2d(out)])
        shortcut = nn.Sequential(nn.Conv2d(into, out, 1, stride, bias=False), nn.BatchNorm2d(out))
        self.shortcut = shortcut if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        hidden = F.relu(self.norms[0](self.first(x)))
        return F.relu(self.norms[1](self.second(hidden)) + self.shortcut(x))


def resnet() -> Case:
    torch.manual_seed(0)
    body: list[nn.Module] = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    for into, out in ((16, 16), (16, 32), (32, 64), (64, 128)):
        body += [Block(into, out, 1 if into == out else 2), Block(out, out, 1)]
    model = nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10))
    return model, torch.randn(32, 3, 32, 32), torch.randint(10, (32,))


def gpt2() -> Case:
    import transformers  # noqa: PLC0415 - loud and slow to load, and needed by one row

    torch.manual_seed(0)
    transformers.logging.set_verbosity_error()
    config = transformers.GPT2Config(n_layer=4, n_embd=256, n_head=4, vocab_size=1000, bos_token_id=0, eos_token_id=0)
    tokens = torch.randint(1000, (8, 128))
    return transformers.GPT2LMHeadModel(config), {"input_ids": tokens, "labels": tokens}, None


MODELS: dict[str, Callable[[], Case]] = {
    "ResNet-18 of width 16, 32 images of 32 x 32": resnet,
    "GPT-2 of 4 layers, width 256, 8 x 128 tokens": gpt2,
    **{f"MLP of {depth} x {WIDTH}, batch {BATCH}": lambda depth=depth: network(depth) for depth in DEPTHS},
}


def loss_of(case: Case) -> Tensor:
    model, x, y = case
    return model(**x).loss if y is None else F.cross_entropy(model(x), y)


def step(case: Case, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    loss_of(case).backward()
    optimizer.step()


def check(case: Case) -> None:
    model, x, y = case
    iso.check(model, x, y, loss=None if y is None else F.cross_entropy, settings=ALONE)


def seconds_of(name: str) -> tuple[float, float]:
    """Return the median seconds of a bare step and of a check, measured in turn."""
    case = MODELS[name]()
    optimizer = torch.optim.Adam(case[0].parameters())
    step(case, optimizer)
    check(case)
    steps: list[float] = []
    checks: list[float] = []
    for _ in range(PAIRS):
        start = time.perf_counter()
        step(case, optimizer)
        middle = time.perf_counter()
        check(case)
        checks.append(time.perf_counter() - middle)
        steps.append(middle - start)
    return statistics.median(steps), statistics.median(checks)


def peak_of(what: str, name: str) -> int:
    """Return the most bytes that tensors hold at one time, beyond the model, in a process that does one thing only."""
    code = f"import sys; sys.path.insert(0, 'benchmarks'); import check_cost; check_cost.grow({what!r}, {name!r})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    return int(run.stdout.splitlines()[-1])


def grow(what: str, name: str) -> None:
    case, small = MODELS[name](), network(2)  # the small one loads code and thread pools before the measurement
    step(small, torch.optim.Adam(small[0].parameters()))
    check(small)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profiler:
        if what == "check":
            check(case)
        else:
            loss_of(case).backward()
    print(highest(profiler))


def highest(profiler: torch.profiler.profile) -> int:
    """Return the most bytes that tensors held at one time, from torch's own account of its allocations."""
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = itertools.accumulate(event.nbytes() for event in sorted(events, key=lambda event: event.start_ns()))
    return max(held)


def main() -> None:
    print("# What a check costs\n")
    machine = f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    print(f"`python benchmarks/check_cost.py`, {machine}; a step is forward, backward and Adam; a check is")
    print(
        f"without trial, proof and Jacobian; medians of {PAIRS} pairs measured in turn; allowed are {STEPS} steps and"
    )
    print(f"{REST} s; peaks are the most bytes that tensors hold at a time, beyond the model.\n")
    print("| network | step, ms | check, ms | allowed, ms | check / step | peak step, MB | peak check, MB | ratio |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|")
    for name in MODELS:
        bare, seconds = seconds_of(name)
        peaks = [peak_of(what, name) / 1e6 for what in ("step", "check")]
        times = [
            f"{1e3 * bare:.1f}",
            f"{1e3 * seconds:.1f}",
            f"{1e3 * (STEPS * bare + REST):.0f}",
            f"{seconds / bare:.2f}",
        ]
        row = [name, *times, f"{peaks[0]:.0f}", f"{peaks[1]:.0f}", f"{peaks[1] / max(peaks[0], 1e-9):.2f}"]
        print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
