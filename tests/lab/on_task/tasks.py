"""Networks as a user would bring them, on scikit-learn's digits, and what measuring them must leave as it was."""

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional

from isometry.anatomy.task import Task, make_task
from isometry.lab.engine.records import jsonable
from isometry.lab.experiment import ON_TASK, Claim, Measured, OwnTask
from isometry.lab.runner import load_experiments
from tests.lab.experiments.seeds import Shares, not_held, require_drawable

load_experiments()


@cache
def digits() -> tuple[Tensor, Tensor]:
    """Return the images, (examples, 64) and standardised, and their classes."""
    read: Any = load_digits()
    images = torch.tensor(read.data, dtype=torch.float32)
    return (images - images.mean()) / images.std(), torch.tensor(read.target)


def mlp(depth: int = 2, activation: type[nn.Module] = nn.ReLU, *, width: int = 32, count: int = 400) -> Task:
    """Return a plain stack."""
    images, labels = digits()
    torch.manual_seed(0)
    sizes = (64, *[width] * depth)
    layers = [layer for one, two in pairwise(sizes) for layer in (nn.Linear(one, two), activation())]
    model = nn.Sequential(*layers, nn.Linear(width, 10))
    return make_task(model, images[:count], labels[:count], loss=functional.cross_entropy)


def cnn(*, dropout: float = 0.2, count: int = 400) -> Task:
    """Return convolutions with batch norm and dropout."""
    images, labels = digits()
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(256, 10),
    )
    return make_task(model, images[:count].view(-1, 1, 8, 8), labels[:count], loss=functional.cross_entropy)


def vit(*, count: int = 400) -> Task:
    """Return a transformer of images, with its inputs by name."""
    import transformers as hf  # noqa: PLC0415 - an extra

    images, labels = digits()
    torch.manual_seed(0)
    configuration = hf.ViTConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=8,
        patch_size=4,
        num_channels=1,
        id2label={each: str(each) for each in range(10)},
    )
    model = hf.ViTForImageClassification(configuration)
    inputs = {"pixel_values": images[:count].view(-1, 1, 8, 8)}
    return make_task(
        model, inputs, labels[:count], loss=lambda out, target: functional.cross_entropy(out.logits, target)
    )


def regression(*, count: int = 200) -> Task:
    """Return a network that predicts a number."""
    images, labels = digits()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 1))
    return make_task(model, images[:count], labels[:count, None].float(), loss=functional.mse_loss)


def single_batch() -> Task:
    """Return a task with a batch and no data set."""
    return replace(mlp(), examples=None)


def measure(name: str, task: Task, *seeds: int, **changes: Any) -> list[Measured]:
    """Return what each seed measures after its way through JSON; the task and all random states must be as before."""
    experiment = ON_TASK[name]
    settings = replace(experiment.settings, **changes)
    before, modes = _state(task), [module.training for module in task.model.modules()]
    found: list[Measured] = []
    for seed in seeds or (0,):
        torch.manual_seed(7)
        state = torch.get_rng_state()
        shares = Shares()

        result = experiment.measure(settings, OwnTask(task, seed), shares)
        found.append(json.loads(json.dumps(jsonable(result))))

        assert shares == sorted(shares)
        assert shares[-1] == 1.0
        assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(one, two) for one, two in zip(before, _state(task), strict=True))
    assert [module.training for module in task.model.modules()] == modes
    assert all(parameter.grad is None for parameter in task.model.parameters())
    require_drawable(experiment, settings, found)
    return found


def claims(name: str, measured: Sequence[Measured], **changes: Any) -> tuple[Claim, ...]:
    """Return the claims on what was measured."""
    experiment = ON_TASK[name]
    return experiment.judge(replace(experiment.settings, **changes), measured)


def refuted(name: str, measured: Sequence[Measured], **changes: Any) -> list[str]:
    """Return the claims that do not hold."""
    return not_held(claims(name, measured, **changes))


def _state(task: Task) -> list[Tensor]:
    return [value.detach().clone() for value in task.model.state_dict().values()]
