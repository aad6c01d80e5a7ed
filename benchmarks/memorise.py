"""How many epochs networks take to fit true and random targets: the ground of the random-label test's verdicts.

Run by hand: python -m benchmarks.memorise > benchmarks/memorise.md
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from sklearn.datasets import load_diabetes, load_digits
from torch import Tensor, nn

from isometry.lab.apparatus.digits import mnist_5k
from isometry.training.labels.memorise import can_memorise, dealt_out

SEEDS = (0, 1, 2)


def perceptron(into: int, width: int, out: int = 10) -> nn.Module:
    return nn.Sequential(nn.Linear(into, width), nn.ReLU(), nn.Linear(width, out))


def convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Unflatten(1, (1, 14, 14)),
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(288, 10),
    )  # fmt: skip


def numbers() -> tuple[Tensor, Tensor]:
    features, targets = load_diabetes(return_X_y=True)
    inputs, wanted = torch.tensor(features, dtype=torch.float32), torch.tensor(targets, dtype=torch.float32)
    return inputs / inputs.std(0), ((wanted - wanted.mean()) / wanted.std())[:, None]


def row(name: str, build: Callable[[], nn.Module], data: tuple[Tensor, Tensor], *, share: float = 1.0) -> str:
    cells: list[list[str]] = [[], [], [], [], []]
    for seed in SEEDS:
        torch.manual_seed(seed)
        loss = F.mse_loss if data[1].is_floating_point() else F.cross_entropy
        found = can_memorise(build(), *data, loss=loss, seed=seed, share=share)
        for column, words in zip(
            cells,
            (
                str(found.true.epochs) if found.true.is_fitted else f"({100 * found.true.fits[-1]:.0f} %)",
                str(found.random.epochs) if found.random.is_fitted else f"({100 * found.random.fits[-1]:.0f} %)",
                "-" if found.ratio is None else f"{found.ratio:.1f}",
                found.verdict,
                f"{found.seconds:.0f}",
            ),
            strict=True,
        ):
            column.append(words)
    return f"| {name} | " + " | ".join(", ".join(dict.fromkeys(c) if i == 3 else c) for i, c in enumerate(cells)) + " |"


def main() -> None:
    torch.set_num_threads(1)
    mnist = mnist_5k()
    images, labels = mnist.images, mnist.labels
    pixels, digits = load_digits(return_X_y=True)
    small = torch.tensor(pixels, dtype=torch.float32) / 16, torch.tensor(digits)
    print("# Epochs to fit true and random targets\n")
    print(f"`python -m benchmarks.memorise`: Adam 1e-3, batches of 50, at most 1,000 examples, seeds {SEEDS}. In")
    print("brackets: the fit that was reached by one that did not come to 99 % (of numbers 95 %).\n")
    print("| network and data | true | random | ratio | verdict | seconds |\n|---|---|---|---|---|---|")
    print(row("MLP, width 512, MNIST", lambda: perceptron(196, 512), (images, labels)), flush=True)
    print(row("the same, half dealt out", lambda: perceptron(196, 512), (images, labels), share=0.5), flush=True)
    for share in (0.2, 0.5, 1.0):
        wrong = images, dealt_out(labels, share, seed=9)
        print(
            row(f"the same, {100 * share:.0f} % of the labels wrong", lambda: perceptron(196, 512), wrong), flush=True
        )
    print(row("MLP, width 16, MNIST", lambda: perceptron(196, 16), (images, labels)), flush=True)
    print(row("linear, MNIST", lambda: nn.Linear(196, 10), (images, labels)), flush=True)
    print(row("small CNN, MNIST", convolutional, (images, labels)), flush=True)
    print(row("MLP, width 512, digits", lambda: perceptron(64, 512), small), flush=True)
    print(row("MLP, width 256, diabetes (numbers)", lambda: perceptron(10, 256, 1), numbers()), flush=True)


if __name__ == "__main__":
    main()
