"""Rules on the loss (LOS)."""

from collections.abc import Iterator

from isometry._phrases import Phrase
from isometry.findings.rule import Draft, rule
from isometry.probes.reductions import SummedReading
from isometry.probes.start import Gap, GapKind, LossStart
from isometry.report.finding import Remedy

# Times the constant predictor's loss; 5 cost next to nothing, 10 cost accuracy: benchmarks/thresholds.md.
MAX_START_RATIO = 6.0
# The like for squared errors: outputs five of the targets' deviations off, which a few hundred steps make up for.
MAX_SQUARE_RATIO = 30.0
SQUARED = frozenset({"mse_loss", "squared difference"})
DISTANCES = SQUARED | {"l1_loss", "smooth_l1_loss", "huber_loss", "absolute difference"}
MIN_ERROR = 10.0  # of a regression, output units; outputs near 1 come that far in a few hundred steps of a thousandth


@rule(
    "LOS101",
    severity="warning",
    explained_by=(
        "NUM101",
        "LOS102",
        "LOS103",
        "DAT103",
        "DAT101",
        "DAT102",
        "LOS104",
        "INI103",
        "INI101",
        "INI105",
        "INI112",
        "FWD102",
        "BWD102",
        "FWD103",
        "FWD104",
    ),
    is_statistic=True,
)
def start_loss(
    start: LossStart,
    *,
    max_ratio: float = MAX_START_RATIO,
    max_square_ratio: float = MAX_SQUARE_RATIO,
    min_error: float = MIN_ERROR,
) -> Iterator[Draft]:
    """The loss starts far above that of a predictor that ignores its input.

    Why:
        The first steps, often the largest, are spent on taking back a confident guess, and the damage they do to
        the hidden layers stays.

    Measured:
        The loss over that of a constant predictor: ln K for K classes, ln 2 for binary targets, the targets'
        variance for squared errors and their deviation for absolute ones. Six times is allowed, thirty times of squares
        and any error below ten, which a few hundred steps make up for. The cause is what brings the loss down when it
        is left out: the targets' mean, the outputs' mean, or their scale. Networks without hidden layers are convex
        and are left in peace.

    Remedy:
        A small head, with its bias at the targets' mean or the log of the label prior: `isometry fix`.

    Source:
        Raffel et al. 2020, arXiv:1910.10683, whose released models start at 110 instead of 11 when trained from
        scratch; Karpathy 2019, A Recipe for Training Neural Networks.
    """
    reading, gap = start.reading, start.gap
    is_squared = reading.name in SQUARED
    allowed = (max_square_ratio if is_squared else max_ratio) * reading.constant
    if reading.name in DISTANCES:
        allowed = max(allowed, min_error**2 if is_squared else min_error)
    if not start.has_hidden_layers or not reading.value > allowed:
        return
    is_regression = reading.num_classes is None
    cause = Phrase(
        "{loss} starts at {value:.4g}, a constant predictor has {constant:.4g}"
        if is_regression
        else "{loss} starts at {value:.4g}, an even guess has {constant:.4g}",
        loss=reading.name,
        value=reading.value,
        constant=reading.constant,
    )
    if gap is not None:
        cause = Phrase("{gap}; {why}; without it {without:.4g}", gap=cause, why=_why(gap), without=gap.without)
    yield Draft(
        where=start.heads if gap is None else gap.where,
        measured=reading.value,
        allowed=allowed,
        unit="loss",
        cause=cause,
        remedy=Remedy("init", _remedy(start)),
    )


def _remedy(start: LossStart) -> Phrase:
    match start.head:
        case "tied":
            return Phrase("Draw the embedding, which is the head as well, with a small deviation: isometry fix.")
        case "biased":
            return Phrase("Make the head small and its bias the targets' mean or log prior: isometry fix.")
        case "bare":
            return Phrase("Make the head small: isometry fix.")


def _why(gap: Gap) -> Phrase:
    return Phrase(_WHY[gap.kind].template, layer=repr(gap.where[0]) if gap.where else "the head", size=gap.size)


_WHY: dict[GapKind, Phrase] = {
    "targets": Phrase("the targets have a mean of {size:.3g}"),
    "offset": Phrase("the outputs have a mean of {size:.3g}"),
    "spread": Phrase("the outputs have a deviation of {size:.3g}"),
    "class-offsets": Phrase("the mean logits of the classes differ by {size:.3g}, as a bias makes them"),
    "behind-head": Phrase("what stands behind {layer} multiplies its outputs by {size:.3g}"),
    "head-weight": Phrase("the weight of {layer} makes its outputs {size:.3g} times its inputs"),
    "head-input": Phrase("{layer} reads numbers with a root mean square of {size:.3g}"),
}


# Times a mean's gradient, from which on a sum is worth a word; a sum over few numbers is a matter of taste.
MIN_TIMES = 8.0
# Fall of the loss that the first step promises over the loss itself, dimensionless. One step cannot take off more than
# is there: 1 is Polyak's step, and beyond 2 even a parabola diverges.
MAX_STEP_RATIO = 2.0
LOST_STEP_RATIO = 20.0  # an error: ten times where a parabola diverges
MAX_END = 0.9  # of the first loss; a trial whose steps suit it leaves less
# Times the first loss, of all rises on the way; from there on a trial jumps, and must leave little all the same.
MAX_RISES = 1.0
JUMPING_END = 0.5  # of the first loss
MIN_LOWER = 0.25  # of the first loss, by which the steps of a mean leave less than those that jump


@rule("LOS104", severity="warning", explained_by=("LOS103", "DAT103"))
def summed_loss(
    reading: SummedReading,
    *,
    min_times: float = MIN_TIMES,
    max_step_ratio: float = MAX_STEP_RATIO,
    lost_step_ratio: float = LOST_STEP_RATIO,
    max_end: float = MAX_END,
) -> Iterator[Draft]:
    """The loss sums over the batch, and the step was chosen for a mean.

    Why:
        A sum over N numbers has N times the gradient of their mean, so plain gradient descent takes N times the step,
        and another batch size is another learning rate. Adam divides it out again.

    Measured:
        How many times a mean's gradient the sum gives, by the weight it has in the loss. It hurts if the first step of
        plain gradient descent promises to take off more than twice the loss, lr |g|^2 / loss > 2, and a mean's would
        not; or if the loss does not fall in a trial, or jumps, and does fall with steps as small as a mean's, or half
        way to them. Without an optimiser
        the sum is a note, with Adam nothing.

    Remedy:
        reduction="mean", or divide by the number of terms.

    Source:
        Polyak 1987, Introduction to Optimization, on the step f / |g|^2; Goyal et al. 2017, arXiv:1706.02677, on steps
        and batch sizes.
    """
    if reading.times < min_times:
        return
    ratio = reading.step_ratio
    promises = ratio is not None and ratio > max_step_ratio >= ratio / reading.times
    is_lost = (ratio or 0.0) > lost_step_ratio or (reading.end or 0.0) > 1
    hurts = promises or _is_better_with_mean(reading, max_end)
    if not hurts and reading.has_optimizer:
        return
    cause = Phrase(
        "{loss} is summed: its gradient is {times:.3g} times that of a mean", loss=reading.loss, times=reading.times
    )
    if promises:
        cause = Phrase(
            "{sum}, and the first step of {optimizer} promises to take {ratio:.3g} times the loss off",
            sum=cause,
            optimizer=reading.optimizer,
            ratio=ratio,
        )
    elif hurts:
        cause = Phrase(
            "{sum}, and some steps of {optimizer} leave {end:.3g} of the loss, shorter ones {mean:.3g}",
            sum=cause,
            optimizer=reading.optimizer,
            end=reading.end,
            mean=reading.mean_end,
        )
    yield Draft(
        where=(),
        measured=reading.times,
        allowed=min_times,
        unit="times a mean's gradient",
        cause=cause,
        remedy=Remedy("model", Phrase('Take the mean: reduction="mean", or divide by the number of terms.')),
        severity="note" if not hurts else "error" if is_lost else None,
    )


def _is_better_with_mean(reading: SummedReading, max_end: float) -> bool:
    """Say whether the loss does not fall with the optimiser's steps, and does with those of a mean."""
    if reading.end is None or reading.mean_end is None:
        return False
    if reading.rises > MAX_RISES and reading.end > JUMPING_END:
        return reading.mean_end < reading.end - MIN_LOWER
    return reading.end > max_end and reading.mean_end < min(1.0, reading.end)
