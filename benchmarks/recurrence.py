"""How far back a recurrence still learns from: the ground of the bounds through time.

Trains recurrences of width 64 on two tasks with Adam 1e-3 and clipped gradients. `recall`: the class is told by the
first step alone, noise follows. `pixels`: scikit-learn's digits pixel by pixel, each repeated, so that every step tells
something. Prints the accuracy beside the decades that the gradient falls through time before training.
Run by hand: python benchmarks/recurrence.py > benchmarks/recurrence.md
"""

import platform

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from sklearn.datasets import load_digits
from torch import Tensor, nn

from isometry.anatomy.task import make_task
from isometry.probes.evidence import gather, measure
from isometry.probes.recurrence import Recurrences

WIDTH, CLASSES, NUM_PIXELS = 64, 8, 64
STEPS = {"recall": 600, "pixels": 1000}  # of training
LENGTHS = {"recall": (10, 15, 20, 30, 50, 100), "pixels": (64, 128)}
KINDS = ("RNN", "RNN, orthogonal", "LSTM", "LSTM, forget gates open", "GRU")


class Reader(nn.Module):
    """A recurrence whose last output is classified."""

    def __init__(self, kind: str, width: int, classes: int) -> None:
        super().__init__()
        self.cells: nn.RNNBase = getattr(nn, kind.partition(",")[0])(width, WIDTH, batch_first=True)
        self.head = nn.Linear(WIDTH, classes)
        _, back, bias, _ = self.cells.all_weights[0]
        if "orthogonal" in kind:
            nn.init.orthogonal_(back)
        if "open" in kind:
            bias.data[WIDTH : 2 * WIDTH] = 2.0

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cells(x)[0][:, -1])


def recall(count: int, length: int) -> tuple[Tensor, Tensor]:
    x, labels = 0.5 * torch.randn(count, length, CLASSES), torch.randint(CLASSES, (count,))
    x[:, 0] = 3 * F.one_hot(labels, CLASSES).float()
    return x, labels


def digits(length: int) -> tuple[Tensor, Tensor]:
    features, labels = load_digits(return_X_y=True)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    x = torch.tensor(features, dtype=torch.float32)[order] / 16
    return x.repeat_interleave(length // NUM_PIXELS, 1)[:, :, None], torch.tensor(labels)[order]


def row(task: str, kind: str, length: int) -> str:
    torch.manual_seed(0)
    x, labels = recall(2000, length) if task == "recall" else digits(length)
    cut = len(x) - 397
    model = Reader(kind, x.shape[2], int(labels.max()) + 1)
    start = make_task(model, x[:64], labels[:64], loss=F.cross_entropy)
    (trace,) = measure(gather(start, [Recurrences]), Recurrences).traces
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for _ in range(STEPS[task]):
        rows = torch.randint(cut, (64,))
        batch = recall(64, length) if task == "recall" else (x[rows], labels[rows])
        optimizer.zero_grad()
        F.cross_entropy(model(batch[0]), batch[1]).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    with torch.no_grad():
        accuracy = float((model(x[cut:]).argmax(1) == labels[cut:]).float().mean())
    cells = (task, kind, str(length), f"{trace.total_decay:.1f}", f"{trace.decay_per_step:.2f}", f"{accuracy:.2f}")
    return f"| {' | '.join(cells)} |"


def main() -> None:
    torch.set_num_threads(1)
    print("# How far back a recurrence still learns from\n")
    machine = f"torch {torch.__version__}, {platform.machine()}, one thread"
    print(f"`python benchmarks/recurrence.py`, {machine}. The gradient's fall from the last step to the")
    print(
        "first before training, in decades, and the accuracy after 600 (recall, chance 0.12) or 1,000 (pixels, chance"
    )
    print("0.10) steps of Adam. A fall of 40 decades is what single precision can hold.\n")
    print("| task | recurrence | steps | fall | a step | accuracy |\n|---|---|--:|--:|--:|--:|")
    for task, lengths in LENGTHS.items():
        for length in lengths:
            for kind in KINDS:
                print(row(task, kind, length), flush=True)


if __name__ == "__main__":
    main()
