"""`plan` and `fix`: what to do about the findings, done if it helps, and measured again."""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from rich.console import ConsoleOptions, RenderResult
from rich.table import Table
from torch import nn

from isometry._errors import RefusedError
from isometry._files import write_text_atomically
from isometry._phrases import Phrase
from isometry.anatomy.names import ParameterNames
from isometry.anatomy.task import DEFAULT_BATCH_SIZE, Loss, OptimizerFactory, Task, as_task
from isometry.checking.check import diagnose, diagnose_evidence, gather_for, refused
from isometry.checking.settings import DEFAULT, Settings
from isometry.checking.treatment import layers_blamed, treatment, wide_treatment
from isometry.fills.streams import as_seed
from isometry.findings.rule import RULES
from isometry.planning.automatic import automatic_entries
from isometry.planning.door import decide
from isometry.planning.entries import Keep
from isometry.planning.health import unhealthy_layers
from isometry.planning.plan import Plan, PlanEntry
from isometry.planning.plan_table import LEGEND, plan_table
from isometry.planning.recipes import RECIPES
from isometry.planning.roles import Subject
from isometry.planning.specification import Specification
from isometry.planning.subject import subject_of
from isometry.probes.evidence import Evidence
from isometry.probes.race_result import RaceResult
from isometry.report.diagnosis import Diagnosis
from isometry.report.document import to_document
from isometry.report.finding import Finding, Proof
from isometry.report.glyphs import glyphs_for
from isometry.report.language import say
from isometry.report.page import page
from isometry.report.spoken import SpokenReport
from isometry.report.terminal import TerminalReport

QUICK = Settings(steps=0, proofs=0)  # rules alone
NO_HELP = Phrase("new weights were tried and did not help")


@dataclass(frozen=True, slots=True)
class Repair:
    """What `fix` did.

    Attributes:
        before: The diagnosis of the model as it was.
        plan: What was written; it changes nothing if there was nothing to treat, or new weights did not help.
        after: The diagnosis of the model as it is now.
    """

    before: Diagnosis
    plan: Plan
    after: Diagnosis

    @property
    def solved(self) -> tuple[Finding, ...]:
        """Errors and warnings that are gone."""
        left = {finding.code for finding in _serious(self.after)}
        return tuple(finding for finding in _serious(self.before) if finding.code not in left)

    @property
    def left(self) -> tuple[Finding, ...]:
        """Errors and warnings that initialisation did not remove."""
        return tuple(_serious(self.after))

    @property
    def suggestions(self) -> tuple[str, ...]:
        """Changes to the code that initialisation cannot make, a line each, for people to make themselves."""
        return tuple(dict.fromkeys(each.remedy.suggestion for each in _leading(self.after) if each.remedy.suggestion))

    @property
    def sentences(self) -> tuple[Phrase, ...]:
        """What was done and what came of it."""
        if not _serious(self.before):
            return (Phrase("Nothing to repair: no finding is an error or a warning, and nothing was changed."),)
        if not self.plan.changes:
            return tuple(_why_nothing_changed(self.before, self.plan))
        gone = [Phrase("Gone: {names}.", names=_names(self.solved))] if self.solved else []
        return (self._what_was_done(), *gone, *_what_is_left(self.after))

    @property
    def summary(self) -> str:
        """The same in English, as one text."""
        return " ".join(self.sentences)

    def _what_was_done(self) -> Phrase:
        before, after = Phrase(self.before.verdict), Phrase(self.after.verdict)
        outcome = Phrase("the verdict went from {before} to {after}", before=before, after=after)
        if before == after:
            outcome = Phrase("the verdict is still {verdict}", verdict=after)
        count = len(self.plan.changes)
        if count == 1:
            return Phrase("1 parameter was initialised again; {outcome}.", outcome=outcome)
        return Phrase("{count} parameters were initialised again; {outcome}.", count=count, outcome=outcome)

    def to_json(self, race: RaceResult | None = None) -> str:
        """Return both diagnoses, the plan and the race, if there was one, as one JSON document."""
        document = {
            "schema": 1,
            "summary": self.summary,
            "before": to_document(self.before),
            "plan": list(self.plan.rows()),
            "after": to_document(self.after),
            "race": None if race is None else asdict(race),
            "suggestions": list(self.suggestions),
        }
        return json.dumps(document, indent=2, allow_nan=False)

    def save_html(self, path: str | os.PathLike[str], race: RaceResult | None = None, *, lang: str = "en") -> None:
        """Write both diagnoses, the plan and the race, if there was one, as one file with pictures.

        Args:
            path: Where to write.
            race: What training both for a short time showed.
            lang: The language, `en` or `vi`.

        Raises:
            OutputError: If the file cannot be written.
        """
        rows = self.plan.rows() if self.plan.changes else ()
        after = self.after if self.plan.changes else None
        write_text_atomically(path, page(self.before, after=after, race=race, plan_rows=rows, lang=lang))

    def __rich__(self) -> "RepairReport":
        return RepairReport(self)


@dataclass(frozen=True, slots=True)
class RepairReport(SpokenReport):
    """The rich renderable of a repair."""

    repair: Repair
    lang: str = "en"

    def _parts(self, options: ConsoleOptions) -> RenderResult:
        repair, glyphs = self.repair, glyphs_for(options.encoding)
        yield TerminalReport(repair.before, self.lang)
        if repair.plan.changes:
            yield _said_table(repair.plan)
            yield from (glyphs.text(say(note)) for note in repair.plan.notes)
            yield ""
            yield TerminalReport(repair.after, self.lang)
        yield glyphs.text(" ".join(map(say, repair.sentences)))


def _said_table(plan: Plan) -> Table:
    """Return a plan's table with its headings in the language that is spoken; reasons stay as the plan has them."""
    table = plan_table(plan.entries)
    counts = {"count": len(plan.changes), "all": len(plan.entries)}
    table.title = say("plan: {count} of {all} parameters change", **counts)
    table.caption = say(LEGEND) if table.caption else None
    for column in table.columns:
        column.header = say(str(column.header))
    return table


def plan(
    model: nn.Module | Task,
    inputs: Any = None,
    targets: Any = None,
    *,
    loss: Loss | None = None,
    batch_size: int = DEFAULT_BATCH_SIZE,
    seed: int = 0,
    recipe: Specification = "auto",
) -> Plan:
    """Decide how to initialise a model; nothing is written until the plan is applied.

    Frozen, pretrained and protected parameters are left alone by every recipe. The recipe `auto` also leaves alone
    what passes signal and gradient on with their size unchanged, and weights with a rule of their own.

    Args:
        model: A module, or a Task that holds everything else.
        inputs: As for `check`.
        targets: As for `check`.
        loss: As for `check`.
        batch_size: Largest number of examples taken from a data set, counts.
        seed: Seed of that choice, of dropout, and of the weights that `apply` draws.
        recipe: The name of a recipe or of a scheme; or a mapping from exact names, patterns (`encoder.*`), roles
            (`role:bias`) and `*` to a scheme's name, `keep`, or a scheme with options
            (`{"scheme": "variance", "mode": "fan_avg"}`). The key `recipe` gives the mapping a recipe with options as
            its base, the key `load` a file of tensors with the key `otherwise` for what it lacks.

    Returns:
        A table: parameter, role, fans, scheme, standard deviation, reason.

    Raises:
        BuilderError: If there are no inputs.
        DomainError: If the seed is outside [0, 2**64), or options make no distribution.
        ModelError: If the model fails on its batch.
        PlanError: If a key matches nothing, two contradict each other, or an option or file is wrong.
        UnknownNameError: If there is no such recipe or scheme.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
        >>> made = plan(model, torch.ones(32, 4), recipe={"2.weight": "zeros", "*": "he-normal"})
        >>> [entry.scheme for entry in made.entries]
        ['he-normal', 'zeros', 'zeros', 'zeros']
    """
    seed = as_seed(seed)
    task = as_task(model, inputs, targets, loss=loss, batch_size=batch_size, seed=seed)
    return decide(subject_of(task, seed=seed), recipe, recipes={"auto": _automatic, **RECIPES})


def _automatic(subject: Subject) -> tuple[PlanEntry, ...]:
    """The recipe `auto`: what the findings blame, and what changes signal or gradient by its size, is drawn anew."""
    evidence = gather_for(subject.task, RULES.values(), seed=subject.seed, settings=QUICK)
    blamed = layers_blamed(evidence, _treatable(_serious(diagnose_evidence(evidence, settings=QUICK))))
    return automatic_entries(evidence, unhealthy_layers(evidence) | blamed)


def fix(
    model: nn.Module | Task,
    inputs: Any = None,
    targets: Any = None,
    *,
    loss: Loss | None = None,
    optimizer_factory: OptimizerFactory | None = None,
    batch_size: int = DEFAULT_BATCH_SIZE,
    seed: int = 0,
    settings: Settings = DEFAULT,
) -> Repair:
    """Initialise again what findings blame on the initialisation, in place, and measure again.

    On a model without errors and warnings nothing is changed.

    Args:
        model: A module, or a Task that holds everything else; its parameters are written.
        inputs: As for `check`.
        targets: As for `check`.
        loss: As for `check`.
        optimizer_factory: As for `check`.
        batch_size: Largest number of examples taken from a data set, counts.
        seed: Seed of that choice, of dropout, and of the weights.
        settings: As for `check`; what rules that do not run would blame is left alone.

    Returns:
        Both diagnoses and the plan between them.

    Raises:
        BuilderError: If there are no inputs.
        ModelError: If the model fails on its batch.
        SettingsError: If the settings name a rule or a threshold that does not exist.
    """
    task = as_task(
        model, inputs, targets, loss=loss, optimizer_factory=optimizer_factory, batch_size=batch_size, seed=seed
    )
    rules = settings.choose(RULES)
    try:
        evidence = gather_for(task, RULES.values(), seed=seed, settings=settings)  # a treatment reads them all
    except RefusedError as error:
        before = refused(error, task, rules, seed=seed)
        return Repair(before, Plan((), seed), before)
    before = diagnose_evidence(evidence, rules, settings=settings)
    attempts = _attempts(evidence, before)
    names = evidence.step.names
    del evidence
    for attempt in attempts:
        after = _attempted(task, attempt, names, before=before, settings=settings)
        if after is not None:
            return Repair(before, attempt.plan, after)
    return Repair(before, _without_help(attempts[-1].plan), before)


@dataclass(frozen=True, slots=True)
class _Attempt:
    """A plan to try, and the codes of the findings that must be gone with it."""

    plan: Plan
    unwanted: frozenset[str]


def _attempts(evidence: Evidence, before: Diagnosis) -> list[_Attempt]:
    """Return what may be written, least first: what causes blame, then what their symptoms name as well."""
    causes = _curable(before)
    codes = frozenset(finding.code for finding in causes)
    symptoms = _treatable(finding for finding in _serious(before) if finding.because in codes)
    least, most = treatment(evidence, causes), wide_treatment(evidence, [*causes, *symptoms])
    if least.changes == most.changes:
        return [_Attempt(least, codes)]
    return [_Attempt(least, codes | {finding.code for finding in symptoms}), _Attempt(most, codes)]


def _attempted(
    task: Task, attempt: _Attempt, names: ParameterNames, *, before: Diagnosis, settings: Settings
) -> Diagnosis | None:
    """Write a plan and return what came of it; None, and the old weights are back, if it does not help."""
    changes = attempt.plan.changes
    if not changes:
        return None
    kept = [(tensor, tensor.detach().clone()) for each in changes for tensor in names.parameters[each.parameter]]
    helped = False
    try:
        attempt.plan.apply(task.model)
        after = diagnose(task, seed=attempt.plan.seed, settings=settings)
        helped = _is_better(before, after) and attempt.unwanted.isdisjoint(each.code for each in _serious(after))
    finally:
        if not helped:
            for tensor, values in kept:
                tensor.data.copy_(values)
    return after if helped else None


def _is_better(before: Diagnosis, after: Diagnosis) -> bool:
    """Say whether no error leads that was not among the findings before."""
    known = {finding.code for finding in _serious(before)}
    return all(finding.code in known for finding in _leading(after) if finding.severity == "error")


def _without_help(plan: Plan) -> Plan:
    """Return a plan that was tried in vain, as one that writes nothing."""
    entries = (
        replace(each, action=Keep(is_withheld=True), reason=NO_HELP) if each.is_written else each
        for each in plan.entries
    )
    return replace(plan, entries=tuple(entries))


def _curable(diagnosis: Diagnosis) -> list[Finding]:
    """Return the causes that new weights may remove: not those whose experiment failed, nor guesses beside others."""
    leading = _leading(diagnosis)
    is_init = bool(leading) and leading[0].remedy.kind == "init"
    return [each for each in _treatable(leading) if (is_init if each.proof is None else _is_promising(each.proof))]


def _is_promising(proof: Proof) -> bool:
    """Say whether an experiment confirmed a cause, or removed it and left its harm open."""
    return proof.confirmed or proof.open_after is not None


def _treatable(findings: Iterable[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.remedy.kind == "init"]


def _serious(diagnosis: Diagnosis) -> list[Finding]:
    return [finding for finding in diagnosis.findings if finding.severity != "note"]


def _why_nothing_changed(before: Diagnosis, plan: Plan) -> Iterator[Phrase]:
    leading = _leading(before)
    is_vain = any(entry.reason == NO_HELP for entry in plan.withheld)
    if plan.withheld and not is_vain:
        entry, count = plan.withheld[0], len(plan.withheld) - 1
        yield Phrase(
            "Nothing was changed: {name!r} would be, but is left alone ({reason}){others}.",
            name=entry.parameter,
            reason=Phrase(entry.reason),
            others=Phrase(", and so are {count} more", count=count) if count else "",
        )
        return
    if is_vain:
        yield Phrase("Nothing was changed: {reason}.", reason=NO_HELP)
    elif any(finding.remedy.kind == "init" for finding in leading):
        yield Phrase("Nothing was changed: what is blamed is drawn anew by its own code only.")
    else:
        yield Phrase("Nothing was changed: initialisation is not the cause.")
    yield from _remedies(leading)


def _what_is_left(after: Diagnosis) -> Iterator[Phrase]:
    incurable = [finding for finding in _leading(after) if finding.remedy.kind == "init"]
    others = [finding for finding in _leading(after) if finding.remedy.kind != "init"]
    if incurable:
        yield Phrase(
            "Left: {names}. New weights do not cure this network of it; change the model: residual paths, a norm, or "
            "fewer layers.",
            names=_names(incurable),
        )
    if others:
        yield Phrase("Initialisation is not the cause of what is left.")
        yield from _remedies(others)


def _leading(diagnosis: Diagnosis) -> list[Finding]:
    return [finding for finding in _serious(diagnosis) if finding.because is None]


def _names(findings: Iterable[Finding]) -> str:
    return ", ".join(dict.fromkeys(finding.name for finding in findings))


def _remedies(findings: Iterable[Finding]) -> Iterator[Phrase]:
    """Yield what to do about findings, with the line of code where there is one."""
    for finding in findings:
        yield Phrase("{name}: {remedy}", name=finding.name, remedy=finding.remedy.text)
        if finding.remedy.suggestion:
            yield Phrase("In code: {code}.", code=finding.remedy.suggestion)
