"""What the rules say of a run so far."""

from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any

from isometry.findings.causes import explained
from isometry.findings.rule import WATCH_RULES, Draft, Rule
from isometry.findings.run import findings_of, rank
from isometry.probes.running.loss_course import LossCourse, loss_course
from isometry.probes.running.readings import History
from isometry.report.finding import Finding


def judge(history: History, rules: Iterable[Rule] | None = None) -> list[Finding]:
    """Return what rules find in a run so far, causes before what they explain.

    Args:
        history: The run. Only its latest readings are looked at closely, so that a judgement costs little.
        rules: The rules to ask; those of `watch` by default.

    Returns:
        The findings as they hold now; the same again as long as they hold.
    """
    chosen = tuple(WATCH_RULES.values() if rules is None else rules)
    if not history.readings:
        return []
    course = loss_course(history)
    measured: dict[type[Any], Any] = {History: history, **({LossCourse: course} if course is not None else {})}
    drafts: list[tuple[Rule, Draft]] = []
    for rule in chosen:
        kinds = _kinds(rule.function)
        if all(kind in measured for kind in kinds):
            drafts.extend((rule, draft) for draft in rule(*(measured[kind] for kind in kinds)))
    return list(rank(explained(findings_of(drafts), chosen))) if drafts else []


@cache
def _kinds(function: Callable[..., Iterator[Draft]]) -> tuple[type[Any], ...]:
    """Return what a rule reads; to read its annotations again takes longer than the rule itself."""
    return Rule("", "note", (), function).measurements
