"""The value Audit: every tensor of a model in a table, the findings, and a verdict."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from rich.console import ConsoleOptions, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from isometry._console import printable
from isometry.planning.inventory import InventoryRow
from isometry.planning.plan_table import as_html, as_text, span_of
from isometry.report.facts import Verdict
from isometry.report.finding import Finding
from isometry.report.glyphs import STYLES, glyphs_for
from isometry.report.language import say
from isometry.report.numerals import counted, finite, numeral
from isometry.report.outline import measured_against, places, tally
from isometry.report.spoken import SpokenReport

SCHEMA = 1  # raised when a key changes its meaning or goes away
COLUMNS = ("tensor", "kind", "rule", "writes", "std planned", "std", "largest")


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What an audit found.

    Attributes:
        model: The name of the model, for people.
        has_plan: Whether a plan was given to hold it against.
        seed: The seed with which the plan was replayed; None if it was not.
        rows: Every parameter and buffer, parameters first.
        findings: Ranked: errors before warnings before notes.
    """

    model: str
    has_plan: bool
    seed: int | None
    rows: tuple[InventoryRow, ...]
    findings: tuple[Finding, ...]

    @property
    def verdict(self) -> Verdict:
        """`broken` if a finding is an error, `at-risk` if one is a warning, else `healthy`."""
        severities = {finding.severity for finding in self.findings}
        if "error" in severities:
            return "broken"
        return "at-risk" if "warning" in severities else "healthy"

    @property
    def is_clean(self) -> bool:
        """Whether no finding is an error or a warning."""
        return self.verdict == "healthy"

    def to_json(self) -> str:
        """Return the audit as one JSON document; numbers that are not finite are null."""
        document = {
            "schema": SCHEMA,
            "model": self.model,
            "verdict": self.verdict,
            "has_plan": self.has_plan,
            "seed": self.seed,
            "findings": [asdict(finding) for finding in self.findings],
            "tensors": [_record(row) for row in self.rows],
        }
        return json.dumps(document, indent=2, allow_nan=False)

    def __rich__(self) -> "AuditReport":
        return AuditReport(self)

    def __str__(self) -> str:
        return as_text(self)

    def _repr_html_(self) -> str:
        return as_html(self)


@dataclass(frozen=True, slots=True)
class AuditReport(SpokenReport):
    """The rich renderable of an audit."""

    audit: Audit
    lang: str = "en"

    def _parts(self, options: ConsoleOptions) -> RenderResult:
        audit, glyphs = self.audit, glyphs_for(options.encoding)
        headline = f"{glyphs.signs[audit.verdict]} {say(audit.verdict)}"
        counts = f"{counted(len(audit.rows), 'tensor')} {glyphs.dot} {tally(audit.findings)}"
        yield Text.assemble((headline, STYLES[audit.verdict]), f"  {printable(audit.model)} {glyphs.dot} {counts}")
        for finding in audit.findings:
            yield from _told(finding, f"{glyphs.signs[finding.severity]} {finding.code}")
        yield ""
        yield _table(audit.rows)


def _told(finding: Finding, sign: str) -> Iterator[RenderableType]:
    yield ""
    yield Text.assemble(
        (sign, STYLES[finding.severity]), " ", (finding.name, "bold"), f": {printable(say(finding.message))}"
    )
    facts = (
        ("where", places(finding.where)),
        ("measured", measured_against(finding)),
        ("cause", say(finding.cause)),
        ("remedy", say(finding.remedy.text)),
    )
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True, style="dim")
    grid.add_column(overflow="fold")
    for label, words in facts:
        if words:
            grid.add_row(Text(say(label)), Text(printable(words)))
    yield Padding(grid, (0, 0, 0, 2))


def _table(rows: tuple[InventoryRow, ...]) -> Table:
    """Return the rows, neighbours in kind and rule whose numbers are constant and equal as one."""
    table = Table(box=None, pad_edge=False)
    for column in COLUMNS:
        is_text = column in {"tensor", "kind", "rule"}
        table.add_column(say(column), justify="left" if is_text else "right", overflow="fold")
    folded: dict[tuple[str, ...], list[str]] = {}
    for row in rows:
        folded.setdefault(_cells(row), []).append(row.name)
    for cells, names in folded.items():
        table.add_row(Text(printable(span_of(names))), *(Text(cell) for cell in cells))
    return table


def _cells(row: InventoryRow) -> tuple[str, ...]:
    return (
        say(row.kind),
        row.rule or say("none"),
        str(len(row.writers)),
        _planned_std(row),
        _measured_std(row),
        _largest(row),
    )


def _planned_std(row: InventoryRow) -> str:
    if row.constant is not None:
        return say("all {value}", value=numeral(row.constant))
    return "" if row.entry is None or row.entry.std is None else numeral(row.entry.std)


def _measured_std(row: InventoryRow) -> str:
    if row.numbers is None:
        return "" if row.memory == "real" else row.memory
    return say("all {value}", value=numeral(row.numbers.low)) if row.numbers.is_constant else numeral(row.numbers.std)


def _largest(row: InventoryRow) -> str:
    """Return the largest distance from the mean in standard deviations, those of the plan with what it allows."""
    numbers, moments, bounds = row.numbers, row.moments, row.bounds
    if numbers is None or numbers.is_constant:
        return ""
    if moments is None or bounds is None or not moments.std:
        mean, std, allowed = numbers.mean, numbers.std, ""
    else:
        mean, std, allowed = (
            moments.mean,
            moments.std,
            say(" of {largest}", largest=numeral(bounds.largest / moments.std)),
        )
    return f"{numeral(max(numbers.high - mean, mean - numbers.low) / std)}{allowed} σ" if std else ""


def _record(row: InventoryRow) -> dict[str, object]:
    numbers, bounds = row.numbers, row.bounds
    return {
        "name": row.name,
        "kind": row.kind,
        "shape": list(row.shape),
        "memory": row.memory,
        "rule": row.rule or None,
        "writes": len(row.writers),
        "expected_std": None if row.entry is None else finite(row.entry.std),
        "std_bounds": None if bounds is None else [finite(bounds.low), finite(bounds.high)],
        "mean": None if numbers is None else finite(numbers.mean),
        "std": None if numbers is None else finite(numbers.std),
        "largest": None if numbers is None else finite(numbers.largest),
        "largest_allowed": None if bounds is None else finite(bounds.largest),
        "num_different": None if row.replay is None else row.replay.num_different,
    }
