"""The Jacobian of deep plain networks beside mean-field theory, and what measuring it costs.

Run by hand: python benchmarks/jacobian.py > benchmarks/jacobian.md
"""

import math
import time
from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import nn

from isometry.anatomy.task import Task, make_task
from isometry.probes.evidence import gather
from isometry.probes.jacobian import measure_jacobian

WIDTH, DEPTH, BATCH = 256, 20, 128


def network(activation: Callable[[], nn.Module], gain: float, *, is_orthogonal: bool) -> Task:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for into, out in pairwise([WIDTH] * (DEPTH + 1)):
        layer = nn.Linear(into, out)
        if is_orthogonal:
            nn.init.orthogonal_(layer.weight, gain)
        else:
            nn.init.normal_(layer.weight, std=gain / math.sqrt(into))
        nn.init.zeros_(layer.bias)
        layers += [layer, activation()]
    model = nn.Sequential(*layers, nn.Linear(WIDTH, 10))
    return make_task(model, torch.randn(BATCH, WIDTH), torch.randint(10, (BATCH,)), loss=F.cross_entropy)


NETWORKS = {
    "ReLU, Gaussian at He's gain": (nn.ReLU, math.sqrt(2), False),
    "tanh, Gaussian at gain 1": (nn.Tanh, 1.0, False),
    "tanh, orthogonal at gain 1": (nn.Tanh, 1.0, True),
    "tanh, Gaussian at gain 1.5": (nn.Tanh, 1.5, False),
    "tanh, Gaussian at gain 0.8": (nn.Tanh, 0.8, False),
}


def main() -> None:
    print("# The Jacobian beside mean-field theory\n")
    print(f"`python benchmarks/jacobian.py`: {DEPTH} hidden layers of width {WIDTH}, seed 0, batch {BATCH}, of which 4")
    print("samples are looked at; mean squared singular value from input to output, and from the first hidden layer to")
    print("the last, and there the spread (variance over squared mean); each as measured / predicted.\n")
    print("| network | phase | depth scale | whole | hidden | spread | seconds |")
    print("|---|---|--:|--:|--:|--:|--:|")
    for name, (activation, gain, is_orthogonal) in NETWORKS.items():
        evidence = gather(network(activation, gain, is_orthogonal=is_orthogonal), [])
        start = time.perf_counter()
        found = measure_jacobian(evidence, num_vectors=2)
        seconds = time.perf_counter() - start
        theory, hidden = found.theory, found.hidden
        assert theory is not None
        assert hidden is not None
        pairs = [
            (found.whole.mean_square, theory.mean_square),
            (hidden.mean_square, theory.hidden_mean_square),
            (hidden.spread, theory.hidden_spread),
        ]
        cells = [f"{measured:.3g} / {predicted:.3g}" for measured, predicted in pairs]
        print(
            f"| {name} | {theory.phase} | {theory.depth_scale:.3g} | {' | '.join(cells)} | {seconds:.1f} |", flush=True
        )


if __name__ == "__main__":
    main()
