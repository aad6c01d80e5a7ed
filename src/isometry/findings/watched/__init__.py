"""Rules over a training while it runs: the same codes as those of `check`, and a few more."""

from isometry.findings.watched import arithmetic, gradients, loss, signal, training

FAMILIES = (arithmetic, gradients, loss, signal, training)

__all__ = ["FAMILIES"]
