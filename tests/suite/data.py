"""Data of the suite: scikit-learn's small sets, and synthetic images, sequences, texts and graphs."""

import functools
import math

import torch
from sklearn import datasets
from torch import Tensor

Pair = tuple[Tensor, Tensor]


def standardised(values: Tensor) -> Tensor:
    return (values - values.mean(0)) / (values.std(0) + 1e-6)


@functools.cache
def _table(name: str) -> Pair:
    bunch = getattr(datasets, f"load_{name}")()
    order = torch.randperm(len(bunch.target), generator=torch.Generator().manual_seed(0))
    return torch.tensor(bunch.data, dtype=torch.float32)[order], torch.tensor(bunch.target)[order]


def raw(name: str) -> Pair:
    """A set of scikit-learn as it comes: digits in 0..16, breast_cancer, wine, iris and diabetes in their own units."""
    inputs, targets = _table(name)
    return inputs.clone(), targets.clone()


def digits() -> Pair:
    """Rows of 64 numbers in [-1, 1], and labels of ten classes."""
    inputs, labels = raw("digits")
    return inputs / 8 - 1, labels


def digit_images() -> Pair:
    inputs, labels = digits()
    return inputs.reshape(-1, 1, 8, 8), labels


def breast_cancer() -> Pair:
    inputs, labels = raw("breast_cancer")
    return standardised(inputs), labels


def wine() -> Pair:
    inputs, labels = raw("wine")
    return standardised(inputs), labels


def diabetes() -> Pair:
    """Ten standardised numbers, and a standardised target in one column."""
    inputs, targets = raw("diabetes")
    return standardised(inputs), standardised(targets.float())[:, None]


def houses(count: int = 512) -> Pair:
    """Eight standardised numbers of a district, and a price in hundreds of thousands."""
    inputs = torch.randn(count, 8)
    price = 2 + 0.8 * inputs[:, 0] + 0.5 * inputs[:, 1] * inputs[:, 2] + 0.3 * torch.sin(2 * inputs[:, 3])
    return inputs, (price + 0.1 * torch.randn(count)).clamp(min=0.15)[:, None]


def exclusive_or(count: int = 512) -> Pair:
    """Points of a square whose label is whether their signs differ: no linear map tells them apart."""
    points = torch.rand(count, 2) * 2 - 1
    return points, (points[:, 0] * points[:, 1] < 0).long()


def circles(count: int = 512) -> Pair:
    """Two rings, one in the other."""
    labels = torch.arange(count) % 2
    angle = torch.rand(count) * 2 * math.pi
    radius = (1.0 + labels) * 0.8 + 0.1 * torch.randn(count)
    return torch.stack([radius * angle.cos(), radius * angle.sin()], 1), labels


def spirals(count: int = 512) -> Pair:
    """Two arms that wind around each other once."""
    labels = torch.arange(count) % 2
    turn = torch.rand(count).sqrt() * 2.2 * math.pi
    angle = turn + math.pi * labels
    points = torch.stack([turn * angle.cos(), turn * angle.sin()], 1) / 4
    return points + 0.03 * torch.randn(count, 2), labels


def waves(count: int = 512) -> Pair:
    """A wave of one number."""
    x = torch.rand(count, 1) * 6 - 3
    return x, torch.sin(2 * x)


def images(count: int = 256, *, channels: int = 3, size: int = 16, classes: int = 4) -> Pair:
    """Noise over one coloured pattern a class, standardised."""
    patterns = torch.nn.functional.interpolate(torch.randn(classes, channels, 4, 4), size=size, mode="bilinear")
    labels = torch.randint(classes, (count,))
    return standardised(patterns[labels] + 0.5 * torch.randn(count, channels, size, size)), labels


def products(count: int = 256, size: int = 12) -> Pair:
    """Images of two blobs; the label is whether their signs are alike, which no linear map can tell."""
    signs = torch.randint(2, (count, 2)) * 2 - 1
    pictures = 0.1 * torch.randn(count, 1, size, size)
    pictures[:, 0, 1:5, 1:5] += signs[:, 0, None, None]
    pictures[:, 0, 7:11, 7:11] += signs[:, 1, None, None]
    return pictures, (signs[:, 0] == signs[:, 1]).long()


def text(count: int = 128, length: int = 16, vocabulary: int = 40) -> Tensor:
    """Rows of tokens, each token but for a tenth fixed by the one before."""
    rows = [torch.randint(vocabulary, (count,))]
    for _ in range(length - 1):
        following = (7 * rows[-1] + 3) % vocabulary
        rows.append(torch.where(torch.rand(count) < 0.1, torch.randint(vocabulary, (count,)), following))
    return torch.stack(rows, 1)


def remembered(count: int = 256, length: int = 40, *, classes: int = 4) -> Pair:
    """Sequences of noise whose first step says the label."""
    labels = torch.randint(classes, (count,))
    steps = 0.3 * torch.randn(count, length, classes + 2)
    steps[:, 0, :classes] += 2 * torch.nn.functional.one_hot(labels, classes)
    return steps, labels


def sums(count: int = 256, length: int = 30) -> Pair:
    """Sequences of numbers, and the mean of those that are marked by a second channel."""
    values = torch.randn(count, length)
    marks = (torch.rand(count, length) < 0.3).float()
    return torch.stack([values, marks], 2), (values * marks).sum(1, keepdim=True) / length**0.5


def communities(count: int = 120, groups: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    """A graph whose nodes know their own group: noisy features, edges as an index of two rows, labels."""
    labels = torch.arange(count) % groups
    alike = labels[:, None] == labels[None, :]
    adjacent = torch.rand(count, count) < torch.where(alike, 0.12, 0.01)
    adjacent = (adjacent | adjacent.T) & ~torch.eye(count, dtype=torch.bool)
    features = torch.randn(count, 16)
    features[:, :groups] += 1.5 * torch.nn.functional.one_hot(labels, groups)
    return features, adjacent.nonzero().T.contiguous(), labels
