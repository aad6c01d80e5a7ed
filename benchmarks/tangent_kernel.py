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
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev, jvp, vjp, vmap

from isometry.probes.tangent.kernel import tangent_kernel

NUM_EXAMPLES, NUM_INPUTS, WIDTH, NUM_OUTPUTS = 500, 196, 1024, 10
REPEATS, FEW = 3, 20
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


@dataclass(frozen=True, slots=True)
class Run:
    """One call: how long it took, and the most memory that the process held beyond its start, the result included."""

    seconds: float
    held: int
    kernel: Tensor


def run(way: Kernel, count: int) -> Run:
    model, inputs = network(), examples(count)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # Linux: the peak begins anew
    before = status("VmRSS")
    start = time.perf_counter()
    kernel = way(model, inputs)
    return Run(time.perf_counter() - start, status("VmHWM") - before, kernel)


def status(key: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(key))


def table(names: tuple[str, ...], count: int) -> None:
    runs: dict[str, list[Run]] = {name: [] for name in names}
    for name in names:
        WAYS[name](network(), examples(2))  # what is loaded once
    for _ in range(REPEATS):
        for name in names:
            runs[name].append(run(WAYS[name], count))
            reference = runs["factors"][-1].kernel
            assert (runs[name][-1].kernel - reference).norm() < 1e-5 * reference.norm(), name
    print(f"\n{count} examples, {REPEATS} runs of each in turn:\n")
    print("| way | median, s | least to most, s | times the first, median of runs | memory, MB |")
    print("|---|--:|--:|--:|--:|")
    for name in names:
        times = [each.seconds for each in runs[name]]
        ratio = statistics.median(own / first.seconds for own, first in zip(times, runs["factors"], strict=True))
        held = statistics.median(each.held for each in runs[name]) / 1e6
        spread = f"{min(times):.3g} to {max(times):.3g}"
        print(f"| {NAMES[name]} | {statistics.median(times):.3g} | {spread} | {ratio:.1f} | {held:.0f} |", flush=True)


def main() -> None:
    print("# The tangent kernel\n")
    print(f"`python benchmarks/tangent_kernel.py`: the full kernel of {NUM_OUTPUTS} outputs of a network with one")
    print(f"hidden layer of width {WIDTH}, {NUM_INPUTS} inputs, float32, {platform.machine()}, {os.cpu_count()} cores,")
    print(
        f"{torch.get_num_threads()} threads, torch {torch.__version__}. All ways agree to 1e-5. Memory is the most that"
    )
    print("the process held beyond what it held before, the kernel itself included.")
    table(("factors", "jacobian", "vectors"), FEW)
    table(("factors", "jacobian"), NUM_EXAMPLES)


if __name__ == "__main__":
    main()
