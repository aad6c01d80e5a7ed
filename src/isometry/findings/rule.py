"""What a rule is, and the table of them: measurements in, findings out."""

import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, get_type_hints

from isometry._errors import SettingsError
from isometry._phrases import Phrase
from isometry._registry import Registry
from isometry.report.finding import Remedy, Severity

PARTS = ("Why", "Measured", "Remedy", "Source")


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What a rule yields: a Finding without what the rule's entry in the table adds.

    Attributes:
        where: Names of modules or parameters, the most telling first.
        cause: Why it is so, in a clause.
        remedy: What to do.
        measured: The number that was seen, in `unit`.
        allowed: The bound it was held against, in `unit`.
        unit: The unit of both.
        severity: Another severity than the rule's own.
        message: Another sentence than the rule's own.
    """

    where: tuple[str, ...]
    cause: str
    remedy: Remedy
    measured: float | None = None
    allowed: float | None = None
    unit: str = ""
    severity: Severity | None = None
    message: Phrase | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule with its code.

    Attributes:
        code: Three letters and three digits, fixed for ever.
        severity: How bad a finding is where the rule does not say otherwise.
        explained_by: Codes of findings that explain this one, the first that was found counts.
        function: From measurements to drafts. The annotations of its positional parameters say which measurements; its
            keyword-only parameters are its thresholds, whose defaults are named constants.
        is_statistic: Whether it judges by the size of a number that sound networks have too, only smaller. A network
            that demonstrably learns in its trial is not held to be broken by a statistic.
        limits: Thresholds that were set otherwise, by the parameter's name.
    """

    code: str
    severity: Severity
    explained_by: tuple[str, ...]
    function: Callable[..., Iterator[Draft]]
    is_statistic: bool = False
    limits: Mapping[str, float] = field(default_factory=dict[str, float])

    def __call__(self, *measurements: Any) -> Iterator[Draft]:
        """Yield what the rule finds in its measurements."""
        return self.function(*measurements, **self.limits)

    @property
    def name(self) -> str:
        """The function's name with dashes."""
        return self.function.__name__.replace("_", "-")

    @property
    def measurements(self) -> tuple[type[Any], ...]:
        """The kinds of measurement it reads."""
        hints = get_type_hints(self.function)
        parameters = inspect.signature(self.function).parameters.values()
        return tuple(hints[each.name] for each in parameters if each.kind is not inspect.Parameter.KEYWORD_ONLY)

    @property
    def thresholds(self) -> dict[str, float]:
        """Its thresholds by name, written with dashes, as they are set now."""
        parameters = inspect.signature(self.function).parameters.values()
        defaults = {each.name: each.default for each in parameters if each.kind is inspect.Parameter.KEYWORD_ONLY}
        return {name.replace("_", "-"): value for name, value in (defaults | dict(self.limits)).items()}

    def with_thresholds(self, values: Mapping[str, object]) -> "Rule":
        """Return the same rule with thresholds set otherwise.

        Args:
            values: From a threshold's name, written with dashes, to its value in the threshold's own unit.

        Raises:
            SettingsError: If the rule has no such threshold, or a value is no number.
        """
        limits: dict[str, float] = {}
        for name, value in values.items():
            if name not in self.thresholds:
                known = ", ".join(self.thresholds) or "none"
                raise SettingsError(f"{self.code} has no threshold {name!r}. Its thresholds: {known}.")
            if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
                raise SettingsError(f"{self.code}: {name} = {value!r}, but a threshold is a number. Give one.")
            limits[name.replace("-", "_")] = float(value)
        return replace(self, limits=limits)

    @property
    def page(self) -> str:
        """Its documentation: a title and the parts Why, Measured, Remedy and Source."""
        return inspect.getdoc(self.function) or ""


RULES = Registry[Rule]("rule")  # those of `check`
AUDIT_RULES = Registry[Rule]("rule")  # those of `audit`, which need no batch
WATCH_RULES = Registry[Rule]("rule")  # those of `watch`, which read the history of a run


def rule(
    code: str,
    *,
    severity: Severity,
    explained_by: tuple[str, ...] = (),
    table: Registry[Rule] = RULES,
    is_statistic: bool = False,
) -> Callable[[Callable[..., Iterator[Draft]]], Rule]:
    """Return a decorator that enters a function as the rule of a code into one of the tables."""

    def enter(function: Callable[..., Iterator[Draft]]) -> Rule:
        return table.add(code)(Rule(code, severity, explained_by, function, is_statistic))

    return enter


def find_rule(word: str) -> Rule:
    """Return the rule of a code or a name.

    Raises:
        UnknownNameError: If there is none, with the nearest.
    """
    by_name = Registry[Rule]("rule")
    for each in {**WATCH_RULES, **RULES, **AUDIT_RULES}.values():  # of twins the one of `check` or `audit`
        by_name.add(each.name)(each)
        by_name.add(each.code)(each)
    return by_name[word if word in by_name else _nearest_case(word, tuple(by_name))]


def _nearest_case(word: str, known: tuple[str, ...]) -> str:
    folded = {name.casefold(): name for name in known}
    return folded.get(word.strip().casefold().replace("_", "-"), word)
