"""What watching a training costs, against the bare loop of the same network: isometry, wandb and TensorBoard.

All loops of a network run in one process and in turn, each on its own copy of the model, in blocks of ten steps; a
ratio is the median over the rounds of a block's time to that of the bare loop in the same round. isometry measures all
it can, judges, and writes its records to disk; snapshots are timed apart. wandb.watch(log="all") runs offline.
TensorBoard gets a histogram of each weight and each gradient. Allowed are 3 % (GPT-2: 2 %) at every tenth step, 30 %
(15 %) at each.
Run by hand, on a machine that does nothing else: python benchmarks/watch_cost.py --write
"""

import contextlib
import copy
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

import isometry as iso

PAGE = Path(__file__).with_suffix(".md")
BLOCK, ROUNDS = 10, 7  # steps, a multiple of every cadence; blocks of each loop
Case = tuple[nn.Module, Any, Tensor | None]
Notice = Callable[[Tensor], None]
Watcher = Callable[[nn.Module, torch.optim.Optimizer], AbstractContextManager[Notice]]


def mlp() -> Case:
    layers: list[nn.Module] = []
    for _ in range(20):
        linear = nn.Linear(256, 256)
        nn.init.kaiming_normal_(linear.weight)
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(256, 10)), torch.randn(128, 256), torch.randint(0, 10, (128,))


def cnn() -> Case:
    body: list[nn.Module] = []
    for into, out in ((3, 32), (32, 32), (32, 64), (64, 64)):
        body += [nn.Conv2d(into, out, 3, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU()]
        body += [nn.MaxPool2d(2)] if into == out else []
    model = nn.Sequential(*body, nn.Flatten(), nn.Linear(64 * 8 * 8, 10))
    return model, torch.randn(64, 3, 32, 32), torch.randint(10, (64,))


def gpt2() -> Case:
    import transformers  # noqa: PLC0415 - loud and slow to load, and needed by one row

    transformers.logging.set_verbosity_error()
    config = transformers.GPT2Config(n_layer=4, n_embd=256, n_head=4, vocab_size=1000, bos_token_id=0, eos_token_id=0)
    tokens = torch.randint(1000, (8, 128))
    return transformers.GPT2LMHeadModel(config), {"input_ids": tokens, "labels": tokens}, None


NETWORKS: dict[str, Callable[[], Case]] = {
    "MLP of 20 x 256, batch 128": mlp,
    "CNN of 4 convolutions, 64 images of 32 x 32": cnn,
    "GPT-2 of 4 layers, width 256, 8 x 128 tokens": gpt2,
}


@contextmanager
def bare(_model: nn.Module, _optimizer: torch.optim.Optimizer) -> Iterator[Notice]:
    yield lambda _: None


def isometry(every: int, *, snapshot_every: int | None = None) -> Watcher:
    @contextmanager
    def watcher(model: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[Notice]:
        with (
            tempfile.TemporaryDirectory() as folder,
            iso.watch(model, optimizer, every=every, to=[folder], snapshot_every=snapshot_every) as run,
        ):
            yield run.step

    return watcher


def wandb(every: int) -> Watcher:
    @contextmanager
    def watcher(model: nn.Module, _: torch.optim.Optimizer) -> Iterator[Notice]:
        import wandb as library  # noqa: PLC0415 - starts a service when it is loaded

        with tempfile.TemporaryDirectory() as folder:
            settings = library.Settings(silent=True)
            # Its hooks write to the one run of the process; each cadence has blocks of its own, and empties it there.
            run = library.run or library.init(mode="offline", dir=folder, settings=settings)
            run.watch(model, log="all", log_freq=every)
            steps = iter(range(1, 1 << 40))

            def notice(loss: Tensor) -> None:
                if next(steps) % every == 0:
                    run.log({"loss": loss.item()})

            yield notice
            run.unwatch(model)
            if library.run is run:
                run.finish()

    return watcher


def tensorboard(every: int) -> Watcher:
    @contextmanager
    def watcher(model: nn.Module, _: torch.optim.Optimizer) -> Iterator[Notice]:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - loads TensorBoard

        with tempfile.TemporaryDirectory() as folder, SummaryWriter(folder) as writer:
            steps = iter(range(1, 1 << 40))

            def notice(loss: Tensor) -> None:
                step = next(steps)
                if step % every == 0:
                    writer.add_scalar("loss", loss.item(), step)
                    for name, parameter in model.named_parameters():
                        writer.add_histogram(f"weight/{name}", parameter, step)
                        if parameter.grad is not None:
                            writer.add_histogram(f"gradient/{name}", parameter.grad, step)

            yield notice

    return watcher


ALLOWED = {
    "isometry, every 10": {"MLP": "1.03", "CNN": "1.03", "GPT-2": "1.02"},
    "isometry, every step": {"MLP": "1.30", "CNN": "1.30", "GPT-2": "1.15"},
}
SNAPSHOTS = "isometry, every 10, and snapshots"
WATCHERS: dict[str, Watcher] = {
    "isometry, every 10": isometry(10),
    "isometry, every step": isometry(1),
    "wandb.watch, every 10": wandb(10),
    "wandb.watch, every step": wandb(1),
    "TensorBoard, every 10": tensorboard(10),
    "TensorBoard, every step": tensorboard(1),
    SNAPSHOTS: isometry(10, snapshot_every=BLOCK),
}


def loop(case: Case, notice: Notice, optimizer: torch.optim.Optimizer) -> Callable[[], None]:
    model, x, y = case

    def block() -> None:
        for _ in range(BLOCK):
            optimizer.zero_grad()
            loss = model(**x).loss if y is None else F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            notice(loss)

    return block


def costs_of(build: Callable[[], Case], watchers: dict[str, Watcher]) -> tuple[float, dict[str, list[float]]]:
    """Return seconds of a bare step, and for each watcher the ratios of its blocks to the bare ones."""
    torch.manual_seed(0)
    model, x, y = build()
    seconds: dict[str, list[float]] = {}
    with contextlib.ExitStack() as stack:
        blocks: dict[str, Callable[[], None]] = {}
        for name, watcher in {"bare": bare, **watchers}.items():
            own = copy.deepcopy(model)
            optimizer = torch.optim.Adam(own.parameters(), lr=1e-4)
            blocks[name] = loop((own, x, y), stack.enter_context(watcher(own, optimizer)), optimizer)
        for each in blocks.values():
            each()
        for _ in range(ROUNDS):
            for name, each in blocks.items():
                start = time.perf_counter()
                each()
                seconds.setdefault(name, []).append(time.perf_counter() - start)
    ratios = {name: [own / base for own, base in zip(seconds[name], seconds["bare"], strict=True)] for name in watchers}
    return statistics.median(seconds["bare"]) / BLOCK, ratios


def page() -> Iterator[str]:
    yield "# What watching a training costs\n"
    machine = f"{platform.machine()}, {torch.get_num_threads()} threads"
    yield f"`python benchmarks/watch_cost.py --write`, {machine}, torch"
    yield f"{torch.__version__}; a step is forward, backward and Adam. Each ratio is the median of {ROUNDS} blocks of"
    yield f"{BLOCK} steps, each over the block of the bare loop measured beside it. isometry measures, judges and"
    yield 'writes its records; wandb.watch(log="all") is offline; TensorBoard has histograms of weights and'
    yield "gradients alone.\n"
    yield "| network | bare step, ms | watched by | ratio | middle half | allowed |"
    yield "|---|--:|---|--:|--:|--:|"
    snapshots: list[str] = []
    for network, build in NETWORKS.items():
        step, ratios = costs_of(build, WATCHERS)
        for name, each in ratios.items():
            low, middle, high = statistics.quantiles(each, n=4)
            allowed = ALLOWED.get(name, {}).get(network.split()[0], "")
            if name != SNAPSHOTS:
                yield f"| {network} | {1e3 * step:.1f} | {name} | {middle:.3f} | {low:.3f} to {high:.3f} | {allowed} |"
        pairs = zip(ratios[SNAPSHOTS], ratios["isometry, every 10"], strict=True)
        steps = statistics.median(BLOCK * (one - other) for one, other in pairs)
        snapshots.append(f"| {network} | {1e3 * step * steps:.1f} | {steps:.2f} |")
    yield "\nA snapshot with its checkpoint on disk costs in addition, once in `snapshot_every` (100) steps:\n"
    yield "| network | snapshot, ms | in bare steps |"
    yield "|---|--:|--:|"
    yield from snapshots
    yield "\nThe MLP was above what is allowed when this was last written: at its steps of 10 ms the flag tested in"
    yield "every step, which reads all gradients once, takes some 3 to 4 %, and a measured step adds some 4 ms for 40"
    yield "layers, half of it calls of Python."


def main() -> None:
    lines: list[str] = []
    for line in page():
        print(line, flush=True)
        lines.append(line)
    if "--write" in sys.argv[1:]:
        PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
