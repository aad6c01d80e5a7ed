"""Rules on what the last layer gives to the loss, and on the targets it is held against (LOS)."""

import math
from collections.abc import Iterator
from dataclasses import replace

from isometry._phrases import Phrase
from isometry.findings.rule import Draft, rule
from isometry.probes.outputs import (
    OutputReading,
    OutputTable,
    least_binary_loss,
    least_class_loss,
    share_out_of_reach,
)
from isometry.report.finding import Remedy

# Of the loss of a guess, dimensionless. What a bounded output keeps of the loss for ever: a tanh before two classes
# keeps 0.18, a sigmoid 0.45, a softmax before ten classes 0.63; a cap of 30 on logits, as Gemma's, keeps nothing.
MAX_LEAST_LOSS = 0.1
LOST_LEAST_LOSS = 0.3
# Share of targets that the last activation cannot give; outliers, and noise about a bound, stay below.
MAX_OUT_OF_REACH = 0.05
# Their mean square distance over the targets' variance; beyond the second the output is of no use for most targets.
MAX_REACH_COST = 0.02
LOST_REACH_COST = 0.1
# Natural logarithm of a sum of probabilities. Rows of raw numbers and of probabilities have ln(classes) and more.
MAX_LOG_TOTAL = 0.1
TABLE = 2  # axes of a table of samples and outputs
HALF_A_LABEL = 0.5  # by which a sum of labels may be off one

TAKES_LOGITS = Phrase("Give the loss the outputs of the last layer as they are.")


@rule("LOS102", severity="error", explained_by=("NUM101",))
def wrong_output_activation(
    outputs: OutputTable,
    *,
    max_least_loss: float = MAX_LEAST_LOSS,
    lost_least_loss: float = LOST_LEAST_LOSS,
    max_out_of_reach: float = MAX_OUT_OF_REACH,
    max_reach_cost: float = MAX_REACH_COST,
    lost_reach_cost: float = LOST_REACH_COST,
    max_log_total: float = MAX_LOG_TOTAL,
) -> Iterator[Draft]:
    """The last activation does not belong to the loss.

    Why:
        A softmax that is applied twice squeezes the logits into [0, 1], so that no class can get more than
        e / (e + K - 1) of the probability; a loss that wants logarithms takes raw numbers without complaint and falls
        for ever; a ReLU, sigmoid or tanh behind a regression cannot give the targets outside of its range.

    Measured:
        From values, targets and operations, never from names: the least loss that the outputs' range allows (0.1 of a
        guess's), the share of targets out of their range (0.05), and the logarithm of the sum of what should be
        probabilities (0.1). A log-softmax before cross-entropy changes nothing and is left in peace.

    Remedy:
        Leave the last activation out, or take the loss that belongs to it: logits for cross_entropy and
        binary_cross_entropy_with_logits, log_softmax for nll_loss and kl_div, a sigmoid for binary_cross_entropy, the
        bare last layer for a regression.

    Source:
        PyTorch documentation of CrossEntropyLoss and NLLLoss; pytorch/pytorch#55902; Humbatova et al. 2020,
        arXiv:1910.11015, where wrong activations and losses are among the commonest faults.
    """
    least, costs = (max_least_loss, lost_least_loss), (max_reach_cost, lost_reach_cost)
    for reading in outputs.readings:
        draft = (
            _normalised_over_one(reading)
            or _normalised_over_samples(reading)
            or _squeezed_logits(reading, least)
            or _squeezed_binary(reading, least)
            or _no_log_probabilities(reading, max_log_total)
            or _out_of_reach(reading, max_out_of_reach, costs)
            or _rate_out_of_reach(reading)
        )
        if draft is not None:
            yield draft
            return


def _normalised_over_one(reading: OutputReading) -> Draft | None:
    """One class, or a softmax over one number, which is 1 whatever the network gives."""
    over_one = reading.reach.softmax_axis is not None and reading.reach.softmax_dim == 1
    if not over_one and not (reading.num_choices == 1 and reading.comparison.family in {"classes", "log-softmax"}):
        return None
    return Draft(
        where=reading.where,
        measured=1.0,
        allowed=2.0,
        unit="outputs",
        cause=Phrase("a softmax over one number is 1 whatever the network gives, so nothing is learnt"),
        remedy=Remedy(
            "model",
            Phrase("Give one output to binary_cross_entropy_with_logits without an activation, or make two of it."),
        ),
    )


def _normalised_over_samples(reading: OutputReading) -> Draft | None:
    reach, comparison = reading.reach, reading.comparison
    if reach.softmax_axis is None or reach.num_axes < TABLE or reach.softmax_dim != comparison.shape[0]:
        return None
    if reach.softmax_axis != 0 or reach.num_axes != len(comparison.shape) or comparison.class_axis == 0:
        return None
    total = math.exp(reading.log_total or 0.0)
    return Draft(
        where=reading.where,
        measured=total,
        allowed=1.0,
        unit="sum of a sample's probabilities",
        cause=Phrase("{name} normalises over the samples of the batch and not over the classes", name=reach.activation),
        remedy=Remedy("model", Phrase("Normalise over the classes: dim=1, or dim=-1 where they come last.")),
    )


def _squeezed_logits(reading: OutputReading, bounds: tuple[float, float]) -> Draft | None:
    """Cross-entropy of numbers that are bounded already."""
    if reading.comparison.family not in {"classes", "log-softmax"} or (reading.num_choices or 1) <= 1:
        return None
    name, reach, classes = reading.comparison.name, reading.reach, reading.num_choices or 1
    if reading.is_distribution or reach.activation == "softmax":
        least = least_class_loss(classes, 1.0)
        cause = Phrase(
            "{loss} is given probabilities and applies a softmax of its own: the loss cannot fall below {least:.3g}, "
            "that of a guess is {guess:.3g}",
            loss=name,
            least=least * math.log(classes),
            guess=math.log(classes),
        )
        return _on_logits(reading, least=least, cause=cause, bounds=bounds)
    if reach.is_cut and reading.comparison.family == "classes":
        cause = Phrase(
            "{activation} cuts the logits off at {low:.3g}, and below no gradient reaches a class",
            activation=reach.activation,
            low=reach.low,
        )
        return Draft(
            where=reading.where,
            measured=float((reading.comparison.outputs <= reach.low).float().mean()),
            allowed=0.0,
            unit="share of logits",
            cause=cause,
            remedy=Remedy("model", TAKES_LOGITS),
            severity="warning",
        )
    least = least_class_loss(classes, reach.high - reach.low) if reach.is_bounded else 0.0
    cause = Phrase(
        "{activation} holds the logits in [{low:.3g}, {high:.3g}], so that the loss cannot fall below {least:.3g}",
        activation=reach.activation,
        low=reach.low,
        high=reach.high,
        least=least * math.log(classes),
    )
    return _on_logits(reading, least=least, cause=cause, bounds=bounds)


def _squeezed_binary(reading: OutputReading, bounds: tuple[float, float]) -> Draft | None:
    comparison, reach = reading.comparison, reading.reach
    if comparison.family != "binary" or comparison.targets is None or not comparison.targets.is_floating_point():
        return None
    if comparison.name == "binary_cross_entropy":
        return _one_of_many(reading) or _narrow_probabilities(reading, bounds)
    if reach.low == -math.inf and reach.high == math.inf:
        return None
    low, high = (1 / (1 + math.exp(-max(min(bound, 700.0), -700.0))) for bound in (reach.low, reach.high))
    least = least_binary_loss(comparison.targets, low=low, high=high)
    cause = Phrase(
        "{loss} applies a sigmoid to the outputs of {activation}, which lie in [{low:.3g}, {high:.3g}]: their "
        "probabilities stay in [{least:.3g}, {most:.3g}]",
        loss=comparison.name,
        activation=reach.activation,
        low=reach.low,
        high=reach.high,
        least=low,
        most=high,
    )
    return _on_logits(reading, least=least, cause=cause, bounds=bounds)


def _narrow_probabilities(reading: OutputReading, bounds: tuple[float, float]) -> Draft | None:
    """Probabilities of which a part cannot come up, as behind a ReLU and a sigmoid."""
    targets, reach = reading.comparison.targets, reading.reach
    if targets is None or not reach.activation:
        return None
    low, high = max(reach.low, 0.0), min(reach.high, 1.0)
    least = least_binary_loss(targets, low=low, high=high)
    cause = Phrase(
        "the probabilities behind {activation} stay in [{low:.3g}, {high:.3g}]",
        activation=reach.activation,
        low=low,
        high=high,
    )
    draft = _on_logits(reading, least=least, cause=cause, bounds=bounds)
    remedy = Remedy("model", Phrase("Put nothing but one sigmoid behind the last layer."))
    return None if draft is None else replace(draft, remedy=remedy)


def _on_logits(reading: OutputReading, *, least: float, cause: Phrase, bounds: tuple[float, float]) -> Draft | None:
    allowed, lost = bounds
    if least <= allowed:
        return None
    return Draft(
        where=reading.where,
        measured=least,
        allowed=allowed,
        unit="of a guess's loss",
        cause=cause,
        remedy=Remedy(
            "model",
            Phrase(
                "Leave {activation} out, and give {loss} the outputs of the last layer as they are.",
                activation=_named(reading),
                loss=reading.comparison.name,
            ),
        ),
        severity=None if least > lost else "warning",
    )


def _named(reading: OutputReading) -> str:
    return reading.reach.activation or "the softmax"


def _one_of_many(reading: OutputReading) -> Draft | None:
    """A softmax for targets of which several, or none, hold at once."""
    targets = reading.comparison.targets
    if (
        targets is None
        or not reading.is_distribution
        or targets.ndim < TABLE
        or targets.shape != reading.comparison.shape
    ):
        return None
    share = float(((targets.double().sum(-1) - 1).abs() > HALF_A_LABEL).double().mean())
    if share <= MAX_OUT_OF_REACH:
        return None
    return Draft(
        where=reading.where,
        measured=share,
        allowed=MAX_OUT_OF_REACH,
        unit="share of targets",
        cause=Phrase(
            "the outputs of a sample sum to 1, and {share:.0%} of the samples do not have one label", share=share
        ),
        remedy=Remedy("model", Phrase("Use a sigmoid on every output: binary_cross_entropy_with_logits has one.")),
    )


def _no_log_probabilities(reading: OutputReading, max_log_total: float) -> Draft | None:
    comparison, total = reading.comparison, reading.log_total
    if comparison.family not in {"log-classes", "divergence"} or total is None or (reading.num_choices or 1) <= 1:
        return None
    if total <= max_log_total:
        return None
    what = Phrase("probabilities") if reading.is_distribution else Phrase("raw outputs")
    return Draft(
        where=reading.where,
        measured=total,
        allowed=max_log_total,
        unit="log of the sum of probabilities",
        cause=Phrase(
            "{loss} is given {what} where it takes logarithms of probabilities, and falls without end as they grow",
            loss=comparison.name,
            what=what,
        ),
        remedy=Remedy(
            "model", Phrase("Put log_softmax before {loss}, or give logits to cross_entropy.", loss=comparison.name)
        ),
    )


def _out_of_reach(reading: OutputReading, max_out_of_reach: float, costs: tuple[float, float]) -> Draft | None:
    comparison, reach = reading.comparison, reading.reach
    if comparison.family != "distance" or comparison.targets is None or not reach.activation:
        return None
    if not comparison.targets.is_floating_point() or not bool(comparison.targets.isfinite().all()):
        return None
    share, cost = share_out_of_reach(comparison.targets, reach)
    if share <= max_out_of_reach or cost <= costs[0]:
        return None
    low, high = float(comparison.targets.min()), float(comparison.targets.max())
    return Draft(
        where=reading.where,
        measured=share,
        allowed=max_out_of_reach,
        unit="share of targets",
        cause=Phrase(
            "{activation} gives numbers in [{low:.3g}, {high:.3g}], and the targets lie in [{least:.3g}, {most:.3g}]",
            activation=reach.activation,
            low=reach.low,
            high=reach.high,
            least=low,
            most=high,
        ),
        remedy=Remedy(
            "model", Phrase("Leave {activation} out at the end of a regression.", activation=reach.activation)
        ),
        severity=None if cost > costs[1] else "warning",
        message=Phrase(
            "The outputs of {where} cannot come to {share:.3g} % of the targets.",
            where=repr(reading.where[0]) if reading.where else "the model",
            share=100 * share,
        ),
    )


def _rate_out_of_reach(reading: OutputReading) -> Draft | None:
    """Counts whose mean no rate can reach: the loss takes the rate's logarithm, unless it is told otherwise."""
    comparison, reach = reading.comparison, reading.reach
    if comparison.family != "rate" or comparison.targets is None or not reach.activation:
        return None
    mean = float(comparison.targets.double().mean())
    low, high = (math.exp(min(bound, 700.0)) if reading.is_log_rate else bound for bound in (reach.low, reach.high))
    if low <= mean <= high and not (reading.is_log_rate and reach.activation == "exp"):
        return None
    return Draft(
        where=reading.where,
        measured=mean,
        allowed=high if mean > high else low,
        unit="mean count",
        cause=Phrase(
            "behind {activation} {loss} can have rates in [{low:.3g}, {high:.3g}], and the mean count is {mean:.3g}",
            activation=reach.activation,
            loss=comparison.name,
            low=low,
            high=high,
            mean=mean,
        ),
        remedy=Remedy("model", Phrase("Give the bare outputs, as logarithms of rates, or say log_input=False.")),
        severity=None if not low <= mean <= high else "warning",
    )
