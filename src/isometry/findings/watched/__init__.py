"""Rules over a training while it runs: the same codes as those of `check`, and a few more."""

from isometry.findings.watched import arithmetic, gradients, held_out, loss, signal, training

FAMILIES = (arithmetic, gradients, held_out, loss, signal, training)

__all__ = ["FAMILIES"]
