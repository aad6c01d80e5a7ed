"""`audit`: every parameter and buffer of a model against the plan that should have written it."""

from typing import Any

from torch import nn

from isometry._errors import BuilderError, PlanError
from isometry._memory import has_memory
from isometry.anatomy.task import Task, tensors_in
from isometry.auditing.result import Audit
from isometry.findings import AUDIT_RULES
from isometry.findings.causes import explained
from isometry.findings.run import findings_of, rank
from isometry.planning.copies import Clones, Copies, find_clones, find_copies
from isometry.planning.inventory import Inventory, take_inventory
from isometry.planning.plan import Plan
from isometry.planning.zeros import ZeroProducts, find_zero_products
from isometry.probes.evidence import Evidence, gather
from isometry.probes.openings import Openings
from isometry.probes.reach import GradientReach


def audit(model: nn.Module | Task, plan: Plan | None = None, *, seed: int | None = None) -> Audit:
    """Say of every parameter and buffer what wrote it, what it holds, and what is wrong with it.

    Nothing is changed. A module is looked at as it is; a Task runs one forward and one backward pass besides, whose
    gradients tell products of zeros and where units lie.

    Args:
        model: A module, or a Task.
        plan: The plan that should have been applied; without one only what no plan would write is found.
        seed: The seed it was applied with; every tensor that it draws is then drawn again and compared bit by bit.
            Without it their numbers are held against the bounds of their distribution.

    Returns:
        A table of all tensors, the findings and a verdict.

    Raises:
        BuilderError: If the model is neither a module nor a Task.
        PlanError: If the plan is none, names a parameter that the model lacks, or one of another shape.
        ModelError: If the model of a Task fails on its batch.

    Example:
        >>> import torch
        >>> encoder = torch.nn.TransformerEncoder(torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2)
        >>> [finding.name for finding in audit(encoder).findings]
        ['duplicate-layers']
    """
    _check_arguments(model, plan)
    module = model.model if isinstance(model, Task) else model
    evidence = gather(model, [GradientReach, Openings]) if isinstance(model, Task) and _runs(model) else None
    inventory = take_inventory(module, plan, seed=seed)
    measured = _measured(module, inventory, evidence)
    drafts = [
        (rule, draft)
        for rule in AUDIT_RULES.values()
        for draft in rule(*(measured[kind] for kind in rule.measurements))
    ]
    return Audit(
        model=type(module).__name__,
        has_plan=plan is not None,
        seed=seed,
        rows=inventory.rows,
        findings=rank(explained(findings_of(drafts), AUDIT_RULES.values())),
    )


def _check_arguments(model: object, plan: object) -> None:
    if not isinstance(model, nn.Module | Task):
        found = f"the class {model.__name__}" if isinstance(model, type) else f"a {type(model).__name__}"
        raise BuilderError(f"audit was given {found}, and needs a module or a Task: iso.audit(model, plan).")
    if plan is not None and not isinstance(plan, Plan):
        raise PlanError(
            f"audit was given a {type(plan).__name__} for a plan, and needs a Plan. "
            "One that was saved is read by iso.Plan.load(path)."
        )


def _runs(task: Task) -> bool:
    """Say whether the batch lies where the model does; a batch on the meta device is of no use to real weights."""
    is_real = all(has_memory(parameter) for parameter in task.model.parameters())
    return not (is_real and any(tensor.is_meta for tensor in tensors_in(task.batch)))


def _measured(module: nn.Module, inventory: Inventory, evidence: Evidence | None) -> dict[type[Any], Any]:
    return {
        Inventory: inventory,
        Clones: find_clones(module, inventory, evidence),
        Copies: find_copies(module, inventory, evidence),
        ZeroProducts: find_zero_products(module, inventory, evidence),
    }
