"""Where gradients compare and where they do not: residual branches that end in zeros, and an encoder beside a decoder.

Run by hand: python benchmarks/trunk.py > benchmarks/trunk.md
"""

import platform

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from isometry.anatomy.task import Task, make_task
from isometry.checking.check import diagnose
from isometry.probes.evidence import Evidence, gather, measure
from isometry.probes.traces import GradientTrace

WIDTH, BLOCKS, LAYERS = 64, 50, 4


class Block(nn.Module):
    def __init__(self, *, ends_at_zero: bool) -> None:
        super().__init__()
        self.branch = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH))
        if ends_at_zero:
            nn.init.zeros_(self.branch[-1].weight)
            nn.init.zeros_(self.branch[-1].bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x)


class Translator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        settings = {"dim_feedforward": 128, "batch_first": True, "norm_first": True}
        self.source, self.target = nn.Linear(16, WIDTH), nn.Embedding(10, WIDTH)
        self.encoder = nn.ModuleList(nn.TransformerEncoderLayer(WIDTH, 4, **settings) for _ in range(LAYERS))
        self.decoder = nn.ModuleList(nn.TransformerDecoderLayer(WIDTH, 4, **settings) for _ in range(LAYERS))
        self.head = nn.Linear(WIDTH, 10)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        memory, state = self.source(source), self.target(target)
        for layer in self.encoder:
            memory = layer(memory)
        for layer in self.decoder:
            state = layer(state, memory)
        return self.head(state[:, 0])


def residual_net(*, ends_at_zero: bool) -> Task:
    blocks = [Block(ends_at_zero=ends_at_zero) for _ in range(BLOCKS)]
    model = nn.Sequential(nn.Linear(WIDTH, WIDTH), *blocks, nn.Linear(WIDTH, 10))
    return make_task(model, torch.randn(256, WIDTH), torch.randint(10, (256,)), loss=F.cross_entropy)


def translation(num_tokens: int) -> Task:
    batch = (torch.randn(4, num_tokens, 16), torch.randint(10, (4, 1)))
    return make_task(Translator(), batch, torch.randint(10, (4,)), loss=F.cross_entropy)


def gradient_at(evidence: Evidence, label: str) -> float:
    """Return the gradient's root mean square at the last residual sum of a module."""
    tape = evidence.step.tape
    sums = [branch.sum for branch in evidence.anatomy.branches if tape.label(tape.operations[branch.sum]) == label]
    return evidence.numbers[sums[-1]].gradient_rms or 0.0


def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    print("# Where gradients compare\n")
    print(f"`python benchmarks/trunk.py`, torch {torch.__version__}, {platform.machine()}, one thread.\n")
    print(
        f"{BLOCKS} residual blocks (norm, linear, ReLU, linear): least and largest gradient over all layers before the"
    )
    print("head, and the fall from the trunk's last point to its first.\n")
    print("| branches end in | least | largest | fall on the trunk, decades | verdict |")
    print("|---|--:|--:|--:|---|")
    for ends_at_zero in (True, False):
        task = residual_net(ends_at_zero=ends_at_zero)
        evidence = gather(task, [GradientTrace])
        layers = [layer.operation for layer in evidence.anatomy.layers if not layer.is_head]
        sizes = [evidence.numbers[layer].gradient_rms or 0.0 for layer in layers]
        fall = measure(evidence, GradientTrace).total_decay
        words = "zeros" if ends_at_zero else "PyTorch's default"
        print(f"| {words} | {min(sizes):.1e} | {max(sizes):.1e} | {fall:.1f} | {diagnose(task).verdict} |")
    print(f"\nAn encoder of {LAYERS} layers, read by a decoder of {LAYERS} with one token: gradients behind the last")
    print("layer of each, and the fall on the stretch that changes most.\n")
    print(
        "| tokens of the encoder | at the encoder's end | at the decoder's end | fall on a stretch, decades | verdict |"
    )
    print("|--:|--:|--:|--:|---|")
    for num_tokens in (10, 100, 1000):
        task = translation(num_tokens)
        evidence = gather(task, [GradientTrace])
        ends = [gradient_at(evidence, f"{part}.{LAYERS - 1}") for part in ("encoder", "decoder")]
        fall = measure(evidence, GradientTrace).total_decay
        print(f"| {num_tokens} | {ends[0]:.1e} | {ends[1]:.1e} | {fall:.1f} | {diagnose(task).verdict} |")


if __name__ == "__main__":
    main()
