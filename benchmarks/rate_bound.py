"""The bound of stability beside what training does at rates around it, and where the bound misleads.

Run by hand: python -m benchmarks.rate_bound > benchmarks/rate_bound.md
"""

from collections.abc import Callable, Iterable, Iterator

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from sklearn.datasets import load_digits
from torch import Tensor, nn

from isometry.training.optim.rate import rate_bound

STEPS, EXAMPLES = 200, 500
Optimizers = Callable[[Iterable[nn.Parameter], float], torch.optim.Optimizer]
KINDS: dict[str, tuple[Optimizers, float]] = {
    "SGD": (torch.optim.SGD, 0.1),
    "SGD, momentum 0.9": (lambda p, rate: torch.optim.SGD(p, rate, momentum=0.9), 0.1),
    "AdamW": (torch.optim.AdamW, 1e-3),
}
FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0, 16.0, 64.0)


def data() -> tuple[Tensor, Tensor]:
    features, labels = load_digits(return_X_y=True)
    return torch.tensor(features[:EXAMPLES], dtype=torch.float32) / 8 - 1, torch.tensor(labels[:EXAMPLES])


def network(depth: int, *, has_norms: bool = False) -> nn.Module:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Linear(64, 64), *([nn.BatchNorm1d(64)] if has_norms else []), nn.Tanh()]
    return nn.Sequential(*layers, nn.Linear(64, 10))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "2 tanh layers": lambda: network(2),
    "6 tanh layers": lambda: network(6),
    "4 tanh layers, batch norm": lambda: network(4, has_norms=True),
}


def batches(inputs: Tensor, targets: Tensor, size: int | None) -> Iterator[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    for _ in range(STEPS):
        rows = torch.randperm(len(targets), generator=generator)[:size]
        yield inputs[rows], targets[rows]


def trained(build: Callable[[], nn.Module], make: Optimizers, rate: float, *, size: int | None) -> str:
    """Return the loss over all examples after some steps, and by how much single steps raised it."""
    model, (inputs, targets) = build(), data()
    optimizer = make(model.parameters(), rate)
    for some, wanted in batches(inputs, targets, size):
        optimizer.zero_grad()
        F.cross_entropy(model(some), wanted).backward()
        optimizer.step()
    with torch.no_grad():
        loss = float(F.cross_entropy(model(inputs), targets))
    return f"{loss:.2g}" if loss < 1e3 else "diverged"


def ratio(model: nn.Module, make: Optimizers, rate: float, **settings: int) -> float:
    given = {"batch_size": EXAMPLES, **settings}
    return rate_bound(model, *data(), loss=F.cross_entropy, optimizer=lambda p: make(p, rate), **given).ratio


def bound_at(build: Callable[[], nn.Module], make: Optimizers, rate: float) -> float:
    """Return a rate that is its own bound; Adam's squares depend on the rate they are gathered at."""
    for _ in range(4):
        rate /= ratio(build(), make, rate) ** 0.5
    return rate / ratio(build(), make, rate) ** 0.5


def around_the_bound() -> None:
    print(
        f"`python -m benchmarks.rate_bound`, {EXAMPLES} of scikit-learn's digits. Loss after {STEPS} steps at multiples"
    )
    print("of the bound at the start (AdamW: after its warm-up); constant rate, no schedule. It begins at 2.3.\n")
    print(f"| network | optimiser | batch | bound | {' | '.join(f'x {each:g}' for each in FACTORS)} |")
    print(f"|---|---|--:|--:|{'--:|' * len(FACTORS)}")
    for title, build in NETWORKS.items():
        for name, (make, rate) in KINDS.items():
            bound = bound_at(build, make, rate)
            for size in (None, 64):
                ends = [trained(build, make, factor * bound, size=size) for factor in FACTORS]
                print(f"| {title} | {name} | {size or 'all'} | {bound:.2g} | {' | '.join(ends)} |", flush=True)


def over_the_steps() -> None:
    print("\n## The bound is one of a moment\n")
    print("Rate over bound while full-batch descent goes on at a fixed rate.\n")
    marks = (0, 100, 300, 1000)
    print(f"| network, SGD at | {' | '.join(f'step {each}' for each in marks)} |\n|---|{'--:|' * len(marks)}")
    for share in (0.1, 0.3):
        model, (inputs, targets) = network(2), data()
        rate = share * bound_at(lambda: network(2), KINDS["SGD"][0], 0.1)
        optimizer, cells = torch.optim.SGD(model.parameters(), rate), []
        for step in range(marks[-1] + 1):
            if step in marks:
                cells.append(f"{ratio(model, KINDS['SGD'][0], rate):.2f}")
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), targets).backward()
            optimizer.step()
        print(f"| 2 tanh layers, {share:g} of the bound at the start | {' | '.join(cells)} |", flush=True)


def by_batch_and_warm_up() -> None:
    print("\n## It depends on the batch\n")
    print("Rate over bound of AdamW 1e-3 (after the warm-up) and SGD 0.1, by the examples in the batch.\n")
    sizes = (16, 64, 256, EXAMPLES)
    print(f"| network | optimiser | {' | '.join(map(str, sizes))} |\n|---|---|{'--:|' * len(sizes)}")
    for title, build in NETWORKS.items():
        for name in ("SGD", "AdamW"):
            make, rate = KINDS[name]
            cells = [f"{ratio(build(), make, rate, batch_size=size):.3f}" for size in sizes]
            print(f"| {title} | {name} | {' | '.join(cells)} |", flush=True)
    print("\n## Adam's squares need steps\n")
    print("Rate over bound of AdamW by the warm-up steps made first, at 1e-3 and 1e-2.\n")
    counts = (1, 5, 20, 50, 100, 300)
    print(f"| network | rate | {' | '.join(map(str, counts))} |\n|---|--:|{'--:|' * len(counts)}")
    for title, build in NETWORKS.items():
        for rate in (1e-3, 1e-2):
            cells = [f"{ratio(build(), KINDS['AdamW'][0], rate, batch_size=256, warm_up=each):.2f}" for each in counts]
            print(f"| {title} | {rate:g} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    torch.set_num_threads(1)
    print("# The bound of stability beside training\n")
    around_the_bound()
    over_the_steps()
    by_batch_and_warm_up()


if __name__ == "__main__":
    main()
