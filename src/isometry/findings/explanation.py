"""The pages of the rules: what each finding means, from the rule's own docstring."""

import re
from dataclasses import dataclass
from importlib.resources import files

from rich.console import Console, ConsoleOptions, RenderResult
from rich.padding import Padding
from rich.text import Text

from isometry.findings.rule import AUDIT_RULES, PARTS, RULES, WATCH_RULES, Rule, find_rule


@dataclass(frozen=True, slots=True)
class Page:
    """The documentation of one rule.

    Attributes:
        code: The rule's code.
        name: The rule's name.
        severity: How bad a finding is.
        title: One sentence.
        parts: Why, Measured, Remedy and Source, each a paragraph.
        thresholds: Its thresholds by the name under which they can be set, each in the unit that `Measured` names.
        example: A program on which it fires.
        while_training: The page of the rule of `watch` under the same code; None where there is none, or this is it.
    """

    code: str
    name: str
    severity: str
    title: str
    parts: dict[str, str]
    thresholds: dict[str, float]
    example: str
    while_training: "Page | None" = None

    def __str__(self) -> str:
        body = "\n\n".join(f"{part}\n  {text}" for part, text in self.parts.items())
        return f"{self.code}  {self.name}  ({self.severity})\n\n{self.title}\n\n{body}\n"

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(f"{self.code}  {self.name}  ({self.severity})\n\n{self.title}")
        yield from self._sections()
        if self.while_training is not None:
            yield Text(f"\nWhile training  ({self.while_training.severity})\n\n{self.while_training.title}")
            yield from self.while_training._sections()
        yield Text("\nExample")
        yield Text(self.example, no_wrap=True, overflow="ignore")  # broken lines would be other code

    def _sections(self) -> RenderResult:
        for part, text in self.parts.items():
            yield Text(f"\n{part}")
            yield Padding(Text(text), (0, 0, 0, 2))
        if self.thresholds:
            yield Text("\nThresholds")
            for name, value in self.thresholds.items():
                yield Padding(Text(f"{name} = {value:g}"), (0, 0, 0, 2))


def explain(word: str) -> Page:
    """Return the page of a code such as `BWD101` or a name such as `vanishing-gradient`.

    Raises:
        UnknownNameError: If there is no such rule, with the nearest.
    """
    return page_of(find_rule(word))


def pages() -> tuple[Page, ...]:
    """Return the pages of all rules in the order of their codes."""
    rules = {**WATCH_RULES, **RULES, **AUDIT_RULES}.values()  # some are in two of them
    return tuple(page_of(each) for each in sorted(rules, key=lambda rule: rule.code))


def page_of(rule: Rule) -> Page:
    """Return the page of a rule, with that of its twin while training."""
    if rule.code not in WATCH_RULES or WATCH_RULES[rule.code] is rule:
        return _page(rule, None)
    return _page(rule, _page(WATCH_RULES[rule.code], None))


def _page(rule: Rule, while_training: Page | None) -> Page:
    title, *rest = re.split(rf"^({'|'.join(PARTS)}):$", rule.page, flags=re.MULTILINE)
    texts = (" ".join(text.split()) for text in rest[1::2])
    parts = dict(zip(rest[::2], texts, strict=True))
    example = files("isometry.findings.examples").joinpath(f"{rule.code.lower()}.py").read_text(encoding="utf-8")
    return Page(
        rule.code, rule.name, rule.severity, title.strip(), parts, rule.thresholds, example.strip(), while_training
    )
