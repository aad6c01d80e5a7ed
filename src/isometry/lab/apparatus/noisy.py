"""A small network trained on digits with wrong labels, and all that a stopping rule may want to know, once an epoch."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from isometry.lab.apparatus.digits import CLASSES, POOLED, Digits, split, with_wrong_labels
from isometry.probes.running.readings import Evaluation
from isometry.training.stopping.label_wave import PredictionChanges

NUM_TRAIN, NUM_VALID = 2500, 500
WIDTH, BATCH, RATE = 512, 50, 1e-3
VALID_SEED = 1000  # added to the seed, so that the noise of both parts is drawn apart
PROBE_SEED = 2000


@dataclass(frozen=True, slots=True)
class _Data:
    """What one training sees: the examples, which labels of the first part are wrong, and the parts to evaluate on."""

    images: Tensor
    labels: Tensor
    true: Tensor
    is_wrong: Tensor
    is_probe: Tensor
    valid: Digits
    test: Digits


def record_noisy_training(
    digits: Digits,
    *,
    noise: float,
    epochs: int,
    num_probe: int = 0,
    seed: int = 0,
    watcher: Callable[[float], None] | None = None,
) -> tuple[Evaluation, ...]:
    """Train on digits of which a share is wrongly labelled, and evaluate after each epoch.

    2,500 images, 500 more for validation with the same share of wrong labels, the last 1,000 for the test. One hidden
    layer of 512 ReLU units, Adam at 1e-3, batches of 50; hidden weights He normal, those of the output Lecun normal.

    Args:
        digits: The images, as `mnist_5k` gives them.
        noise: Share of wrong labels, in [0, 1].
        epochs: Passes through the data, counts.
        num_probe: Further images with uniformly random labels that are trained on too, counts.
        seed: Of noise, weights and order; global random state is not touched.
        watcher: Told after each epoch the share of them that is done.

    Returns:
        One evaluation an epoch: `train_loss`, `train_error`, `train_accuracy` on the labels given, without the probe;
        `probe_accuracy`; `val_loss`, `val_error`; `test_accuracy`; `changed_predictions`; `right_fitted` and
        `wrong_fitted`, the shares of rightly and wrongly labelled examples that are given their label, and
        `wrong_seen_through`, those of the wrong ones that are given their true class. NaN where there are none.

    Raises:
        DomainError: If a probe of that size would take images of the test.
    """
    data, generator = _data(digits, noise, num_probe, seed=seed), torch.Generator().manual_seed(seed)
    model = _network(generator)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    changes, step = PredictionChanges(NUM_TRAIN), 0
    entries: list[Evaluation] = []
    for epoch in range(1, epochs + 1):
        for rows in torch.randperm(len(data.labels), generator=generator).split(BATCH):
            optimizer.zero_grad()
            F.cross_entropy(model(data.images[rows]), data.labels[rows]).backward()
            optimizer.step()
            step += 1
        entries.append(Evaluation(step=step, epoch=epoch, metrics=_metrics(model, data, changes)))
        if watcher is not None:
            watcher(epoch / epochs)
    return tuple(entries)


def probe_labels(count: int, *, seed: int) -> Tensor:
    """Return the labels of a probe, drawn uniformly and apart from the noise that has the same seed.

    Args:
        count: Labels, counts.
        seed: Of the training; global random state is not touched.
    """
    return torch.randint(CLASSES, (count,), generator=torch.Generator().manual_seed(seed + PROBE_SEED))


def _data(digits: Digits, noise: float, num_probe: int, *, seed: int) -> _Data:
    parts = split(digits, NUM_TRAIN, NUM_VALID + num_probe)
    train, valid, extra = parts.train, parts.valid[:NUM_VALID], parts.valid[NUM_VALID:]
    noisy = with_wrong_labels(train.labels, noise, seed=seed)
    valid_labels = with_wrong_labels(valid.labels, noise, seed=seed + VALID_SEED).labels
    return _Data(
        images=torch.cat([train.images, extra.images]),
        labels=torch.cat([noisy.labels, probe_labels(num_probe, seed=seed)]),
        true=torch.cat([train.labels, extra.labels]),
        is_wrong=torch.cat([noisy.is_wrong, torch.zeros(num_probe, dtype=torch.bool)]),
        is_probe=torch.arange(NUM_TRAIN + num_probe) >= NUM_TRAIN,
        valid=Digits(valid.images, valid_labels),
        test=parts.test,
    )


def _network(generator: torch.Generator) -> nn.Sequential:
    hidden = nn.Linear(POOLED**2, WIDTH, device="meta").to_empty(device="cpu")  # draws nothing
    output = nn.Linear(WIDTH, CLASSES, device="meta").to_empty(device="cpu")
    with torch.no_grad():
        hidden.weight.normal_(std=math.sqrt(2 / hidden.in_features), generator=generator)
        output.weight.normal_(std=math.sqrt(1 / output.in_features), generator=generator)
        hidden.bias.zero_()
        output.bias.zero_()
    return nn.Sequential(hidden, nn.ReLU(), output)


@torch.no_grad()
def _metrics(model: nn.Module, data: _Data, changes: PredictionChanges) -> dict[str, float]:
    outputs, valid = model(data.images), model(data.valid.images)
    predicted, is_train = outputs.argmax(1), ~data.is_probe
    is_fitted = predicted == data.labels
    changes.see(torch.arange(NUM_TRAIN), predicted[is_train])
    train_accuracy = _share(is_fitted[is_train])
    return {
        "train_loss": F.cross_entropy(outputs[is_train], data.labels[is_train]).item(),
        "train_accuracy": train_accuracy,
        "train_error": 1 - train_accuracy,
        "probe_accuracy": _share(is_fitted[data.is_probe]),
        "val_loss": F.cross_entropy(valid, data.valid.labels).item(),
        "val_error": _share(valid.argmax(1) != data.valid.labels),
        "test_accuracy": _share(model(data.test.images).argmax(1) == data.test.labels),
        "changed_predictions": changes.share(),
        "right_fitted": _share(is_fitted[is_train & ~data.is_wrong]),
        "wrong_fitted": _share(is_fitted[data.is_wrong]),
        "wrong_seen_through": _share((predicted == data.true)[data.is_wrong]),
    }


def _share(hits: Tensor) -> float:
    return hits.double().mean().item()
