"""Rules on the batch (DAT)."""

import math
from collections.abc import Iterator

from isometry._phrases import Phrase
from isometry.findings.rule import Draft, rule
from isometry.probes.data import GoalReading, InputReading, InputScale, Variety
from isometry.probes.norms import NormTable
from isometry.report.finding import Remedy

# Root mean square of what a first layer reads. Counts up to ten have at most 6, digits of 0 to 16 have 8, raw pixels
# 70 to 150.
MAX_SIZE = 25.0
LOST_SIZE = 60.0
# Length of the mean over the spread, dimensionless; the curvature's largest value grows with its square. Pictures in
# [0, 1] have 2, on a white ground 6; degrees Kelvin 30, calendar years 200.
MAX_OFFSET = 20.0
LOST_OFFSET = 100.0
# Root mean square of one feature over that of all others together: beyond, the layer sees nothing else.
MAX_DOMINANCE = 30.0
LOST_DOMINANCE = 300.0
LEAST_DOMINANT = 10.0  # root mean square of a feature that may dominate, as a column of ones beside rare words does
MIN_LARGEST = 5e-3  # largest magnitude of all; below, biases are all that a layer sees
# Root mean square of a regression's targets over that of the first outputs or 1. Prices in thousands have 20.
MAX_GOAL = 100.0
LOST_GOAL = 1e4
STANDARDISE = Phrase("Standardise each feature: subtract its mean and divide by its deviation over the training set.")


@rule("DAT101", severity="warning", explained_by=("NUM101", "DAT102"), is_statistic=True)
def unnormalised_input(
    scale: InputScale,
    *,
    max_size: float = MAX_SIZE,
    lost_size: float = LOST_SIZE,
    max_offset: float = MAX_OFFSET,
    lost_offset: float = LOST_OFFSET,
    max_dominance: float = MAX_DOMINANCE,
    lost_dominance: float = LOST_DOMINANCE,
    least_dominant: float = LEAST_DOMINANT,
    min_largest: float = MIN_LARGEST,
    max_goal: float = MAX_GOAL,
    lost_goal: float = LOST_GOAL,
) -> Iterator[Draft]:
    """The inputs, or the targets of a regression, are of a size that hurts.

    Why:
        The curvature of the loss grows with the square of what the first layer reads: the step that suits one feature
        throws the others off, sigmoids saturate, and an offset far above the spread drowns what tells samples apart.
        Outputs near 1 reach targets of 100,000 only after as many steps of a thousandth.

    Measured:
        What the layers read that read data: its root mean square (25 allowed), the mean over the spread (20), one
        feature over all others together (30), a largest number below 0.005; for regressions the targets over the
        first outputs (100). A norm behind the layer makes up for all but a feature that dominates; embeddings, norms
        and logarithms before the first layer are part of the network. Data beside embeddings count as data. A problem
        without hidden layers is left in peace about its targets.

    Remedy:
        Standardise inputs and targets over the training set, or begin with a norm.

    Source:
        LeCun, Bottou, Orr, Müller 1998, Efficient BackProp, section 4.3.
    """
    worst = max(scale.inputs, key=lambda each: _badness(each, least_dominant), default=None)
    drafts = (
        None if worst is None else _dominated(worst, (max_dominance, lost_dominance), least_dominant),
        None if worst is None else _too_large(worst, (max_size, lost_size)),
        None if worst is None else _far_off(worst, (max_offset, lost_offset)),
        None if worst is None else _too_small(worst, min_largest),
        *(_far_goal(goal, (max_goal, lost_goal)) for goal in scale.goals if scale.has_hidden_layers),
    )
    yield from [draft for draft in drafts if draft is not None][:1]


def _badness(reading: InputReading, least_dominant: float) -> float:
    dominance = reading.feature_size / reading.other_size if reading.other_size else 0.0
    offset = reading.offset if math.isfinite(reading.offset) else 0.0
    size = 0.0 if reading.is_normalised else max(reading.size / MAX_SIZE, offset / MAX_OFFSET)
    return max(size, dominance / MAX_DOMINANCE if reading.feature_size > least_dominant else 0.0)


def _dominated(reading: InputReading, bounds: tuple[float, float], least_dominant: float) -> Draft | None:
    if not reading.other_size or reading.feature_size <= least_dominant:
        return None
    ratio = reading.feature_size / reading.other_size
    if ratio <= bounds[0]:
        return None
    return _of_inputs(
        reading,
        ratio,
        bounds,
        unit="times all others",
        cause=Phrase(
            "feature {feature} of what {layer!r} reads has a root mean square of {size:.3g}, all others together have "
            "{rest:.3g}",
            feature=reading.feature,
            layer=reading.layer,
            size=reading.feature_size,
            rest=reading.other_size,
        ),
    )


def _too_large(reading: InputReading, bounds: tuple[float, float]) -> Draft | None:
    if reading.is_normalised or reading.size <= bounds[0]:
        return None
    return _of_inputs(
        reading,
        reading.size,
        bounds,
        unit="root mean square",
        cause=Phrase(
            "{layer!r} reads numbers with a root mean square of {size:.3g}, the largest {largest:.3g}",
            layer=reading.layer,
            size=reading.size,
            largest=reading.largest,
        ),
    )


def _far_off(reading: InputReading, bounds: tuple[float, float]) -> Draft | None:
    if reading.is_normalised or not bounds[0] < reading.offset < math.inf:
        return None
    return _of_inputs(
        reading,
        reading.offset,
        bounds,
        unit="mean over spread",
        cause=Phrase(
            "what {layer!r} reads has a mean {offset:.3g} times as large as its spread",
            layer=reading.layer,
            offset=reading.offset,
        ),
    )


def _too_small(reading: InputReading, min_largest: float) -> Draft | None:
    if reading.is_normalised or not 0 < reading.largest < min_largest:
        return None
    return _of_inputs(
        reading,
        reading.largest,
        (min_largest, math.inf),
        unit="largest magnitude",
        cause=Phrase(
            "the largest number that {layer!r} reads is {largest:.3g}", layer=reading.layer, largest=reading.largest
        ),
    )


def _of_inputs(
    reading: InputReading, measured: float, bounds: tuple[float, float], *, unit: str, cause: Phrase
) -> Draft:
    """Return what is wrong with the inputs; beyond the second bound it is an error."""
    return Draft(
        where=("inputs", reading.layer),
        measured=measured,
        allowed=bounds[0],
        unit=unit,
        cause=cause,
        remedy=Remedy("data", STANDARDISE),
        severity="error" if measured > bounds[1] else None,
    )


def _far_goal(goal: GoalReading, bounds: tuple[float, float]) -> Draft | None:
    ratio = goal.size / max(goal.outputs, 1.0)
    if ratio <= bounds[0]:
        return None
    return Draft(
        where=("targets", *goal.heads),
        measured=ratio,
        allowed=bounds[0],
        unit="times the outputs",
        cause=Phrase(
            "the targets have mean {mean:.3g} and deviation {deviation:.3g}, the outputs start at {outputs:.3g}",
            mean=goal.mean,
            deviation=goal.deviation,
            outputs=goal.outputs,
        ),
        remedy=Remedy(
            "data",
            Phrase("Standardise the targets: subtract their mean, divide by their deviation; undo it to predict."),
        ),
        severity="error" if ratio > bounds[1] else None,
    )


MIN_NOTED = 16  # samples alike; fewer are not worth a word
MIN_ALIKE = 64  # samples alike; a class that holds 95 of 100 fills a batch of 64 with a chance of 4 %
# The like for one of two classes, or masks that are all background: one that holds 99 of 100 does with 8 %.
MIN_ALIKE_RARE = 256
TWO_CLASSES = 2  # counts


@rule("DAT102", severity="error", explained_by=("LOS103",))
def constant_data(
    variety: Variety,
    *,
    min_noted: float = MIN_NOTED,
    min_alike: float = MIN_ALIKE,
    min_alike_rare: float = MIN_ALIKE_RARE,
) -> Iterator[Draft]:
    """All samples have the same inputs, or the same target.

    Why:
        From equal inputs nothing can be told apart, and with equal targets there is nothing to tell: a network learns
        one number and calls it a success.

    Measured:
        Whether the samples differ in any input, and in their target. Equal targets count from 64 samples on; of two
        classes, and of masks that hold one class alone, from 256, since the others may be rare. Fewer, down to 16, are
        a note, and so are targets that are meant: a zero that is no layer's output, the answer of a frozen critic,
        and a centre at which the outputs begin.

    Remedy:
        Look at how inputs and targets are made and shuffled.

    Source:
        Humbatova et al. 2020, arXiv:1910.11015, on training data; Karpathy 2019, A Recipe for Training Neural
        Networks.
    """
    if variety.has_equal_inputs and not variety.has_equal_targets:
        yield Draft(
            where=("inputs",),
            measured=1.0,
            allowed=2.0,
            unit="different samples",
            cause=Phrase(
                "all {count} samples have the same inputs, and their targets differ", count=variety.num_samples
            ),
            remedy=Remedy("data", Phrase("Look at how the inputs are made: each sample needs its own.")),
        )
    if not variety.has_equal_targets or variety.num_samples < min_noted:
        return
    is_rare = variety.num_choices == TWO_CLASSES or (variety.num_choices is not None and variety.is_even)
    is_chance = variety.num_samples < (min_alike_rare if is_rare else min_alike)
    yield Draft(
        where=("targets",),
        measured=1.0,
        allowed=2.0,
        unit="different targets",
        cause=Phrase(
            "all {count} samples have the target {target:.3g}", count=variety.num_samples, target=variety.target
        ),
        remedy=Remedy("data", Phrase("Look at how the targets are made, and shuffle the data set.")),
        severity="note" if is_chance or _is_meant(variety) else "warning",
    )


def _is_meant(variety: Variety) -> bool:
    """Say whether one target for all is what somebody asks for: a residual that vanishes, a critic's yes, a centre."""
    return variety.is_reached or variety.is_judged or (variety.target == 0 and not variety.is_direct)


MIN_NUMBERS = 3  # over two, each becomes -1 or 1 whatever it was


@rule("DAT104", severity="error", explained_by=("NUM101",))
def single_sample_norm(norms: NormTable) -> Iterator[Draft]:
    """A norm normalises over one number alone.

    Why:
        A number less its own mean is zero: what comes out is the norm's bias, whatever went in. Over two numbers it is
        -1 and 1. Torch itself refuses a batch norm over one.

    Measured:
        Numbers that share a mean: samples and places of a batch norm in training mode, channels and places of a group,
        the normalised axes of a layer norm. Two are a note, as
        is a batch norm over the places of a single sample.

    Remedy:
        Larger batches (drop_last=True in the DataLoader), fewer groups, or another norm.

    Source:
        Ioffe, Szegedy 2015, arXiv:1502.03167; Wu, He 2018, arXiv:1803.08494, figure 1 on small batches.
    """
    worst = min(norms.norms, key=lambda each: each.num_numbers)
    lonely = next((each for each in norms.norms if each.is_over_batch and each.num_samples == 1), None)
    if worst.num_numbers >= MIN_NUMBERS and lonely is None:
        return
    found = worst if worst.num_numbers < MIN_NUMBERS or lonely is None else lonely
    yield Draft(
        where=tuple(dict.fromkeys([found.where, *(each.where for each in norms.norms if each == found)])),
        measured=float(found.num_numbers),
        allowed=float(MIN_NUMBERS),
        unit="numbers",
        cause=Phrase(
            "{name} takes mean and deviation of {count} numbers, of {samples} samples",
            name=found.name,
            count=found.num_numbers,
            samples=found.num_samples,
        ),
        remedy=Remedy(
            "data", Phrase("Use larger batches (drop_last=True), fewer groups, or a norm that fits the shape.")
        ),
        severity=None if found.num_numbers == 1 else "note",
    )
