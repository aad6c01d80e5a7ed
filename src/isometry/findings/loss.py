"""Rules on the loss and the output (LOS)."""

from collections.abc import Iterator

from isometry.findings.rule import Draft, rule
from isometry.probes.start import LossStart
from isometry.report.finding import Remedy

# Times the constant predictor's loss; 5 cost next to nothing, 10 cost accuracy: benchmarks/thresholds.md.
MAX_START_RATIO = 6.0


@rule("LOS101", severity="warning", explained_by=("NUM101", "INI101", "FWD102", "BWD102", "FWD103"))
def start_loss(start: LossStart) -> Iterator[Draft]:
    """The loss starts far above that of a predictor that ignores its input.

    Why:
        The first steps, often the largest, are spent on taking back a confident guess, and the damage they do to
        the hidden layers stays.

    Measured:
        The loss over that of a constant predictor: ln K for K classes, ln 2 for binary targets, the targets'
        variance for squared errors. Networks without hidden layers are convex and are left in peace.

    Remedy:
        A small head, with its bias at the targets' mean or the log of the label prior: `isometry fix`.

    Source:
        Raffel et al. 2020, arXiv:1910.10683, whose released models start at 110 instead of 11 when trained from
        scratch; Karpathy 2019, A Recipe for Training Neural Networks.
    """
    reading = start.reading
    ratio = reading.value / reading.constant
    if start.has_hidden_layers and ratio > MAX_START_RATIO:
        yield Draft(
            where=start.heads,
            measured=reading.value,
            allowed=MAX_START_RATIO * reading.constant,
            unit="loss",
            cause=f"{reading.name} starts at {reading.value:.4g}, a constant predictor has {reading.constant:.4g}",
            remedy=Remedy("init", "Make the head small and its bias the targets' mean or log prior: isometry fix."),
        )
