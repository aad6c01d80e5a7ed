"""Makes curve.svg of docs/how-to/where-am-i-on-the-curve.md, and prints its report: some minutes on one core."""

from pathlib import Path

import torch.nn.functional as F  # noqa: N812 - torch's own convention
from rich.console import Console
from torch import nn

from isometry.lab.apparatus.digits import CLASSES, mnist_5k, with_wrong_labels
from isometry.lab.curve.sweep import sweep
from isometry.lab.showing.drawing import as_svg

NUM_TRAIN, NUM_TEST, NOISE = 1000, 3000, 0.2
WIDTHS = (8, 14, 20, 64, 256)


def network(width: int) -> nn.Module:
    """Return a network of one hidden layer for digits of 14 by 14 pixels."""
    return nn.Sequential(nn.Linear(196, width), nn.ReLU(), nn.Linear(width, CLASSES))


if __name__ == "__main__":
    digits = mnist_5k()
    train, test = digits[:NUM_TRAIN], digits[-NUM_TEST:]
    curve = sweep(
        network,
        train.images,
        with_wrong_labels(train.labels, NOISE, seed=0).labels,
        test=(test.images, test.labels),
        loss=F.cross_entropy,
        over="width",
        values=WIDTHS,
        current=14,
        epochs=400,
        decays=(3.0,),
    )
    Console(width=80).print(curve)
    Path(__file__).with_name("curve.svg").write_text(as_svg(curve.figure) + "\n", encoding="utf-8")
