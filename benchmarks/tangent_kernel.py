"""The full empirical tangent kernel beside the two ways of PyTorch's tutorial on neural tangent kernels.

Run by hand: python benchmarks/tangent_kernel.py > benchmarks/tangent_kernel.md

The rivals are those of the tutorial. The Jacobian contraction takes the Jacobians of all examples by vmap(jacrev), here
once where the tutorial takes them of two sets, and contracts them layer by layer. NTK-vector products multiply the
kernel of each pair of examples with the unit vectors of the outputs by vjp and jvp under vmap; of 500 examples they
would take minutes, and are measured on fewer. All give the same kernel, which is checked of every run. Runs of the ways
take turns in one process.
"""

import os
import platform
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev, jvp, vjp, vmap

from isometry.probes.tangent.kernel import tangent_kernel

SIDE, WIDTH, NUM_OUTPUTS = 14, 1024, 10
REPEATS, FEW, MORE, MANY = 3, 20, 100, 500
Kernel = Callable[[nn.Module, Tensor], Tensor]


class Transformer(nn.Module):
    """Reads the rows of an image as words, with their places."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Linear(SIDE, 64), nn.Parameter(torch.randn(1, SIDE, 64) / 50)
        layer = nn.TransformerEncoderLayer(64, 4, 128, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(64, NUM_OUTPUTS)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.encoder(self.words(images[:, 0]) + self.places).mean(1))


def hidden() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(SIDE**2, WIDTH), nn.ReLU(), nn.Linear(WIDTH, NUM_OUTPUTS))


def convolutional() -> nn.Module:
    first, second, third = (nn.Conv2d(channels, 32, 3, padding=1) for channels in (1, 32, 32))
    middle = (first, nn.ReLU(), second, nn.ReLU(), nn.MaxPool2d(2), third, nn.ReLU())
    return nn.Sequential(*middle, nn.Flatten(), nn.Linear(32 * (SIDE // 2) ** 2, NUM_OUTPUTS))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    f"one hidden layer of width {WIDTH}": hidden,
    "three convolutions of 32 channels and a linear layer": convolutional,
    "a transformer of two layers of width 64, 14 words": Transformer,
}


def network(name: str) -> nn.Module:
    torch.manual_seed(0)
    return NETWORKS[name]()


def examples(count: int) -> Tensor:
    return torch.randn(count, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


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


def run(name: str, way: Kernel, count: int) -> Run:
    model, inputs = network(name), examples(count)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # Linux: the peak begins anew
    before = status("VmRSS")
    start = time.perf_counter()
    kernel = way(model, inputs)
    return Run(time.perf_counter() - start, status("VmHWM") - before, kernel)


def status(key: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(key))


def table(network_name: str, names: tuple[str, ...], count: int) -> None:
    runs: dict[str, list[Run]] = {name: [] for name in names}
    for name in names:
        WAYS[name](network(network_name), examples(2))  # what is loaded once
    for _ in range(REPEATS):
        for name in names:
            runs[name].append(run(network_name, WAYS[name], count))
            reference = runs["factors"][-1].kernel
            assert (runs[name][-1].kernel - reference).norm() < 1e-5 * reference.norm(), name
    print(f"\n{network_name.capitalize()}, {count} examples, {REPEATS} runs of each in turn:\n")
    print("| way | median, s | least to most, s | times the first, median of runs | memory, MB |")
    print("|---|--:|--:|--:|--:|")
    for name in names:
        times = [each.seconds for each in runs[name]]
        ratio = statistics.median(own / first.seconds for own, first in zip(times, runs["factors"], strict=True))
        held = statistics.median(each.held for each in runs[name]) / 1e6
        spread = f"{min(times):.3g} to {max(times):.3g}"
        print(f"| {NAMES[name]} | {statistics.median(times):.3g} | {spread} | {ratio:.1f} | {held:.0f} |", flush=True)


def main() -> None:
    warnings.filterwarnings("ignore", "There is a performance drop")  # of attention under vmap, in the tutorial's way
    print("# The tangent kernel\n")
    print(
        f"`python benchmarks/tangent_kernel.py`: the full kernel of {NUM_OUTPUTS} outputs of three networks on images"
    )
    print(f"of {SIDE} × {SIDE} pixels, float32, {platform.machine()}, {os.cpu_count()} cores, of which torch")
    print(f"{torch.__version__} used {torch.get_num_threads()}. All ways agree to 1e-5. Memory is the most that the")
    print("process held beyond what it held before, the kernel itself included.")
    wide, *others = NETWORKS
    table(wide, ("factors", "jacobian", "vectors"), FEW)
    for name in others:
        table(name, ("factors", "jacobian"), MORE)
    table(wide, ("factors", "jacobian"), MANY)


if __name__ == "__main__":
    main()
