"""Runs many stopping rules over trainings that were recorded once: what each would have kept, and at what cost."""

import copy
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

from isometry._errors import RunError, SettingsError
from isometry._phrases import Phrase
from isometry._registry import Registry
from isometry.probes.running.readings import Evaluation
from isometry.report.run.facts import RunFacts
from isometry.training.stopping.descent import DoubleDescent
from isometry.training.stopping.early import EarlyStopping
from isometry.training.stopping.label_wave import LabelWave
from isometry.training.stopping.metrics import Mode, metric_of, sign_of
from isometry.training.stopping.prechelt import GL, PQ, UP
from isometry.training.stopping.probe import RandomLabelProbe
from isometry.training.stopping.recorded import recorded_evaluations
from isometry.training.stopping.replayed import Outcome, Replay, RuleRow
from isometry.training.stopping.rule import StoppingRule

Recording = str | os.PathLike[str] | RunFacts | Sequence[Evaluation]
Rule = str | StoppingRule | Callable[[], StoppingRule]

STOPPING_RULES = Registry[Callable[[], StoppingRule]]("stopping rule")
for name, kind in {
    "early-stopping": EarlyStopping,
    "gl": GL,
    "pq": PQ,
    "up": UP,
    "label-wave": LabelWave,
    "random-label-probe": RandomLabelProbe,
    "double-descent": DoubleDescent,
}.items():
    STOPPING_RULES.add(name)(kind)


def replay(
    records: Recording | Sequence[Recording],
    rules: Mapping[str, Rule] | Iterable[Rule],
    *,
    score: str | None = None,
    mode: Mode = "auto",
) -> Replay:
    """Run stopping rules over recorded evaluations, each from its start, and compare what they keep.

    Args:
        records: A run's folder, its evaluations, or what `read_run` gave of it (which thins more than 1,024); or
            several of these, such as the same training from other seeds.
        rules: Rules that have seen nothing yet, their names in `STOPPING_RULES`, or functions that make them; in a
            mapping under the names that the table shows.
        score: The metric that tells how good kept weights are; if left out, one whose name begins with `test`, else
            with `val`: accuracies before losses, and of several the first in the alphabet.
        mode: Whether less or more of the score is better; `auto` reads it from the name.

    Returns:
        A table with a row for each rule, one for no rule at all, and one for the best evaluation there was.

    Raises:
        RunError: If a recording holds no evaluations.
        SettingsError: If a recording is none of these, a rule has seen evaluations before, or no metric is fit to be
            the score.
        UnknownNameError: If a rule or metric is not known.
    """
    recordings = [_evaluations(each) for each in _each(records)]
    name = _score_of(recordings) if score is None else score
    sign = sign_of(name, mode)
    rows = [_row(label, rule, recordings, score=name) for label, rule in _named(rules)]
    oracle = RuleRow("", tuple(_oracle(each, name, sign) for each in recordings))
    last = RuleRow("", tuple(_whole(each, each[-1], name) for each in recordings))
    return Replay(score=name, sign=sign, rows=tuple(rows), last=last, oracle=oracle)


def _each(records: Recording | Sequence[Recording]) -> list[Recording]:
    """Return the recordings, also where there is only one."""
    if isinstance(records, str | os.PathLike | RunFacts):
        return [records]
    given: list[Any] = list(records)
    return given if given and not any(isinstance(each, Evaluation) for each in given) else [given]


def _evaluations(recording: Recording) -> tuple[Evaluation, ...]:
    if isinstance(recording, str | os.PathLike):
        evaluations, named = recorded_evaluations(recording), repr(os.fspath(recording))
    else:
        evaluations = _checked(recording.evaluations if isinstance(recording, RunFacts) else recording)
        named = "a recording"
    if not evaluations:
        raise RunError(
            f"{named} holds no evaluations, and a rule decides on these. Call run.evaluate(...) in training."
        )
    return evaluations


def _checked(recording: Any) -> tuple[Evaluation, ...]:
    given = cast("Sequence[Any]", recording if isinstance(recording, Sequence) else [recording])
    strays = [each for each in given if not isinstance(each, Evaluation)]
    if strays:
        raise SettingsError(
            f"a recording holds {strays[0]!r:.60}, and a rule reads evaluations. Give the folder of a watched run, or "
            f"a list of Evaluation(step=..., metrics={{...}}) of isometry.probes.running.readings."
        )
    return tuple(given)


def _score_of(recordings: list[tuple[Evaluation, ...]]) -> str:
    """Return the metric to judge by: of the test data, else of the validation data; accuracies first."""
    common = [
        name for name in recordings[0][0].metrics if all(name in one.metrics for each in recordings for one in each)
    ]
    known: list[tuple[int, int, str]] = []
    for name in common:
        source = next((place for place, start in enumerate(("test", "val")) if name.startswith(start)), None)
        if source is not None:
            known += [(source, sign, name) for sign in _signs(name)]
    if not known:
        raise SettingsError(
            f"none of the metrics {', '.join(common) or '(none is in all evaluations)'} is known to tell how good kept "
            f"weights are. Give score= the name of one, and mode= 'min' or 'max'."
        )
    return min(known)[2]


def _signs(name: str) -> list[int]:
    try:
        return [sign_of(name, "auto")]
    except SettingsError:
        return []


def _named(rules: Mapping[str, Rule] | Iterable[Rule]) -> list[tuple[str, Rule]]:
    if isinstance(rules, Mapping):
        return [(str(label), rule) for label, rule in rules.items()]
    return [(rule if isinstance(rule, str) else repr(_fresh(rule)), rule) for rule in rules]


def _row(label: str, rule: Rule, recordings: list[tuple[Evaluation, ...]], *, score: str) -> RuleRow:
    outcomes = tuple(_replayed(_fresh(rule), evaluations, score=score) for evaluations in recordings)
    return RuleRow(label, outcomes)


def _fresh(rule: Rule) -> StoppingRule:
    if isinstance(rule, str):
        return STOPPING_RULES[rule]()
    made = copy.deepcopy(rule) if isinstance(rule, StoppingRule) else rule()
    if made.count:
        raise SettingsError(
            f"{made!r} has seen {made.count} evaluations already, and a replay begins anew. Give a new one, or a "
            f"function that makes one."
        )
    return made


def _replayed(rule: StoppingRule, evaluations: tuple[Evaluation, ...], *, score: str) -> Outcome:
    """Feed a rule until it stops; where it names no best evaluation, the weights are those it ended with."""
    used, reason = len(evaluations), Phrase("")
    for count, evaluation in enumerate(evaluations, start=1):
        decision = rule.update(evaluation)
        if decision.should_stop:
            used, reason = count, decision.reason
            break
    return _outcome(evaluations, rule.best or evaluations[used - 1], score, used=used, reason=reason)


def _outcome(
    evaluations: tuple[Evaluation, ...], kept: Evaluation, score: str, *, used: int, reason: Phrase
) -> Outcome:
    last, stopped = evaluations[-1], evaluations[used - 1]
    share = stopped.step / last.step if last.step else used / len(evaluations)
    return Outcome(kept=kept, stopped=stopped, budget=share, score=metric_of(kept, score), reason=reason)


def _oracle(evaluations: tuple[Evaluation, ...], score: str, sign: int) -> Outcome:
    finite = [each for each in evaluations if math.isfinite(metric_of(each, score))]
    best = min(finite or evaluations, key=lambda each: sign * metric_of(each, score))
    return _whole(evaluations, best, score)


def _whole(evaluations: tuple[Evaluation, ...], kept: Evaluation, score: str) -> Outcome:
    return _outcome(evaluations, kept, score, used=len(evaluations), reason=Phrase(""))
