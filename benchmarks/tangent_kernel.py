"""The full empirical tangent kernel beside the two ways of PyTorch's tutorial on neural tangent kernels.

Run by hand: python benchmarks/tangent_kernel.py > benchmarks/tangent_kernel.md

The rivals are those of the tutorial. The Jacobian contraction takes the Jacobians of all examples by vmap(jacrev), here
once where the tutorial takes them of two sets, and contracts them layer by layer. NTK-vector products multiply the
kernel of each pair of examples with the unit vectors of the outputs by vjp and jvp under vmap; of 500 examples they
would take minutes, and are measured on fewer. All give the same kernel, which is checked before anything is timed. Runs
of the ways take turns in one process.
"""

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev, jvp, vjp, vmap

from isometry.probes.tangent.kernel import tangent_kernel

NUM_EXAMPLES, NUM_INPUTS, WIDTH, NUM_OUTPUTS = 500, 196, 1024, 10
REPEATS, FEW = 5, 20
Kernel = Callable[[nn.Module, Tensor], Tensor]


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(NUM_INPUTS, WIDTH), nn.ReLU(), nn.Linear(WIDTH, NUM_OUTPUTS))


def examples(count: int) -> Tensor:
    return torch.randn(count, NUM_INPUTS, generator=torch.Generator().manual_seed(0))


def jacobian_contraction(model: nn.Module, inputs: Tensor) -> Tensor:
    parameters = {name: each.detach() for name, each in model.named_parameters()}

    def single(chosen: dict[str, Tensor], example: Tensor) -> Tensor:
        return functional_call(model, chosen, (example.unsqueeze(0),)).squeeze(0)

    jacobians = [each.flatten(2) for each in vmap(jacrev(single), (None, 0))(parameters, inputs).values()]
    products = [torch.einsum("Naf,Mbf->NMab", each, each) for each in jacobians]
    return torch.stack(products).sum(0).permute(0, 2, 1, 3)


def vector_products(model: nn.Module, inputs: Tensor) -> Tensor:
    parameters = {name: each.detach() for name, each in model.named_parameters()}

    def pair(first: Tensor, second: Tensor) -> Tensor:
        def at_first(chosen: dict[str, Tensor]) -> Tensor:
            return functional_call(model, chosen, (first.unsqueeze(0),)).squeeze(0)

        def at_second(chosen: dict[str, Tensor]) -> Tensor:
            return functional_call(model, chosen, (second.unsqueeze(0),)).squeeze(0)

        output, pull = vjp(at_second, parameters)

        def product(vector: Tensor) -> Tensor:
            return jvp(at_first, (parameters,), pull(vector))[1]

        return vmap(product)(torch.eye(output.numel()))

    found = vmap(vmap(pair, (None, 0)), (0, None))(inputs, inputs)
    return found.permute(0, 3, 1, 2)


def by_factors(model: nn.Module, inputs: Tensor) -> Tensor:
    return tangent_kernel(model, inputs)


WAYS: dict[str, Kernel] = {"factors": by_factors, "jacobian": jacobian_contraction, "vectors": vector_products}
NAMES = {
    "factors": "isometry, `tangent_kernel`",
    "jacobian": "tutorial, Jacobian contraction",
    "vectors": "tutorial, NTK-vector products",
}


def seconds(way: Kernel, count: int) -> float:
    model, inputs = network(), examples(count)
    start = time.perf_counter()
    way(model, inputs)
    return time.perf_counter() - start


def resident(name: str, count: int) -> int:
    """Return the most memory that a process of its own held beyond what it held before, bytes."""
    program = [sys.executable, __file__, name, str(count)]
    return int(subprocess.run(program, capture_output=True, text=True, check=True).stdout)  # noqa: S603 - this file


def peak_beyond_start(name: str, count: int) -> int:
    model, inputs = network(), examples(count)
    WAYS[name](model, inputs[:2])  # what is loaded once
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # Linux: the peak begins anew
    before = _status("VmRSS")
    WAYS[name](model, inputs)
    return _status("VmHWM") - before


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(key))


def table(names: tuple[str, ...], count: int, repeats: int) -> dict[str, list[float]]:
    reference = by_factors(network().double(), examples(count).double())
    for name in names:
        difference = (WAYS[name](network(), examples(count)).double() - reference).norm() / reference.norm()
        assert difference < 1e-5, (name, difference)
    times: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(repeats):
        for name in names:
            times[name].append(seconds(WAYS[name], count))
    print(f"\n{count} examples, {repeats} runs of each in turn:\n")
    print("| way | median, s | least to most, s | times the first, median of runs | memory beside the start, MB |")
    print("|---|--:|--:|--:|--:|")
    for name in names:
        ratio = statistics.median(own / first for own, first in zip(times[name], times["factors"], strict=True))
        middle, held = statistics.median(times[name]), resident(name, count) / 1e6
        spread = f"{min(times[name]):.3g} to {max(times[name]):.3g}"
        print(f"| {NAMES[name]} | {middle:.3g} | {spread} | {ratio:.1f} | {held:.0f} |", flush=True)
    return times


def main() -> None:
    print("# The tangent kernel\n")
    print(
        f"`python benchmarks/tangent_kernel.py`: the full kernel of {NUM_OUTPUTS} outputs of a network with one hidden"
    )
    print(f"layer of width {WIDTH}, {NUM_INPUTS} inputs, float32, {platform.machine()}, {os.cpu_count()} cores,")
    print(
        f"{torch.get_num_threads()} threads, torch {torch.__version__}. All ways agree to 1e-5. Memory is the process's"
    )
    print("peak beyond what it held before, the kernel itself included, each way in a process of its own.")
    table(("factors", "jacobian"), NUM_EXAMPLES, REPEATS)
    table(("factors", "jacobian", "vectors"), FEW, REPEATS)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(peak_beyond_start(sys.argv[1], int(sys.argv[2])))
    else:
        main()
