"""The course of a run's loss in a few robust numbers: where it started, how low it came, where it stands."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from isometry.probes.running.readings import History

MIN_LOSSES = 6  # that a course is made of
MAX_RECENT = 32  # losses of the latest window
MAX_SAMPLED = 256  # losses at least of which the lowest level is read; more say the same and cost time
BLOCK = 8  # losses whose median is one level
RUN = 4  # losses in a row whose median is a height; single ones leap by chance
NO_SCALE = 0.01  # of the highest level; a start that lies below it says nothing of how large a loss is
TO_SIGMA = 1.4826  # from a median deviation to the standard deviation of a normal distribution


@dataclass(frozen=True, slots=True, kw_only=True)
class LossCourse:
    """How the loss of a run went; levels are medians of windows, so that single steps move none of them.

    Attributes:
        steps: The optimiser's steps from the first loss to the last, counts.
        start: The first loss, of the untrained weights.
        first: The level of the first losses, over as long a window as `recent`.
        best: The lowest level before the latest window.
        top: The highest level so far.
        before: The level of the window before the latest.
        recent: The level of the latest window.
        lowest: The tenth percentile of the latest window.
        highest: Its ninetieth.
        noise: Standard deviation of single losses about their level, from differences between neighbours; of the first
            window or the latest, whichever is smaller.
        peak: The highest level that four of the first 64 losses in a row had.
        window: The losses of the latest window and the one before it, oldest first.
    """

    steps: int
    start: float
    first: float
    best: float
    top: float
    before: float
    recent: float
    lowest: float
    highest: float
    noise: float
    peak: float
    window: tuple[float, ...]

    @property
    def gain(self) -> float:
        """What the best level gained on the start; zero where it never came below."""
        return max(self.start - min(self.best, self.recent), 0.0)

    @property
    def reach(self) -> float:
        """From the highest level, or the start if that is higher, down to the lowest."""
        return max(self.start, self.top) - min(self.start, self.best, self.recent)

    @property
    def starts_near_zero(self) -> bool:
        """Whether the start is so small beside later levels that no share of it tells anything.

        Losses of values that are learnt from targets of the network's own, or of a term that is warmed up, begin so.
        """
        return abs(self.start) < NO_SCALE * abs(self.top)

    def margin(self, share: float) -> float:
        """Return a share of the start's size, or four standard deviations of the noise if that is more."""
        return max(share * abs(self.start), 4 * self.noise)

    def has_learned(self, share: float) -> bool:
        """Say whether the loss now stands below its start by more than a share of it and the noise."""
        return self.recent < self.start - self.margin(share)

    def learns(self, share: float) -> bool:
        """Say whether the run has gained more than a share of its start and has kept half of its gain."""
        return self.has_learned(share) and not self.has_fallen_back(0.5)

    def has_fallen_back(self, share: float) -> bool:
        """Say whether the loss lost, since its best level, more than a share of what it had gained, and the noise."""
        return self.recent > self.best + max(share * self.gain, 4 * self.noise)


def loss_course(history: History) -> LossCourse | None:
    """Return the course of a run's loss; None while there are fewer than six losses that are finite."""
    losses = history.losses
    tail = _finite(losses[-2 * MAX_RECENT :])
    if len(tail) < MIN_LOSSES:
        return None
    head = _finite(losses[: 2 * MAX_RECENT]) or tail
    length = len(tail) // 2
    recent, before = tail[-length:], tail[-2 * length : -length]
    ordered = sorted(recent)
    lowest, highest = _bounds(losses[:-length])
    level, earlier = _middle(ordered), median(before)
    return LossCourse(
        steps=losses[-1][0] - losses[0][0] + 1,
        start=head[0],
        first=median(head[:length]),
        best=lowest,
        top=max(highest, earlier, level),
        before=earlier,
        recent=level,
        lowest=ordered[length // 10],
        highest=ordered[-1 - length // 10],
        noise=min(noise_of(recent), noise_of(head[:length])),
        peak=max(median(head[index : index + RUN]) for index in range(0, len(head) - RUN + 1, 2)),
        window=tuple(tail[-2 * length :]),
    )


def median(values: Sequence[float]) -> float:
    """Return the median of some numbers."""
    return _middle(sorted(values))


def noise_of(values: Sequence[float]) -> float:
    """Return the standard deviation of numbers about a level that moves slowly, from the differences of neighbours."""
    steps = [abs(later - earlier) for earlier, later in pairwise(values)]
    return TO_SIGMA * median(steps) / math.sqrt(2) if steps else 0.0


def _finite(losses: Sequence[tuple[int, float]]) -> list[float]:
    return [loss for _, loss in losses if math.isfinite(loss)]


def _middle(ordered: Sequence[float]) -> float:
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


def _bounds(losses: Sequence[tuple[int, float]]) -> tuple[float, float]:
    """Return the lowest and the highest level of some losses."""
    values = _finite(losses[:: max(1, len(losses) // MAX_SAMPLED)])
    blocks = [values[index : index + BLOCK] for index in range(0, len(values), BLOCK)]
    if len(blocks) > 1 and len(blocks[-1]) < BLOCK:
        del blocks[-1]
    levels = [median(block) for block in blocks]
    return min(levels, default=math.inf), max(levels, default=-math.inf)
