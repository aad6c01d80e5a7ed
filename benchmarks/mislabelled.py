"""How many planted wrong labels are found, how many right ones are suspected, and which signals rank them best.

Run by hand: python -m benchmarks.mislabelled > benchmarks/mislabelled.md
"""

import statistics
from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from sklearn.datasets import load_breast_cancer, load_digits, load_wine, make_classification
from sklearn.metrics import average_precision_score
from torch import Tensor, nn

from isometry.anatomy.preserve import preserved
from isometry.anatomy.task import make_task
from isometry.lab.apparatus.digits import mnist_5k
from isometry.training.labels.examples import labelled_examples
from isometry.training.labels.learner import Learner
from isometry.training.labels.mislabelled import FOLDS, find_mislabelled

WIDTH, SEEDS, EPOCHS = 128, (0,), 20
Data = tuple[Tensor, Tensor]


def tensors(features: object, labels: object) -> Data:
    inputs = torch.tensor(features, dtype=torch.float32)
    return (inputs - inputs.mean(0)) / inputs.std(0).clamp_min(1e-3), torch.tensor(labels)


def digits() -> Data:
    features, labels = load_digits(return_X_y=True)
    return torch.tensor(features, dtype=torch.float32) / 16, torch.tensor(labels)


def mnist() -> Data:
    data = mnist_5k()
    return data.images[:1500], data.labels[:1500]


def imbalanced() -> Data:
    shares = [0.8, 0.1, 0.07, 0.03]
    return tensors(
        *make_classification(3000, 20, n_informative=10, n_classes=4, weights=shares, flip_y=0, random_state=0)
    )


def overlapping() -> Data:
    return tensors(
        *make_classification(2000, 10, n_informative=5, n_classes=3, class_sep=0.5, flip_y=0, random_state=1)
    )


def inseparable() -> Data:
    """Digits in which every second 3 belongs to a class of its own, that nothing tells from the others."""
    inputs, labels = digits()
    threes = (labels == 3).nonzero()[:, 0]
    return inputs, labels.index_fill(0, threes[::2], 10)


SETS: dict[str, Callable[[], Data]] = {
    "digits (1797, 10 classes)": digits,
    "MNIST (1500, 10 classes)": mnist,
    "breast cancer (569, 2 classes)": lambda: tensors(*load_breast_cancer(return_X_y=True)),
    "wine (178, 3 classes)": lambda: tensors(*load_wine(return_X_y=True)),
    "imbalanced (3000; 80, 10, 7, 3 %)": imbalanced,
    "overlapping (2000, 3 classes)": overlapping,
}
NOISES = (
    ("uniform", 0.0),
    ("uniform", 0.05),
    ("uniform", 0.1),
    ("uniform", 0.2),
    ("uniform", 0.4),
    ("pair", 0.2),
    ("pair", 0.4),
)


def planted(labels: Tensor, kind: str, share: float, *, seed: int) -> Data:
    """Return labels of which a share is wrong, to any other class or to the next, and which they are."""
    generator = torch.Generator().manual_seed(seed)
    classes = int(labels.max()) + 1
    is_wrong = torch.zeros(len(labels), dtype=torch.bool)
    is_wrong[torch.randperm(len(labels), generator=generator)[: round(share * len(labels))]] = True
    steps = torch.randint(1, classes, labels.shape, generator=generator) if kind == "uniform" else 1
    return torch.where(is_wrong, (labels + steps) % classes, labels), is_wrong


def network(inputs: Tensor, labels: Tensor, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(inputs.shape[1], WIDTH), nn.ReLU(), nn.Linear(WIDTH, int(labels.max()) + 1))


def row(name: str, data: Data, noise: tuple[str, float]) -> str:
    inputs, right = data
    found: list[tuple[float, ...]] = []
    for seed in SEEDS:
        labels, is_wrong = planted(right, *noise, seed=seed)
        result = find_mislabelled(network(inputs, labels, seed), inputs, labels, loss=F.cross_entropy, seed=seed)
        rows = [each.row for each in result.suspects]
        hits = int(is_wrong[rows].sum())
        place = torch.empty(len(labels)).index_copy(0, torch.tensor(result.ranking), torch.arange(float(len(labels))))
        precision = average_precision_score(is_wrong.numpy(), -place.numpy()) if is_wrong.any() else float("nan")
        rate = float("nan") if result.noise_rate is None else result.noise_rate
        shares = len(rows) / len(labels), hits / max(len(rows), 1), hits / max(int(is_wrong.sum()), 1)
        found.append((*shares, rate, precision))
    suspected, precision, recall, rate, average = (statistics.fmean(column) for column in zip(*found, strict=True))
    cells = [f"{100 * suspected:.2f}", *(f"{100 * each:.0f}" for each in (precision, recall))]
    if not noise[1]:
        cells[1:] = ["-", "-"]
    cells += [f"{100 * rate:.1f}" if rate >= 0 else "nothing said", f"{average:.3f}" if noise[1] else "-"]
    return f"| {name} | {noise[0] if noise[1] else 'none'} | {100 * noise[1]:.0f} | {' | '.join(cells)} |"


def margins(scores: Tensor, labels: Tensor) -> Tensor:
    given = scores.gather(-1, labels[..., None])[..., 0]
    return given - scores.scatter(-1, labels[..., None], -torch.inf).amax(-1)


def signals(data: Data, noise: tuple[str, float]) -> dict[str, float]:
    """Return the average precision of rankings of one noisy data set."""
    inputs, right = data
    labels, is_wrong = planted(right, *noise, seed=0)
    task = make_task(network(inputs, labels, 0), inputs, labels, loss=F.cross_entropy)
    examples, rows = labelled_examples(task, most=None, seed=0), torch.arange(len(labels))
    parts = [rows[fold::FOLDS] for fold in range(FOLDS)]
    with preserved(task.model, seed=0) as guard:
        whole = Learner(task, guard, examples, batch_size=50, seed=0)
        apart = [
            Learner(task, guard, examples, batch_size=50, seed=fold, rows=rows[rows % FOLDS != fold])
            for fold in range(FOLDS)
        ]
        seen, unseen = torch.empty(2, EPOCHS, len(labels), int(labels.max()) + 1)
        for epoch in range(EPOCHS):
            for learner in (whole, *apart):
                learner.learn()
            seen[epoch] = whole.answers()
            for learner, part in zip(apart, parts, strict=True):
                unseen[epoch, part] = learner.answers(part)
    each_epoch = labels.expand(EPOCHS, -1)
    fits, best = seen.argmax(2) == each_epoch, int((unseen.argmax(2) == each_epoch).double().mean(1).argmax())
    forgotten = (fits[:-1] & ~fits[1:]).sum(0)
    ranked = {
        "seen, loss after the last epoch": margins(seen[-1], labels),
        "seen, first epoch learned": -(~fits).cumprod(0).sum(0).double(),
        "seen, times forgotten": -forgotten.double() - 100.0 * (~fits.any(0)),
        "seen, mean margin (AUM)": margins(seen, each_epoch).mean(0),
        "unseen, best epoch alone": margins(unseen[best], labels),
        "unseen, mean up to the best epoch": margins(unseen[: best + 1].mean(0), labels),
    }
    return {name: float(average_precision_score(is_wrong.numpy(), -each.numpy())) for name, each in ranked.items()}


def main() -> None:
    torch.set_num_threads(1)
    print("# Wrong labels that are found, and right ones that are suspected\n")
    print(f"`python -m benchmarks.mislabelled`: an MLP with {WIDTH} hidden ReLU units, Adam 1e-3, seeds")
    print(
        f"{', '.join(map(str, SEEDS))}, in per cent. The noise moves labels to any other class (uniform) or to the next"
    )
    print("class (pair); the mask of what was moved is the answer. `estimated` is the share of wrong labels that is")
    print("told. `ranking` is the average precision of the order of all examples.\n")
    print("| data | noise | share | suspected | precision | recall | estimated | ranking |")
    print("|---|---|--:|--:|--:|--:|--:|--:|")
    loaded = {name: load() for name, load in SETS.items()}
    for name, data in loaded.items():
        for noise in NOISES:
            if noise[1] < 0.4 or int(data[1].max()) > 1:
                print(row(name, data, noise), flush=True)
    print(row("digits, 3 in two halves that nothing tells apart", inseparable(), NOISES[0]), flush=True)
    print("\n## Which signal ranks best\n")
    print(f"Average precision, one seed, {EPOCHS} epochs. `seen`: of a network that learns the example; `unseen`: of")
    print("networks that do not.\n")
    chosen = [(name, noise) for name in list(SETS)[:2] + list(SETS)[4:5] for noise in (NOISES[1], NOISES[5])]
    columns = [signals(loaded[name], noise) for name, noise in chosen]
    titles = [f"{name.split(' (')[0]}, {kind} {share:g}" for name, (kind, share) in chosen]
    print(f"| signal | {' | '.join(titles)} |\n|---|{'--:|' * len(titles)}")
    for signal in columns[0]:
        print(f"| {signal} | {' | '.join(f'{column[signal]:.3f}' for column in columns)} |")


if __name__ == "__main__":
    main()
