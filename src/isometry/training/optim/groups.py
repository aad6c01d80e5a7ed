"""`param_groups`: the parameters of a model sorted for any optimiser of torch, so that only what should decay does."""

import math
from collections.abc import Mapping
from numbers import Real
from typing import Any

from torch import nn

from isometry._errors import DomainError
from isometry.anatomy.names import names_of
from isometry.anatomy.task import Task
from isometry.planning.patterns import claims_of, winners
from isometry.planning.roles import Slot
from isometry.training.optim.decay import Choice, choices_of

WEIGHTS, TABLES, GAINS = "weights", "tables", "gains and biases"  # names of groups
NOTHING: Mapping[str, float] = {}


def param_groups(
    model: nn.Module | Task,
    weight_decay: float = 0.1,
    *,
    inputs: Any = None,
    decay_embeddings: bool = False,
    overrides: Mapping[str, float] = NOTHING,
) -> list[dict[str, Any]]:
    """Sort the parameters of a model into groups for an optimiser: what mixes units decays, gains and biases do not.

    Args:
        model: A module, or a Task.
        weight_decay: Of what should decay, in the unit that the optimiser gives it.
        inputs: A batch of the model. With one, or with a Task, a forward pass shows what each parameter does, also in
            layers of your own; without, shapes and the classes of torch tell.
        decay_embeddings: Whether tables decay: those that are looked up, and what is added by place.
        overrides: What decides otherwise, from names, patterns as in fnmatch, or `role:NAME`, to a weight decay.

    Returns:
        Up to a few groups with `params`, `weight_decay`, a `name`, and `is_adapted`, which LARS and LAMB read and
        others pass over. Frozen parameters are left out, tied ones come once; the order is that of the model, and the
        values of the weights play no part, so that a resumed run gets the same groups.

    Raises:
        BuilderError: If the model is neither a module nor a Task.
        DomainError: If a weight decay is negative, infinite or no number.
        PlanError: If a key of `overrides` matches nothing.
        ModelError: If the model fails on its batch.
        ShapeError: If a parameter has no shape yet.

    Example:
        >>> model = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 3), nn.LayerNorm(3))
        >>> for group in param_groups(model, weight_decay=0.1):
        ...     print(group["name"], group["weight_decay"], len(group["params"]))
        tables 0.0 1
        weights 0.1 1
        gains and biases 0.0 3
    """
    for decay in (weight_decay, *overrides.values()):
        if not isinstance(decay, Real) or not 0 <= float(decay) < math.inf:
            raise DomainError(f"a weight decay of {decay!r} was given; give a number from 0 on.")
    choices = [
        choice
        for choice in choices_of(model, inputs=inputs, decay_embeddings=decay_embeddings)
        if choice.parameter.requires_grad
    ]
    module = model.model if isinstance(model, Task) else model
    usual = {WEIGHTS: weight_decay, TABLES: weight_decay if decay_embeddings else 0.0, GAINS: 0.0}
    decided = _overridden(module, choices, overrides)
    groups: dict[str, dict[str, Any]] = {}
    for choice in choices:
        kind = GAINS if not choice.is_adapted else TABLES if choice.is_table else WEIGHTS
        decay = decided.get(choice.name, weight_decay if choice.decays else 0.0)
        name = kind if decay == usual[kind] else f"{kind}, decay {decay:g}"
        group = {"name": name, "params": [], "weight_decay": decay, "is_adapted": choice.is_adapted}
        groups.setdefault(name, group)["params"].append(choice.parameter)
    return list(groups.values())


def _overridden(model: nn.Module, choices: list[Choice], overrides: Mapping[str, float]) -> dict[str, float]:
    """Return the decay of the parameters that an override speaks for, by their names."""
    slots = [Slot(name=each.name, shape=tuple(each.parameter.shape), role=each.role) for each in choices]
    claims = claims_of(overrides, slots, names_of(model).ties)
    return {name: overrides[claim.key] for name, claim in winners(claims, overrides).items()}
