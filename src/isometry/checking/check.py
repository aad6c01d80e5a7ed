"""`check`: one forward and one backward pass, all rules, one diagnosis."""

import platform
import time
from collections.abc import Iterable
from importlib.metadata import version
from typing import Any

import torch
from torch import nn

from isometry._errors import RefusedError
from isometry._phrases import Phrase
from isometry.anatomy.task import DEFAULT_BATCH_SIZE, Loss, OptimizerFactory, Task, as_task, tensors_in
from isometry.checking.doubts import doubted
from isometry.checking.guard import guarded
from isometry.checking.proofs import proved
from isometry.checking.settings import DEFAULT, Settings
from isometry.findings.causes import explained, places_on
from isometry.findings.rows import layer_rows
from isometry.findings.rule import RULES, Draft, Rule
from isometry.findings.run import findings_of, rank, run_rules
from isometry.probes.evidence import Evidence, NotMeasuredError, gather
from isometry.probes.jacobian import measure_jacobian
from isometry.probes.jacobian_result import JacobianResult
from isometry.probes.start import LossStart
from isometry.probes.trial_result import TrialResult
from isometry.report.diagnosis import Diagnosis
from isometry.report.facts import Cost, Skipped
from isometry.report.finding import Remedy

EVAL_MODE = "The model is in eval mode and was measured so; training will run in train mode: call model.train()."
FAILED = Phrase("the model failed on its batch")
OF_DATA = frozenset({"DAT104", "LOS103"})  # whose remedy is other data
VERSIONED = ("isometry", "torch", "numpy")


def check(
    model: nn.Module | Task,
    inputs: Any = None,
    targets: Any = None,
    *,
    loss: Loss | None = None,
    optimizer_factory: OptimizerFactory | None = None,
    batch_size: int = DEFAULT_BATCH_SIZE,
    seed: int = 0,
    settings: Settings = DEFAULT,
) -> Diagnosis:
    """Say whether a network can train, from one forward and one backward pass and a short trial on a copy.

    Nothing is changed: parameters, buffers, gradients, modes and global random states are as before, also after an
    error.

    Args:
        model: A module, or a Task that holds everything else.
        inputs: A tensor, a tuple of positional arguments, a mapping of keyword arguments, a pair of both, or a
            DataLoader of (inputs, targets).
        targets: What the loss compares the outputs with.
        loss: From outputs and targets to a scalar; without one the output's own `.loss`, else a mean square.
        optimizer_factory: From parameters to an optimiser.
        batch_size: Largest number of examples taken from a data set, counts.
        seed: Seed of that choice and of dropout.
        settings: Which rules run with which thresholds, and how many steps, proofs and Jacobian vectors are spent.

    Returns:
        All findings and measurements, with a verdict.

    Raises:
        BuilderError: If there are no inputs.
        ModelError: If the model fails on its batch.
        SettingsError: If the settings name a rule or a threshold that does not exist.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
        >>> check(model, torch.ones(32, 4)).verdict
        'healthy'
    """
    task = as_task(
        model, inputs, targets, loss=loss, optimizer_factory=optimizer_factory, batch_size=batch_size, seed=seed
    )
    return diagnose(task, seed=seed, settings=settings)


def diagnose(
    task: Task, rules: Iterable[Rule] | None = None, *, seed: int = 0, settings: Settings = DEFAULT
) -> Diagnosis:
    """Run rules on a task; `check` for what already is one.

    Args:
        task: The task; nothing in it is changed.
        rules: The rules to run; those of the settings if None. Probes that no rule needs do not run.
        seed: Seed of dropout and of other random numbers in the forward pass.
        settings: As for `check`.

    Returns:
        All findings and measurements, with a verdict.

    Raises:
        ModelError: If the model fails on its batch.
        SettingsError: If the settings name a rule or a threshold that does not exist.
    """
    chosen = settings.choose(RULES) if rules is None else tuple(rules)
    start = time.perf_counter()
    try:
        evidence = gather_for(task, chosen, seed=seed, settings=settings)
    except RefusedError as error:
        return refused(error, task, chosen, seed=seed, seconds=time.perf_counter() - start)
    return diagnose_evidence(evidence, chosen, settings=settings)


def refused(
    error: RefusedError, task: Task, rules: Iterable[Rule], *, seed: int = 0, seconds: float = 0.0
) -> Diagnosis:
    """Return the diagnosis of a model that failed on its batch for a reason that a rule names: that one finding.

    Args:
        error: What the recording raised.
        task: The task.
        rules: The rules that were to run.
        seed: The seed they were to run with.
        seconds: What was spent on it.

    Returns:
        A diagnosis without measurements, whose other rules are skipped.

    Raises:
        RefusedError: The same error again, if the rule that names its reason was not to run.
    """
    chosen, refusal = tuple(rules), error.refusal
    known = next((rule for rule in chosen if rule.code == refusal.code), None)
    if known is None:
        raise error
    draft = Draft(
        where=refusal.where,
        measured=refusal.measured,
        allowed=refusal.allowed,
        unit=refusal.unit,
        cause=refusal.cause,
        remedy=Remedy("data" if refusal.code in OF_DATA else "model", refusal.remedy),
        severity="error",
    )
    return Diagnosis(
        model=type(task.model).__name__,
        loss_name=task.loss_in_use,
        loss=None,
        findings=tuple(findings_of([(known, draft)])),
        skipped=tuple(Skipped(rule.code, FAILED) for rule in chosen if rule is not known),
        layers=(),
        seed=seed,
        versions=_versions(),
        cost=Cost(seconds, 0.0, None),
        warnings=(*task.warnings, *(() if task.model.training else (EVAL_MODE,)), str(error)),
    )


def gather_for(task: Task, rules: Iterable[Rule], *, seed: int = 0, settings: Settings = DEFAULT) -> Evidence:
    """Return the evidence of one run of a task, watched for what these rules need."""
    kinds = [kind for rule in rules for kind in rule.measurements]
    return gather(task, [*kinds, LossStart], seed=seed, steps=settings.steps)  # a head drawn anew depends on the loss


def diagnose_evidence(
    evidence: Evidence, rules: Iterable[Rule] | None = None, *, settings: Settings = DEFAULT
) -> Diagnosis:
    """Run rules on evidence that was gathered for them.

    Args:
        evidence: A recorded step, watched for what the rules need.
        rules: The rules to run; those of the settings if None.
        settings: As for `check`.

    Returns:
        All findings and measurements, with a verdict.
    """
    task = evidence.task
    chosen = settings.choose(RULES) if rules is None else tuple(rules)
    findings, skipped = run_rules(chosen, evidence)
    findings = guarded(findings, chosen, evidence)
    findings = doubted(findings, chosen, evidence, proofs=settings.proofs)
    findings = explained(findings, chosen, places_on(evidence.step.tape))
    findings = proved(findings, evidence, chosen, proofs=settings.proofs)
    rows = layer_rows(evidence)
    jacobian, why_not = _jacobian(evidence, settings.jacobian)
    seconds = time.perf_counter() - evidence.start
    loss = None if evidence.is_meta or not evidence.is_finite else float(evidence.step.loss)
    return Diagnosis(
        model=type(task.model).__name__,
        loss_name=task.loss_in_use,
        loss=loss,
        findings=rank(findings),
        skipped=skipped + settings.ignored(RULES),
        layers=rows,
        seed=evidence.seed,
        versions=_versions(),
        cost=Cost(seconds, evidence.step.seconds, evidence.step.peak_bytes),
        warnings=task.warnings + _warnings(evidence) + why_not,
        trial=evidence.measured.get(TrialResult),
        jacobian=jacobian,
    )


def _jacobian(evidence: Evidence, num_vectors: int) -> tuple[JacobianResult | None, tuple[str, ...]]:
    """Return the spectra if they are asked for, or a sentence why there are none."""
    if not num_vectors:
        return None, ()
    try:
        return measure_jacobian(evidence, num_vectors=num_vectors), ()
    except NotMeasuredError as error:
        return None, (Phrase("The Jacobian was not measured: {reason}.", reason=error.reason),)


def _warnings(evidence: Evidence) -> tuple[str, ...]:
    found: list[str] = []
    if evidence.is_meta:
        found.append("The model is on the meta device, which has no numbers: only its structure was judged.")
    unseen = _out_of_sight(evidence)
    if unseen:
        found.append(
            Phrase(
                "{count} trainable parameters, such as {name!r}, work out of sight (scripted or traced modules, vmap): "
                "what happens to signal and gradient there was not judged.",
                count=len(unseen),
                name=unseen[0],
            )
        )
    examples, size = evidence.task.examples, _num_rows(evidence.task.batch)
    if examples is not None and size and examples.count > size:
        found.append(
            Phrase("{count} of the {total} examples of the data set were run.", count=size, total=examples.count)
        )
    if not evidence.task.model.training:
        found.append(EVAL_MODE)
    return tuple(found)


def _num_rows(batch: object) -> int:
    """Return how many samples a batch has, 0 if that cannot be told."""
    return next((len(tensor) for tensor in tensors_in(batch) if tensor.ndim), 0)


def _out_of_sight(evidence: Evidence) -> list[str]:
    """Return the parameters that get a gradient though no operation that was seen uses them."""
    operations = evidence.step.tape.operations
    seen = {name for each in operations if each.name != "opaque" for use in each.parameters for name in use.names}
    gradients = evidence.step.gradients
    return [name for name in gradients if name not in seen and any(each is not None for each in gradients[name])]


def _versions() -> dict[str, str]:
    return (
        {"python": platform.python_version()}
        | {name: version(name) for name in VERSIONED}
        | {"torch": torch.__version__}
    )
