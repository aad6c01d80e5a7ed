"""What it costs to watch a step through TorchFunctionMode and TorchDispatchMode, and what each of them sees.

Both modes only pass on what they are shown, and count it. Each ratio is the median of pairs measured in turn, with the
quartiles behind it.
Run by hand: python benchmarks/modes.py > benchmarks/modes.md
"""

import platform
import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import GPT2Config, GPT2LMHeadModel

from isometry.anatomy.task import tensors_in

ROUNDS = 31
Step = Callable[[], Tensor]


class Count:
    """What a mode was shown: calls, those with a parameter among their operands, results on which a hook can be set."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = self.with_parameter = self.hookable = 0
        self.names: list[str] = []

    def pass_on(self, func: Any, args: Any, kwargs: Any) -> Any:
        result = func(*args, **(kwargs or {}))
        self.calls += 1
        self.with_parameter += any(isinstance(each, nn.Parameter) for each in tensors_in((args, kwargs)))
        self.hookable += any(each.requires_grad for each in tensors_in(result))
        self.names.append(getattr(func, "__name__", str(func)))
        return result


class FunctionCount(Count, TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: PLR0917 - torch's own
        return self.pass_on(func, args, kwargs)


class DispatchCount(Count, TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: PLR0917 - torch's own
        return self.pass_on(func, args, kwargs)


class FunctionPass(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: PLR0917 - torch's own
        return func(*args, **(kwargs or {}))


class DispatchPass(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: PLR0917 - torch's own
        return func(*args, **(kwargs or {}))


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(width)
        self.second = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        branch = self.second_norm(self.second(F.relu(self.first_norm(self.first(x)))))
        return F.relu(x + branch)


def mlp() -> Step:
    layers = [layer for _ in range(20) for layer in (nn.Linear(256, 256), nn.ReLU())]
    model, x, y = nn.Sequential(*layers, nn.Linear(256, 10)), torch.randn(128, 256), torch.randint(10, (128,))
    return lambda: F.cross_entropy(model(x), y)


def resnet() -> Step:
    trunk = [nn.Conv2d(3, 32, 3, padding=1), *(Block(32) for _ in range(8)), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    model, x, y = nn.Sequential(*trunk, nn.Linear(32, 10)), torch.randn(16, 3, 16, 16), torch.randint(10, (16,))
    return lambda: F.cross_entropy(model(x), y)


def gpt2() -> Step:
    model = GPT2LMHeadModel(GPT2Config(n_layer=4, n_embd=128, n_head=4, vocab_size=1000, n_positions=64))
    ids = torch.randint(1000, (8, 64))
    return lambda: model(input_ids=ids, labels=ids).loss


MODELS = {"MLP, 20 × 256, batch 128": mlp, "ResNet, 8 blocks of 32, 16 × 16": resnet, "GPT-2, 4 layers of 128": gpt2}


def seconds(step: Step, watch: Callable[[], AbstractContextManager[Any]]) -> float:
    start = time.process_time()
    with watch():
        step().backward()
    return time.process_time() - start


def ratios(step: Step) -> tuple[list[float], list[float], float]:
    """Return the ratios of both modes to a bare step, and the median seconds of the bare one."""
    function, dispatch, bare = [], [], []
    for _ in range(ROUNDS):
        bare.append(seconds(step, nullcontext))
        function.append(seconds(step, FunctionPass) / bare[-1])
        dispatch.append(seconds(step, DispatchPass) / bare[-1])
    return function, dispatch, statistics.median(bare)


def told(values: list[float]) -> str:
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def seen(step: Step, watch: type[Any]) -> str:
    with watch() as forward:
        loss = step()
    with watch() as backward:
        loss.backward()
    of = f"{forward.calls} + {backward.calls}"
    return f"{of} | {forward.with_parameter} | {forward.hookable}"


def names_of(watch: type[Any]) -> str:
    layer, x = nn.Linear(4, 4), torch.randn(2, 4)
    with watch() as mode:
        F.relu(layer(x))
    return ", ".join(f"`{name}`" for name in mode.names)


def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    print("# Two ways to watch a step\n")
    print(f"`python benchmarks/modes.py`, torch {torch.__version__}, {platform.machine()}, one thread. Forward and")
    print("backward pass inside a mode that only passes on, over the bare ones: median (quartiles) of")
    print(f"{ROUNDS} pairs measured in turn, in seconds of the processor.\n")
    print("| model | bare, ms | TorchFunctionMode | TorchDispatchMode |")
    print("|---|--:|--:|--:|")
    steps = {name: build() for name, build in MODELS.items()}
    for name, step in steps.items():
        for watch in (nullcontext, FunctionPass, DispatchPass):
            seconds(step, watch)
        function, dispatch, bare = ratios(step)
        print(f"| {name} | {1e3 * bare:.1f} | {told(function)} | {told(dispatch)} |", flush=True)
    print("\nWhat each is shown: calls of the forward + the backward pass; of the forward calls, those with an")
    print(
        "`nn.Parameter` among their operands, and those whose result already requires a gradient, so that a hook can be"
    )
    print("set on it.\n")
    print("| model | mode | calls | with a parameter | can be hooked |")
    print("|---|---|--:|--:|--:|")
    for name, step in steps.items():
        for watch, title in ((FunctionCount, "function"), (DispatchCount, "dispatch")):
            print(f"| {name} | {title} | {seen(step, watch)} |", flush=True)
    print(f"\n`F.relu(nn.Linear(4, 4)(x))` is {names_of(FunctionCount)} to the function mode and")
    print(f"{names_of(DispatchCount)} to the dispatch mode.")


if __name__ == "__main__":
    main()
