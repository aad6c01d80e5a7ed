"""Classes as targets of a regression, and how many of them are answered."""

from torch import Tensor
from torch.nn import functional

from isometry.lab.apparatus.digits import CLASSES


def one_hot(labels: Tensor) -> Tensor:
    """Return 1 for the class of each digit and 0 for the others, (examples, classes), in float64."""
    return functional.one_hot(labels, CLASSES).double()


def error_of(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return the share of examples whose largest output is not that of their class, in [0, 1].

    Args:
        outputs: (..., examples, classes), of one network or of several; of equal ones the first is the largest.
        labels: Classes, (examples,).

    Returns:
        One share a network, (...,), in float64.
    """
    return (outputs.argmax(-1) != labels).double().mean(-1)


def accuracy_of(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return the share of examples whose largest output is that of their class, per cent.

    Args:
        outputs: As for `error_of`.
        labels: Likewise.

    Returns:
        One share a network, (...,), in float64.
    """
    return 100 * (1 - error_of(outputs, labels))
