"""Networks whose signal fails in time, in attention or for want of a nonlinearity, with the finding that must lead."""

import torch
from torch import nn

from isometry.anatomy.task import Task
from tests.findings.broken import broken
from tests.findings.networks import classify, classify_images, stack

# ---- linear networks ----


@broken("missing-nonlinearity")
def linear_layers_alone() -> Task:
    return classify(nn.Sequential(nn.Linear(16, 64), nn.Linear(64, 32), nn.Linear(32, 10)))


@broken("missing-nonlinearity")
def dropout_and_batch_norm_but_no_nonlinearity() -> Task:
    layers = [nn.Linear(16, 64), nn.BatchNorm1d(64), nn.Dropout(0.2), nn.Linear(64, 64), nn.Dropout(0.2)]
    return classify(nn.Sequential(*layers, nn.Linear(64, 10)))


@broken("missing-nonlinearity")
def convolutions_without_nonlinearity() -> Task:
    body = [nn.Conv2d(3, 16, 3), nn.AvgPool2d(2), nn.Conv2d(16, 32, 3), nn.Flatten()]
    return classify_images(nn.Sequential(*body, nn.Linear(32 * 25, 64), nn.Linear(64, 10)))


@broken("missing-nonlinearity")
def embedding_and_two_linear_layers() -> Task:
    model = nn.Sequential(nn.Embedding(50, 16), nn.Flatten(), nn.Linear(160, 64), nn.Linear(64, 10))
    return Task(
        model=model,
        batch=(torch.randint(50, (64, 10)), torch.randint(10, (64,))),
        step=lambda model, batch: nn.functional.cross_entropy(model(batch[0]), batch[1]),
    )


@broken("missing-nonlinearity")
def activation_behind_the_head_only() -> Task:
    return classify(nn.Sequential(*[each for each in stack(16, 64, 64, 10) if isinstance(each, nn.Linear)], nn.ReLU()))
