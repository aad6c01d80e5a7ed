"""Curves of metrics as evaluations, and how far a rule goes along them."""

from collections.abc import Iterable, Sequence

from isometry.probes.running.readings import Evaluation
from isometry.training.stopping.rule import Decision, StoppingRule


def curve(**metrics: Sequence[float]) -> list[Evaluation]:
    """Return one evaluation for each place of the sequences, at steps 1, 2, … and epochs likewise."""
    rows = zip(*metrics.values(), strict=True)
    return [
        Evaluation(step=step, epoch=step, metrics=dict(zip(metrics, row, strict=True)))
        for step, row in enumerate(rows, start=1)
    ]


def decisions(rule: StoppingRule, evaluations: Iterable[Evaluation]) -> list[Decision]:
    return [rule.update(each) for each in evaluations]


def stop_of(rule: StoppingRule, evaluations: Iterable[Evaluation]) -> int | None:
    """Return the step after which a rule stops; None if it does not."""
    return next((each.step for each in evaluations if rule.update(each).should_stop), None)
