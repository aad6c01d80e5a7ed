"""The rule on the loss on held-out data (TRN)."""

import math
import re
from collections.abc import Iterator, Sequence

from isometry._phrases import Phrase
from isometry.findings.rule import WATCH_RULES, Draft, rule
from isometry.probes.running.loss_course import TO_SIGMA, LossCourse, median
from isometry.probes.running.readings import Evaluation, History
from isometry.report.finding import Remedy

MIN_EVALUATIONS = 3  # behind the best one
MIN_LOST = 0.1  # of the best validation loss, and of what had been gained: more is worth stopping for
MAX_FEWER_RIGHT = 0.01  # of the accuracy; less is a handful of examples
HELD_OUT = frozenset(
    ("val", "valid", "validation", "test", "testing", "eval", "evaluation", "dev", "holdout", "heldout", "held", "out")
)
LOSSES = frozenset(
    ("loss", "nll", "perplexity", "ppl", "crossentropy", "xent", "ce", "bce", "mse", "rmse", "mae", "bpb", "bpc", "bpd")
)
ERRORS = frozenset(("err", "error"))
LOSSES_IN_WORDS = ({"cross", "entropy"}, {"bits", "per", "byte"}, {"bits", "per", "character"}, {"bits", "per", "dim"})
BESIDES = frozenset(("epoch", "mean", "avg", "average"))
STOP = Remedy("none", Phrase("Stop there, or regularise: iso.EarlyStopping keeps the weights of the best evaluation."))


@rule("TRN105", severity="warning", explained_by=("TRN101",), table=WATCH_RULES)
def overfitting(history: History, course: LossCourse, *, min_lost: float = MIN_LOST) -> Iterator[Draft]:
    """The loss on held-out data rises while the training loss falls.

    Why:
        From there on the network learns what is true of its training data alone.

    Measured:
        Three evaluations or more behind the best: the median of the last three lies above it by a tenth of its value,
        by a tenth of what had been gained, and by four standard deviations of the noise between evaluations; the
        training loss fell meanwhile. A note where an accuracy that was evaluated with it has not fallen, by a
        hundredth, since then the network is only surer of its errors.

    Remedy:
        Stop at the best evaluation, regularise, or get more data. With many wrong labels or few examples a longer
        training may descend a second time.

    Source:
        Prechelt 1998, Early stopping, but when?; Nakkiran et al. 2020, arXiv:1912.02292, on the second descent.
    """
    for name in _held_out(history.evaluations):
        series = [(each, each.metrics[name]) for each in history.evaluations if name in each.metrics]
        values = [value for _, value in series]
        best = min(range(len(values)), key=values.__getitem__)
        if len(values) - 1 - best < MIN_EVALUATIONS or not all(map(math.isfinite, values)):
            continue
        last = median(values[-MIN_EVALUATIONS:])
        rise = last - values[best]
        gained = max(values[0] - values[best], 0.0)
        noise = _second_differences(values)
        if rise <= max(min_lost * abs(values[best]), min_lost * gained, 4 * noise):
            continue
        if not _training_fell(history, course, since=series[best][0].step):
            continue
        yield _overfitted(name, series[best], last=last, history=history)


def _overfitted(name: str, best: tuple[Evaluation, float], *, last: float, history: History) -> Draft:
    return Draft(
        where=(name,),
        measured=last,
        allowed=best[1],
        unit="loss",
        cause=Phrase(
            "{name} was best at step {step} with {best:.4g} and stands at {last:.4g}, while the training loss fell",
            name=name,
            step=best[0].step,
            best=best[1],
            last=last,
        ),
        remedy=STOP,
        severity="note" if _is_still_as_right(history.evaluations, best[0]) else None,
    )


def _held_out(evaluations: Sequence[Evaluation]) -> list[str]:
    """Return the names of the metrics that are losses on held-out data; parts of a loss may rise by design."""
    if len(evaluations) <= MIN_EVALUATIONS:
        return []
    return [name for name in evaluations[-1].metrics if _is_held_out_loss(name)]


def _is_held_out_loss(name: str) -> bool:
    words = set(re.findall(r"[a-z]+", name.lower())) - BESIDES
    kind = words - HELD_OUT
    return kind != words and bool(kind) and (kind <= LOSSES | ERRORS or kind in LOSSES_IN_WORDS)


def _second_differences(values: Sequence[float]) -> float:
    """Return the noise of a smooth series; differences of differences know no trend."""
    bends = [abs(values[i + 2] - 2 * values[i + 1] + values[i]) for i in range(len(values) - 2)]
    return TO_SIGMA * median(bends) / math.sqrt(6) if bends else 0.0


def _training_fell(history: History, course: LossCourse, *, since: int) -> bool:
    around = [loss for step, loss in history.losses if abs(step - since) <= len(course.window) and math.isfinite(loss)]
    return bool(around) and course.recent < median(around)


def _is_still_as_right(evaluations: Sequence[Evaluation], best: Evaluation) -> bool:
    """Say whether an accuracy that was evaluated too has not fallen since the loss was best."""
    last = [each.metrics for each in evaluations[-MIN_EVALUATIONS:]]
    names = [name for name in best.metrics if "acc" in name.lower() and "train" not in name.lower()]
    series = {name: [each[name] for each in last if name in each] for name in names}
    known = {name: median(values) for name, values in series.items() if values}
    return bool(known) and all(now >= (1 - MAX_FEWER_RIGHT) * best.metrics[name] for name, now in known.items())
