"""How much the final losses of networks differ that differ in nothing but their draw: the ground of a race's margin.

Races pairs of networks of one scheme on scikit-learn's digits, as `isometry fix --race` does: 300 steps of Adam 1e-3 in
batches of 64, three data orders.
Run by hand: python benchmarks/race.py > benchmarks/race.md
"""

import platform
import statistics
from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from sklearn.datasets import load_digits
from torch import nn

from isometry.anatomy.task import Task, make_task
from isometry.probes.race import MIN_ADVANTAGE, race
from isometry.probes.race_result import RaceResult, RaceSide
from isometry.repair import fix

PAIRS, WIDTH = 12, 64


def task(activation: type[nn.Module], depth: int, seed: int) -> Task:
    features, labels = load_digits(return_X_y=True)
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Linear(WIDTH, WIDTH), activation()]
    model = nn.Sequential(*layers, nn.Linear(WIDTH, 10))
    pixels = torch.tensor(features, dtype=torch.float32) / 16
    return make_task(model, pixels, torch.tensor(labels), loss=F.cross_entropy)


def treated(activation: type[nn.Module], depth: int, seed: int) -> Task:
    made = task(activation, depth, seed)
    fix(made, seed=seed)
    return made


def shallow(seed: int) -> Task:
    return task(nn.ReLU, 2, seed)


def middling(seed: int) -> Task:
    return task(nn.ReLU, 6, seed)


def deep_tanh(seed: int) -> Task:
    return treated(nn.Tanh, 20, seed)


def deep_sigmoid(seed: int) -> Task:
    return treated(nn.Sigmoid, 30, seed)


KINDS: tuple[tuple[str, Callable[[int], Task]], ...] = (
    ("2 ReLU layers, PyTorch's default", shallow),
    ("6 ReLU layers, PyTorch's default", middling),
    ("20 tanh layers, treated", deep_tanh),
    ("30 sigmoid layers, treated", deep_sigmoid),
)


def final(side: RaceSide) -> float:
    return statistics.fmean(loss for loss in side.finals if loss is not None)


def ratio(result: RaceResult) -> float:
    losses = final(result.first), final(result.second)
    return max(losses) / min(losses)


def is_same_order(result: RaceResult) -> bool:
    pairs = zip(result.first.finals, result.second.finals, strict=True)
    return len({(first or 0) > (second or 0) for first, second in pairs}) == 1


def row(name: str, build: Callable[[int], Task]) -> str:
    results = [race(build(2 * pair), build(2 * pair + 1), seed=pair) for pair in range(PAIRS)]
    ratios = [ratio(result) for result in results]
    consistent = [ratio(result) for result in results if is_same_order(result)]
    wins = sum(result.winner != "no difference" for result in results)
    cells = [f"{statistics.median(ratios):.2f}", f"{max(ratios):.2f}", str(len(consistent))]
    cells += [f"{max(consistent, default=1.0):.2f}", str(wins)]
    return f"| {name} | {PAIRS} | {' | '.join(cells)} |"


def main() -> None:
    torch.set_num_threads(1)
    print("# How much two draws of one scheme differ in a race\n")
    print(
        f"`python benchmarks/race.py`, torch {torch.__version__}, {platform.machine()}, one thread. Ratio of the higher"
    )
    print(
        "to the lower final loss on the examples held out, mean over three data orders; pairs in the same order in all"
    )
    print(f"three; and how often a race names a winner, which needs that and a ratio of {MIN_ADVANTAGE:g}.\n")
    print("| network | pairs | median ratio | largest | in one order | largest of these | winners |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    for name, build in KINDS:
        print(row(name, build), flush=True)


if __name__ == "__main__":
    main()
