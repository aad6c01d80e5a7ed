"""Rules on the targets that a loss is given (LOS103, DAT103)."""

from collections.abc import Iterator

from isometry._phrases import Phrase
from isometry.findings.rule import Draft, rule
from isometry.probes.targets import BroadcastTable, TargetTable
from isometry.report.finding import Remedy

# Share of targets outside of the loss's domain. What has no meaning is wrong from the first on; several labels at
# once, and sums other than 1, are a matter of most targets.
MAX_OUTSIDE = 0.0
MAX_UNUSUAL = 0.25


@rule("LOS103", severity="error", explained_by=())
def wrong_targets(
    targets: TargetTable, *, max_outside: float = MAX_OUTSIDE, max_unusual: float = MAX_UNUSUAL
) -> Iterator[Draft]:
    """The targets lie outside of what the loss is made for.

    Why:
        A loss accepts numbers that it has no meaning for: labels 1 and 2 let binary cross-entropy fall without end,
        labels 0 and 1 teach a margin loss of -1 and 1 one class only, a negative count drives a rate to zero.

    Measured:
        The share of targets outside of the domain of the loss: [0, 1] for binary cross-entropy, -1 and 1 for margins,
        at least 0 for counts, sums of 1 for divergences, one label of each sample for cross-entropy, or shares that
        are not negative and sum to less than 2; none left out by ignore_index if that leaves out all.

    Remedy:
        Map the targets into the domain, or take the loss that is made for them.

    Source:
        PyTorch documentation of the loss functions; Humbatova et al. 2020, arXiv:1910.11015, on wrong labels.
    """
    for reading in targets.readings:
        allowed = max_outside if reading.is_certain else max_unusual
        if reading.outside_share > allowed:
            yield Draft(
                where=("targets",),
                measured=reading.outside_share,
                allowed=allowed,
                unit="share of targets",
                cause=Phrase(
                    "{loss} takes {wanted}; the targets lie in [{low:.3g}, {high:.3g}]",
                    loss=reading.loss,
                    wanted=Phrase(reading.wanted),
                    low=reading.low,
                    high=reading.high,
                ),
                remedy=Remedy("data", Phrase("Give it {wanted}, or take another loss.", wanted=Phrase(reading.wanted))),
                severity=None if reading.is_certain else "warning",
            )
            return


@rule("DAT103", severity="error")
def broadcast_targets(table: BroadcastTable) -> Iterator[Draft]:
    """Outputs and targets differ in shape, and the loss compares each with many.

    Why:
        Outputs of shape (N, 1) against targets of shape (N,) are compared N times N: every output is drawn to the
        mean of all targets, and the network learns to ignore its input. The loss falls all the same.

    Measured:
        Pairs that are compared, against the targets there are; from the shapes at the loss function, or at a
        subtraction that is squared.

    Remedy:
        Give both one shape: outputs.squeeze(-1) or targets[:, None].

    Source:
        PyTorch's own warning in mse_loss, "this will likely lead to incorrect results due to broadcasting".
    """
    for found in table.broadcasts:
        yield Draft(
            where=found.where,
            measured=float(found.num_compared),
            allowed=float(found.num_targets),
            unit="comparisons",
            cause=Phrase(
                "{loss} of outputs {outputs} and targets {targets}: {how}",
                loss=found.loss,
                outputs=str(found.outputs),
                targets=str(found.targets),
                how=Phrase("every output is compared with every target")
                if found.is_outer
                else Phrase("one number stands for several"),
            ),
            remedy=Remedy("data", Phrase("Give both one shape, for instance targets.reshape(outputs.shape).")),
            severity=None if found.is_outer else "warning",
        )
        return
