"""`plan` and `fix`: what to do about the findings, done, and measured again."""

import json
import os
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_model, save_model
from torch import nn

from isometry._errors import BuilderError, OutputError, describe
from isometry._files import write_atomically, write_text_atomically
from isometry.anatomy.task import DEFAULT_BATCH_SIZE, Loss, Task, as_task
from isometry.checking.check import diagnose, diagnose_evidence, gather_for
from isometry.fills.streams import as_seed
from isometry.findings.rule import RULES
from isometry.planning.automatic import automatic_entries
from isometry.planning.door import decide, guarded
from isometry.planning.health import layers_named, unhealthy_layers
from isometry.planning.materialise import memory_for
from isometry.planning.plan import Plan, PlanEntry
from isometry.planning.recipes import RECIPES
from isometry.planning.roles import Subject
from isometry.planning.specification import Specification
from isometry.planning.subject import subject_of
from isometry.probes.evidence import Evidence
from isometry.probes.race_result import RaceResult
from isometry.report.diagnosis import Diagnosis
from isometry.report.document import to_document
from isometry.report.finding import Finding
from isometry.report.page import page

SIGNAL_FAMILIES = ("BWD", "FWD")  # their cause lies in the layers that change signal or gradient most
ALONG_THE_TRUNK = frozenset(
    {"BWD101", "BWD102", "FWD101", "FWD102", "FWD105"}
)  # they name every layer, also sound ones


@dataclass(frozen=True, slots=True)
class Repair:
    """What `fix` did.

    Attributes:
        before: The diagnosis of the model as it was.
        plan: What was written; it changes nothing if there was nothing to treat.
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
    def summary(self) -> str:
        """What was done and what came of it, in a few sentences."""
        if not _serious(self.before):
            return "Nothing to repair: no finding is an error or a warning, and nothing was changed."
        if not self.plan.changes:
            return _why_nothing_changed(self.before, self.plan)
        count = len(self.plan.changes)
        done = "1 parameter was" if count == 1 else f"{count} parameters were"
        verdicts = (self.before.verdict, self.after.verdict)
        outcome = f"the verdict is still {verdicts[1]}"
        if verdicts[0] != verdicts[1]:
            outcome = f"the verdict went from {verdicts[0]} to {verdicts[1]}"
        gone = f" Gone: {_names(self.solved)}." if self.solved else ""
        return f"{done} initialised again; {outcome}.{gone}{_what_is_left(self.after)}"

    def to_json(self, race: RaceResult | None = None) -> str:
        """Return both diagnoses, the plan and the race, if there was one, as one JSON document."""
        document = {
            "schema": 1,
            "summary": self.summary,
            "before": to_document(self.before),
            "plan": list(self.plan.rows()),
            "after": to_document(self.after),
            "race": None if race is None else asdict(race),
        }
        return json.dumps(document, indent=2, allow_nan=False)

    def save_html(self, path: str | os.PathLike[str], race: RaceResult | None = None) -> None:
        """Write both diagnoses, the plan and the race, if there was one, as one file with pictures.

        Raises:
            OutputError: If the file cannot be written.
        """
        rows = self.plan.rows() if self.plan.changes else ()
        after = self.after if self.plan.changes else None
        write_text_atomically(path, page(self.before, after=after, race=race, plan_rows=rows))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self.before
        if self.plan.changes:
            yield self.plan
            yield ""
            yield self.after
        yield Text(self.summary)


def save_weights(model: nn.Module, path: str | os.PathLike[str]) -> None:
    """Write a model's parameters and buffers as safetensors, tied tensors once; load them with `load_model`.

    Raises:
        OutputError: If the file cannot be written; then nothing is left half written.
    """

    def write(draft: Path) -> None:
        try:
            save_model(model, str(draft))
        except (AttributeError, NotImplementedError, RuntimeError, SafetensorError) as error:
            raise OutputError(
                f"the weights of {type(model).__name__} cannot be written as safetensors: {describe(error)}. Save them "
                "from Python instead: torch.save(model.state_dict(), path)."
            ) from error

    write_atomically(path, write)


def load_weights(model: nn.Module, path: str | os.PathLike[str]) -> None:
    """Read what `save_weights` wrote into a model of the same class and settings, in place.

    A model on the meta device gets its memory so; buffers that the file lacks are computed again.

    Raises:
        BuilderError: If there is no such file, or it does not fit the model.
        PlanError: If the file lacks a buffer of a model on the meta device, and nothing computes it again.
    """
    try:
        with safe_open(path, framework="pt") as file:
            given = frozenset(file.keys())
        with memory_for(model, torch.device("cpu"), given=given) if _is_meta(model) else nullcontext():
            load_model(model, path)
    except (OSError, RuntimeError, SafetensorError) as error:
        raise BuilderError(
            f"the weights {os.fspath(path)!r} cannot be read into {type(model).__name__}: {describe(error)}. Give a "
            "safetensors file with the weights of this model."
        ) from error


def _is_meta(model: nn.Module) -> bool:
    return any(tensor.is_meta for tensor in (*model.parameters(), *model.buffers()))


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
    evidence = gather_for(subject.task, RULES.values(), seed=subject.seed)
    named = _named(evidence, _treatable(diagnose_evidence(evidence)))
    return automatic_entries(evidence, unhealthy_layers(evidence) | named)


def fix(
    model: nn.Module | Task,
    inputs: Any = None,
    targets: Any = None,
    *,
    loss: Loss | None = None,
    batch_size: int = DEFAULT_BATCH_SIZE,
    seed: int = 0,
) -> Repair:
    """Initialise again what findings blame on the initialisation, in place, and measure again.

    On a model without errors and warnings nothing is changed.

    Args:
        model: A module, or a Task that holds everything else; its parameters are written.
        inputs: As for `check`.
        targets: As for `check`.
        loss: As for `check`.
        batch_size: Largest number of examples taken from a data set, counts.
        seed: Seed of that choice, of dropout, and of the weights.

    Returns:
        Both diagnoses and the plan between them.

    Raises:
        BuilderError: If there are no inputs.
        ModelError: If the model fails on its batch.
    """
    task = as_task(model, inputs, targets, loss=loss, batch_size=batch_size, seed=seed)
    evidence = gather_for(task, RULES.values(), seed=seed)
    before = diagnose_evidence(evidence)
    treatable = _treatable(before)
    troubled = _named(evidence, treatable)
    if any(finding.code.startswith(SIGNAL_FAMILIES) for finding in treatable):
        troubled |= unhealthy_layers(evidence)
    made = guarded(automatic_entries(evidence, troubled), task, evidence.step.names, seed=seed)
    del evidence
    made.apply(task.model)
    return Repair(before, made, diagnose(task, seed=seed) if made.changes else before)


def _named(evidence: Evidence, findings: Iterable[Finding]) -> frozenset[int]:
    local = (finding for finding in findings if finding.code not in ALONG_THE_TRUNK)
    return layers_named(evidence, frozenset(name for finding in local for name in finding.where))


def _treatable(diagnosis: Diagnosis) -> list[Finding]:
    return [finding for finding in _serious(diagnosis) if finding.remedy.kind == "init"]


def _serious(diagnosis: Diagnosis) -> list[Finding]:
    return [finding for finding in diagnosis.findings if finding.severity != "note"]


def _why_nothing_changed(before: Diagnosis, plan: Plan) -> str:
    if not plan.withheld:
        return f"Nothing was changed: initialisation is not the cause. {_remedies(_leading(before))}"
    entry = plan.withheld[0]
    others = f", and so are {len(plan.withheld) - 1} more" if len(plan.withheld) > 1 else ""
    return f"Nothing was changed: {entry.parameter!r} would be, but is left alone ({entry.reason}){others}."


def _what_is_left(after: Diagnosis) -> str:
    incurable = [finding for finding in _leading(after) if finding.remedy.kind == "init"]
    others = [finding for finding in _leading(after) if finding.remedy.kind != "init"]
    words = ""
    if incurable:
        words += f" Left: {_names(incurable)}. New weights do not cure this network of it; change the model: residual "
        words += "paths, a norm, or fewer layers."
    if others:
        words += f" Initialisation is not the cause of what is left. {_remedies(others)}"
    return words


def _leading(diagnosis: Diagnosis) -> list[Finding]:
    return [finding for finding in _serious(diagnosis) if finding.because is None]


def _names(findings: Iterable[Finding]) -> str:
    return ", ".join(dict.fromkeys(finding.name for finding in findings))


def _remedies(findings: Iterable[Finding]) -> str:
    return " ".join(f"{finding.name}: {finding.remedy.text}" for finding in findings)
