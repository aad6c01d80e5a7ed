"""`audit_decay`: which tensor an optimiser decays, by how much and how, and where that is not what it should be."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text
from torch import Tensor, nn
from torch.optim import Optimizer

from isometry._errors import BuilderError
from isometry._phrases import Phrase
from isometry.anatomy.task import Task
from isometry.planning.plan_table import as_html, as_text, folded_table
from isometry.report.language import say
from isometry.report.numerals import counted, numeral
from isometry.training.optim.decay import Choice, choices_of
from isometry.training.optim.lamb import LAMB
from isometry.training.optim.lars import LARS
from isometry.training.optim.trust import TrustRatioOptimizer

Groups = Sequence[Mapping[str, Any]]
DIVIDING = (torch.optim.RMSprop, torch.optim.Adagrad, torch.optim.Adamax, torch.optim.Adadelta)

SHOULD_NOT = Phrase("decays, and should not")
LEFT_OUT = Phrase("does not decay, and could")
NOWHERE = Phrase("is in no group: it does not train")
TWICE = Phrase("is in several groups: it is updated by each")
TOO_STRONG = Phrase("lr × decay is 1 or more: a step takes the whole weight or turns its sign")

DECOUPLED = Phrase("a step takes lr × decay of the weight")
IN_GRADIENT = Phrase("decay is added to the gradient, which momentum gathers")
NORMALISED = Phrase("decay is added to the gradient and divided by its size: weights of large gradients hardly decay")
TRUSTED = Phrase("decay is added to the update, which the trust ratio scales")
BY_DEFAULT = Phrase("the group says nothing, so the optimiser's default holds")
UNKNOWN = Phrase("the optimiser decays by a rule of its own")


@dataclass(frozen=True, slots=True, kw_only=True)
class DecayRow:
    """What an optimiser does to one parameter.

    Attributes:
        choice: The parameter, its role and whether it should decay.
        groups: Indices of the groups that hold it.
        lr: Learning rate of its first group, dimensionless; None if no group holds it, or gives none.
        weight_decay: That of its first group, likewise; None also where a group leaves it to the optimiser.
        how: How the decay works, in a clause; empty where nothing decays.
        share: Share of the weight that is lost at each step in the long run; None where it depends on the gradient.
        problem: What is wrong, in a clause; empty if nothing is.
    """

    choice: Choice
    groups: tuple[int, ...]
    lr: float | None
    weight_decay: float | None
    how: Phrase
    share: float | None
    problem: Phrase

    @property
    def half_life(self) -> float:
        """Steps in which the decay alone would halve the weight, counts.

        Infinite without decay; NaN if unknown, or where a step takes the whole weight.
        """
        if not self.how:
            return math.inf
        if self.share is None or self.share >= 1:
            return math.nan
        return -math.log(2) / math.log1p(-self.share) if self.share else math.inf


@dataclass(frozen=True, slots=True)
class DecayAudit:
    """Every parameter of a model with the decay that an optimiser gives it.

    Attributes:
        rows: In the order of the model; frozen parameters are left out.
        strangers: Shapes of tensors in the groups that the model does not hold.
    """

    rows: tuple[DecayRow, ...]
    strangers: tuple[tuple[int, ...], ...]

    @property
    def problems(self) -> tuple[DecayRow, ...]:
        """The rows where something is wrong."""
        return tuple(row for row in self.rows if row.problem)

    @property
    def is_clean(self) -> bool:
        """Whether every parameter decays as it should, in one group, and the groups hold nothing else."""
        return not self.problems and not self.strangers

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        title = f"{counted(len(self.rows), 'tensor')}, {counted(len(self.problems), 'problem')}"
        manners = ", ".join(dict.fromkeys(say(row.how) for row in self.rows if row.how))
        yield folded_table(map(_cells, self.rows), title=title, caption=manners or None)
        if self.strangers:
            shapes = ", ".join(map(str, self.strangers))
            yield Text(say("the groups hold tensors that the model lacks, of the shapes {shapes}", shapes=shapes))

    def __str__(self) -> str:
        return as_text(self)

    def _repr_html_(self) -> str:
        return as_html(self)


def audit_decay(optimizer: Optimizer | Groups, model: nn.Module | Task, *, inputs: Any = None) -> DecayAudit:
    """Say of each tensor of a model how an optimiser decays it, and where that is not what its role asks for.

    Tables may decay or not, both are in use, and what is only guessed from a shape is no problem. That a weight does
    not decay is one only where others do. Of groups that give no `weight_decay` only an optimiser knows it, so give
    that where there is one.

    Args:
        optimizer: An optimiser, or groups for one.
        model: The module whose parameters it holds, or a Task.
        inputs: A batch, from which the roles are read; without one, shapes and the classes of torch tell.

    Returns:
        A table.

    Raises:
        BuilderError: If the optimiser is none, or the model.
        ModelError: If the model fails on its batch.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3))
        >>> audit = audit_decay(torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1), model)
        >>> [(row.choice.name, str(row.problem)) for row in audit.problems]
        ... # doctest: +NORMALIZE_WHITESPACE
        [('0.bias', 'decays, and should not'), ('1.weight', 'decays, and should not'),
         ('1.bias', 'decays, and should not')]
    """
    if isinstance(optimizer, nn.Module | Task):
        raise BuilderError(
            f"the optimiser is the model {type(optimizer).__name__}. The optimiser comes first, the model second: "
            "audit_decay(optimizer, model)."
        )
    groups = _groups(optimizer)
    homes: dict[int, list[int]] = {}
    tensors: dict[int, Tensor] = {}
    for index, group in enumerate(groups):
        for tensor in _tensors(group["params"]):
            homes.setdefault(id(tensor), []).append(index)
            tensors[id(tensor)] = tensor
    choices = choices_of(model, inputs=inputs)
    known = {id(choice.parameter) for choice in choices}
    does_any = any(group.get("weight_decay", 0.0) for group in groups)
    rows = (
        _row(choice, tuple(homes.get(id(choice.parameter), ())), optimizer, does_any=does_any)
        for choice in choices
        if choice.parameter.requires_grad
    )
    return DecayAudit(tuple(rows), tuple(tuple(each.shape) for key, each in tensors.items() if key not in known))


def _tensors(params: Tensor | Iterable[Any]) -> list[Tensor]:
    """Return the tensors of a group, of which an optimiser also takes one alone, and pairs with names."""
    if isinstance(params, Tensor):
        return [params]
    return [each[1] if isinstance(each, tuple) else each for each in params]


def _groups(optimizer: Optimizer | Groups) -> Groups:
    return cast("Groups", optimizer.param_groups if isinstance(optimizer, Optimizer) else optimizer)


def _row(choice: Choice, homes: tuple[int, ...], optimizer: Optimizer | Groups, *, does_any: bool) -> DecayRow:
    group = _groups(optimizer)[homes[0]] if homes else {}
    decay = group.get("weight_decay")
    how, share = _manner(optimizer, group) if decay else (Phrase(""), None)
    if homes and "weight_decay" not in group and not isinstance(optimizer, Optimizer):
        how = BY_DEFAULT
    is_too_strong = how in {DECOUPLED, IN_GRADIENT} and float(group.get("lr") or 0) * float(decay or 0) >= 1
    return DecayRow(
        choice=choice,
        groups=homes,
        lr=None if group.get("lr") is None else float(group["lr"]),
        weight_decay=None if decay is None else float(decay),
        how=how,
        share=share,
        problem=_problem(choice, homes, decays=None if how == BY_DEFAULT else bool(decay), does_any=does_any)
        or (TOO_STRONG if is_too_strong else Phrase("")),
    )


def _problem(choice: Choice, homes: tuple[int, ...], *, decays: bool | None, does_any: bool) -> Phrase:
    if not homes:
        return NOWHERE
    if len(homes) > 1:
        return TWICE
    if decays is None or choice.is_table or choice.is_guess or decays == choice.decays:
        return Phrase("")
    if decays:
        return SHOULD_NOT
    return LEFT_OUT if does_any else Phrase("")


def _manner(optimizer: Optimizer | Groups, group: Mapping[str, Any]) -> tuple[Phrase, float | None]:
    """Return how a group decays, and which share of a weight it takes at each step in the long run."""
    taken = None if group.get("lr") is None else float(group["lr"]) * float(group["weight_decay"])
    if isinstance(optimizer, TrustRatioOptimizer) and group["is_adapted"]:
        return TRUSTED, None
    is_decoupled = bool(group.get("decoupled_weight_decay"))  # torch's mark on the kin of Adam
    if is_decoupled or isinstance(optimizer, torch.optim.Adafactor | torch.optim.Muon | LAMB):
        return DECOUPLED, taken
    if taken is not None and isinstance(optimizer, torch.optim.SGD | LARS):
        return IN_GRADIENT, taken * (1 - group.get("dampening", 0.0) * bool(group["momentum"])) / (
            1 - group["momentum"]
        )
    if isinstance(optimizer, torch.optim.ASGD):
        return IN_GRADIENT, None  # its rate falls, and it has a decay of its own beside
    if "decoupled_weight_decay" in group or isinstance(optimizer, DIVIDING):
        return NORMALISED, None
    return UNKNOWN, None


def _cells(row: DecayRow) -> dict[str, str]:
    by = f"{numeral(row.lr)} × {numeral(row.weight_decay)}" if row.lr is not None and row.weight_decay else ""
    if row.problem in {SHOULD_NOT, LEFT_OUT}:
        note = say("{problem}: {reason}", problem=row.problem, reason=row.choice.reason)
    else:
        note = row.problem or ("" if row.how else row.choice.reason)
    return {
        say("tensor"): row.choice.name,
        say("role"): row.choice.role,
        say("lr × decay"): by,
        say("halves in, steps"): numeral(row.half_life) if math.isfinite(row.half_life) else "",
        say("note"): say(note),
    }
