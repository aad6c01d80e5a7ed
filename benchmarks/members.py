"""Small networks side by side against loops over modules: time for a step of one network, in one run.

Networks 64-w-w-10 with ReLU, batches of 64, each network with its own, Adam. The rivals: a plain loop over modules with
torch.optim.Adam; a loop with fused Adam in two processes of one thread each, half of the networks to each; and
torch.func.vmap over gradients, with fused Adam on the stacked parameters. All but the second use as many threads as are
given, two without. On a quiet machine, by hand: python -m benchmarks.members 2 > benchmarks/members.md
"""

import copy
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from statistics import median

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.nn import functional

from isometry.lab.members.member import Member, initial_weights
from isometry.lab.members.training import Examples, SideBySide
from tests.lab.members.plain_modules import relu_module

PROCESSES = 2
INPUTS, CLASSES, NUM_EXAMPLES, BATCH = 64, 10, 1280, 64
WIDTHS, COUNTS = (8, 32, 64, 128, 512), (8, 32, 128)
WIDEST = 512  # takes fewer and shorter repetitions, and not with most members
WORK, WORK_WIDEST = 640, 64  # steps of single networks that a repetition takes
REPETITIONS, REPETITIONS_WIDEST = 5, 3

HEADER = """# Small networks side by side

`python -m benchmarks.members {threads}`, {machine}, two cores, torch {torch}. Networks 64-w-w-10 with ReLU, batches of
{batch}, each network with its own, Adam, float32. Microseconds for a step of one network, and the rivals' times over
side by side: medians, with the range of single repetitions.

Loop: modules and `torch.optim.Adam`. Two processes: the same loop with fused Adam, half of the networks in each of two
processes of one thread. vmap: `torch.func.vmap` over gradients, and fused Adam on the stacked parameters. All but the
second run in one process of {threads} thread(s).

| w | networks | loop | two processes | vmap | side by side | loop / | two processes / | vmap / |
|--:|--:|--:|--:|--:|--:|--:|--:|--:|"""

Run = Callable[[int], object]  # takes steps that all networks make
prepared: dict[str, Run] = {}  # in a worker: its half of the networks


def examples() -> Examples:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(NUM_EXAMPLES, INPUTS, generator=generator)
    labels = torch.randint(CLASSES, (NUM_EXAMPLES,), generator=generator)
    return Examples(inputs=inputs, labels=labels, num_classes=CLASSES)


def members(width: int, count: int) -> list[Member]:
    return [Member(hidden=(width, width), seed=seed) for seed in range(count)]


def modules(width: int, count: int) -> list[nn.Sequential]:
    drawn = (initial_weights(each, INPUTS, CLASSES, dtype=torch.float32) for each in members(width, count))
    return [relu_module(weights) for weights in drawn]


def batches(generators: list[torch.Generator]) -> Iterator[Tensor]:
    """Yield rows of a batch each, (networks, batch), each network in an order of its own."""
    while True:
        orders = torch.stack([torch.randperm(NUM_EXAMPLES, generator=each) for each in generators])
        yield from orders.split(BATCH, dim=1)


def orders(count: int) -> Iterator[Tensor]:
    return batches([torch.Generator().manual_seed(seed) for seed in range(count)])


def in_a_loop(width: int, count: int, *, is_fused: bool) -> Run:
    models, data, rows = modules(width, count), examples(), orders(count)
    optimizers = [torch.optim.Adam(model.parameters(), fused=is_fused or None) for model in models]

    def advance(steps: int) -> None:
        for _ in range(steps):
            for model, optimizer, own in zip(models, optimizers, next(rows), strict=True):
                optimizer.zero_grad()
                functional.cross_entropy(model(data.inputs[own]), data.labels[own]).backward()
                optimizer.step()

    return advance


def prepare(width: int, count: int) -> None:
    torch.set_num_threads(1)
    prepared["run"] = in_a_loop(width, count, is_fused=True)


def advance(steps: int) -> None:
    prepared["run"](steps)


def in_processes(width: int, count: int, pools: list[ProcessPoolExecutor]) -> Run:
    for future in [pool.submit(prepare, width, count // len(pools)) for pool in pools]:
        future.result()

    def advance_all(steps: int) -> None:
        for future in [pool.submit(advance, steps) for pool in pools]:
            future.result()

    return advance_all


def with_vmap(width: int, count: int) -> Run:
    models, data, rows = modules(width, count), examples(), orders(count)
    parameters, _ = stack_module_state(models)
    skeleton = copy.deepcopy(models[0]).to("meta")
    optimizer = torch.optim.Adam(parameters.values(), fused=True)

    def loss(own: dict[str, Tensor], inputs: Tensor, labels: Tensor) -> Tensor:
        return functional.cross_entropy(functional_call(skeleton, own, (inputs,)), labels)

    gradients = vmap(grad(loss))

    def advance(steps: int) -> None:
        for _ in range(steps):
            own = next(rows)
            found = gradients(parameters, data.inputs[own], data.labels[own])
            for name, parameter in parameters.items():
                parameter.grad = found[name]
            optimizer.step()

    return advance


def side_by_side(width: int, count: int) -> Run:
    together = SideBySide(members(width, count), examples(), order="own")
    per_epoch = NUM_EXAMPLES // BATCH

    def advance(steps: int) -> None:
        for _ in together.train(steps // per_epoch, batch_size=BATCH):
            pass

    return advance


def seconds_of(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def row(width: int, count: int, pools: list[ProcessPoolExecutor]) -> str:
    """Return one row of the table: a step of one network, and ratios of single repetitions."""
    is_widest = width == WIDEST
    steps = max(1, (WORK_WIDEST if is_widest else WORK) // count)
    epoch = NUM_EXAMPLES // BATCH  # side by side is timed over whole epochs
    ours = side_by_side(width, count)
    runs: dict[str, tuple[Run, int]] = {
        "loop": (in_a_loop(width, count, is_fused=False), steps),
        "processes": (in_processes(width, count, pools), steps),
        "vmap": (with_vmap(width, count), steps),
        "ours": (ours, epoch if is_widest else max(epoch, steps // epoch * epoch)),
    }
    for each, number in runs.values():
        each(number if each is ours else 2)
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(REPETITIONS_WIDEST if is_widest else REPETITIONS):
        for name, (each, number) in runs.items():
            seconds = seconds_of(lambda each=each, number=number: each(number))
            times[name].append(1e6 * seconds / number / count)
    cells = [f"{median(values):.0f}" for values in times.values()]
    for name in ("loop", "processes", "vmap"):
        ratios = [theirs / own for theirs, own in zip(times[name], times["ours"], strict=True)]
        cells.append(f"**{median(ratios):.1f}** ({min(ratios):.1f} to {max(ratios):.1f})")
    return "| " + " | ".join((str(width), str(count), *cells)) + " |"


def width_experiment(num_seeds: int) -> str:
    """Run the whole experiment by its command, start and picture included, and return the time it took."""
    with tempfile.TemporaryDirectory() as folder:
        words = ("lab", "run", "double-descent-width", "--seeds", str(num_seeds), "--out", folder)
        command = [sys.executable, "-m", "isometry", *words]
        seconds = seconds_of(lambda: subprocess.run(command, check=True, capture_output=True))  # noqa: S603 - our own
    return f"{num_seeds} seed{'s' * (num_seeds > 1)} in {seconds:.0f} s"


def main() -> None:
    threads = int(sys.argv[1]) if len(sys.argv) > 1 else PROCESSES
    torch.set_num_threads(threads)
    print(HEADER.format(threads=threads, machine=platform.machine(), torch=torch.__version__, batch=BATCH), flush=True)
    pools = [ProcessPoolExecutor(1, mp_context=get_context("spawn")) for _ in range(PROCESSES)]
    for width in WIDTHS:
        for count in COUNTS:
            if width != WIDEST or count != max(COUNTS):
                print(row(width, count, pools), flush=True)
    for pool in pools:
        pool.shutdown()
    experiment = ", ".join(map(width_experiment, (1, 3)))
    print(f"\nWhole `double-descent-width` (17 widths, 400 epochs, 1,000 images), a process a seed: {experiment}.")


if __name__ == "__main__":
    main()
