"""What a check runs: which rules with which thresholds, and how much is spent on trial, proofs and Jacobian."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from isometry._errors import SettingsError
from isometry._registry import Registry
from isometry.findings.rule import AUDIT_RULES, WATCH_RULES, Rule
from isometry.report.facts import IGNORED, Skipped

DEFAULT_STEPS = 20  # of the trial; enough for a network that can learn its batch to show it, seconds on a laptop
DEFAULT_PROOFS = 3  # leading causes that are put to an experiment, as far as its time goes; few programs have more


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a check runs.

    Attributes:
        select: Codes, beginnings of codes (`FWD`) or names of the only rules to run; all if empty.
        ignore: The like for rules that do not run.
        thresholds: From a rule's code or name to its thresholds by name, each in its own unit.
        steps: Most optimiser steps of the trial on a copy; 0 switches it off.
        proofs: Leading causes that are put to a counterfactual experiment; 0 switches it off.
        jacobian: Random directions from which the spectrum of the Jacobian is estimated; 0 leaves it out.
    """

    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    thresholds: Mapping[str, Mapping[str, object]] = field(default_factory=dict[str, Mapping[str, object]])
    steps: int = DEFAULT_STEPS
    proofs: int = DEFAULT_PROOFS
    jacobian: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "proofs", "jacobian"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise SettingsError(f"{name}={value!r}, but a count of at least 0 is needed. Give 0 to switch it off.")

    def choose(self, table: Registry[Rule]) -> tuple[Rule, ...]:
        """Return the rules of a table that run, with their thresholds.

        Raises:
            SettingsError: If a word leads to no rule of the table, or a rule has no such threshold.
        """
        wanted = _codes(self.select, table) if self.select else frozenset(table)
        unwanted = _codes(self.ignore, table)
        limits: dict[str, dict[str, object]] = {}
        for word, values in self.thresholds.items():
            for code in _codes((word,), table):
                limits.setdefault(code, {}).update(values)
        return tuple(
            rule.with_thresholds(limits.get(rule.code, {}))
            for rule in table.values()
            if rule.code in wanted and rule.code not in unwanted
        )

    def ignored(self, table: Registry[Rule]) -> tuple[Skipped, ...]:
        """Return the rules of a table that would run if the settings did not ignore them.

        Raises:
            SettingsError: If a word leads to no rule of the table.
        """
        running = {rule.code for rule in self.choose(table)}
        wanted = replace(self, ignore=()).choose(table)
        return tuple(Skipped(rule.code, IGNORED) for rule in wanted if rule.code not in running)


DEFAULT = Settings()


def _codes(words: tuple[str, ...], table: Registry[Rule]) -> frozenset[str]:
    found: set[str] = set()
    for word in words:
        codes = _codes_of(word, table)
        if not codes and _codes_of(word, AUDIT_RULES):
            raise SettingsError(
                f"the rule {word!r} belongs to isometry audit, which runs all of its rules. Leave it out here."
            )
        if not codes and _codes_of(word, WATCH_RULES):
            raise SettingsError(
                f"the rule {word!r} belongs to isometry.watch, which runs all of its rules. Leave it out here."
            )
        if not codes:
            raise SettingsError(
                f"no rule has the code or name {word!r}. Give a code (BWD101), its beginning (BWD) or a name "
                "(vanishing-gradient); isometry explain lists them all."
            )
        found |= codes
    return frozenset(found)


def _codes_of(word: str, table: Registry[Rule]) -> set[str]:
    if not word:
        return set()
    return {code for code, rule in table.items() if code.startswith(word.upper()) or rule.name == word}
