"""A training with a corrupted batch, lost without a watch and saved by going back to the last good state.

Run it: `python examples/watched.py` (needs scikit-learn).
"""

import torch
from sklearn.datasets import load_digits
from torch import nn

import isometry as iso
from isometry.training import Run

EPOCHS, BATCH = 10, 32
CORRUPTED = 240  # the batch in which a sensor fails: one pixel is infinite


def train(*, on_nan: str | None) -> float:
    """Train on scikit-learn's digits and return the accuracy on what was held out."""
    torch.manual_seed(0)
    inputs, labels = (torch.tensor(each) for each in load_digits(return_X_y=True))
    inputs = inputs.float() / 16
    order = torch.randperm(len(inputs))
    seen, held_out = order[:1400], order[1400:]
    model = nn.Sequential(nn.Linear(64, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Linear(128, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS * (len(seen) // BATCH))

    def steps(run: Run | None) -> None:
        step = 0
        for _ in range(EPOCHS):
            for rows in seen[torch.randperm(len(seen))].split(BATCH):
                batch = inputs[rows].clone()
                step += 1
                if step == CORRUPTED:
                    batch[0, 0] = torch.inf
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(batch), labels[rows])
                loss.backward()
                optimizer.step()
                scheduler.step()
                if run is not None:
                    run.step(loss)

    if on_nan is None:
        steps(None)
    else:
        with iso.watch(model, optimizer, scheduler=scheduler, on_nan=on_nan, to=["runs/digits"]) as run:
            steps(run)
    model.eval()
    return (model(inputs[held_out]).argmax(1) == labels[held_out]).float().mean().item()


if __name__ == "__main__":
    for on_nan in (None, "rollback"):
        accuracy = train(on_nan=on_nan)
        print(f"on_nan={on_nan!r}: accuracy on held-out digits {accuracy:.1%}")
