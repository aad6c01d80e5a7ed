"""Which parameters of a model weight decay is for: those that mix units, told by what they do and never by a name."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from torch import nn
from torch.nn.parameter import UninitializedParameter

from isometry._errors import BuilderError, ShapeError
from isometry._phrases import Phrase
from isometry.anatomy.names import canonical, names_of
from isometry.anatomy.task import Task, make_task
from isometry.planning import roles
from isometry.planning.roles import Subject
from isometry.planning.subject import subject_of
from isometry.training.optim.structure import LINE, MATRIX, SHAPED, STACKED, VECTOR, Reading, by_structure, is_vector

MIXES = Phrase("it mixes units")
ADDED = Phrase("it is added: decay would only shift it")
SCALES = Phrase("it scales unit by unit")
TABLE = Phrase("rows that a batch does not look up would shrink without a gradient")
TOKEN = Phrase("a learnt token is put beside the data, like a bias")
ALONE = Phrase("the forward pass mixes no units with it")
DECLARED = Phrase("the model itself asks for no decay")
WANTED = Phrase("decay of tables was asked for")


TABLES = frozenset({roles.EMBEDDING, roles.POSITION})
_NO_DECAY: Mapping[str, Phrase] = {  # roles that should not decay, and why
    **dict.fromkeys(TABLES, TABLE),
    **dict.fromkeys((*roles.SCALES, roles.RESIDUAL_SCALE), SCALES),
    **dict.fromkeys((*roles.BIASES, roles.NORM_SHIFT), ADDED),
    roles.TOKEN: TOKEN,
    roles.OTHER: ALONE,
}
LOOKUPS = frozenset({"getitem", "index_select"})  # operations that take rows of a table by numbers from the data
# Tables that are added whole pass for biases, and those that are read whole for nothing known.
_CLOAKS = {roles.BIAS: TABLES, roles.OTHER: frozenset({roles.EMBEDDING})}


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Whether one parameter should decay.

    Attributes:
        name: Its name in the model, without the parts that wrappers put in; that of the tensor itself, where a
            parametrisation computes a weight from several.
        parameter: The parameter.
        role: What it is for, a key of `ROLES`.
        decays: Whether it should decay.
        is_adapted: Whether a trust ratio, as of LARS and LAMB, should scale its step.
        reason: Why it should decay or not, in a clause.
    """

    name: str
    parameter: nn.Parameter
    role: str
    decays: bool
    is_adapted: bool
    reason: Phrase

    @property
    def is_table(self) -> bool:
        """Whether its decay is a matter of choice, as that of embeddings."""
        return self.role in TABLES

    @property
    def is_guess(self) -> bool:
        """Whether only the shape speaks for the role, so that nobody should be blamed for another reading."""
        return self.reason in {SHAPED, STACKED, LINE}


def choices_of(model: nn.Module | Task, *, inputs: Any = None, decay_embeddings: bool = False) -> tuple[Choice, ...]:
    """Say of each parameter of a model whether it should decay; a tied one comes once.

    What a model declares goes first: parameters with a true `_no_weight_decay`, and the names that a module's
    `no_weight_decay()` returns.

    Args:
        model: A module, or a Task.
        inputs: A batch of it. With one, or with a Task, a forward pass shows what each parameter does; without, its
            shape and the classes of torch tell.
        decay_embeddings: Whether tables decay: those that are looked up, and what is added by place.

    Returns:
        One choice for each parameter, in the order of the model.

    Raises:
        BuilderError: If the model is neither.
        ModelError: If the model fails on its batch.
        ShapeError: If a parameter has no shape yet.
    """
    _require_model(model)
    module = model.model if isinstance(model, Task) else model
    parameters = list(module.named_parameters())
    for name, parameter in parameters:
        if isinstance(parameter, UninitializedParameter):
            raise ShapeError(f"{name!r} has no shape yet. Run the model on a batch first, then sort its parameters.")
    task = model if isinstance(model, Task) else None if inputs is None else make_task(model, inputs)
    read = by_structure(module) if task is None else _by_forward_pass(subject_of(task))
    names, declared = names_of(module), set(_declared(module))
    found: list[Choice] = []
    for name, parameter in parameters:
        known = names.of_tensor[id(parameter)]
        choice = _choice(canonical(name) if known in names.parametrised else known, parameter, read(parameter))
        if decay_embeddings and choice.is_table:
            choice = replace(choice, decays=True, reason=WANTED)
        is_declared = getattr(parameter, "_no_weight_decay", False) or name in declared
        found.append(replace(choice, decays=False, reason=DECLARED) if is_declared else choice)
    return tuple(found)


def _require_model(given: object) -> None:
    if not isinstance(given, nn.Module | Task):
        raise BuilderError(
            f"an object of the class {type(given).__name__} was given, and a module is needed, or a Task: its layers "
            "tell what a parameter is for. Give the model itself."
        )


def _choice(name: str, parameter: nn.Parameter, reading: Reading) -> Choice:
    role, reason = reading
    return Choice(
        name=name,
        parameter=parameter,
        role=role,
        decays=role not in _NO_DECAY,
        is_adapted=role not in _NO_DECAY or role in TABLES,
        reason=reason or _NO_DECAY.get(role, MIXES),
    )


def _by_forward_pass(subject: Subject) -> Callable[[nn.Parameter], Reading]:
    """Return a function that reads the role of a parameter from what a recorded forward pass does with it."""
    slots = {slot.name: slot for slot in subject.slots}
    uses = [
        (name, operation.name in LOOKUPS and bool(operation.inputs))
        for operation in subject.tape.operations
        for use in operation.parameters
        for name in use.names
    ]
    used, looked_up = {name for name, _ in uses}, {name for name, is_lookup in uses if is_lookup}
    read_structure = by_structure(subject.task.model)

    def read(parameter: nn.Parameter) -> Reading:
        slot = slots[subject.names.of_tensor[id(parameter)]]
        is_part = len(subject.names.parameters[slot.name]) > 1  # of a parametrised weight
        if slot.name not in used:
            return read_structure(parameter)
        if slot.role == roles.OTHER and slot.name in looked_up and not is_vector(parameter):
            return (roles.BIAS if read_structure(parameter)[0] == roles.BIAS else roles.EMBEDDING), None
        if slot.role in roles.BIASES and not is_vector(parameter) and read_structure(parameter)[0] == roles.HIDDEN:
            return roles.POSITION, None  # a row for each place; those of torch's layers and of experts are known
        if slot.layer is None or slot.role in roles.BIASES:
            is_table = read_structure(parameter)[0] in _CLOAKS.get(slot.role, frozenset())
            return (read_structure(parameter)[0] if is_table else slot.role), None
        if parameter.ndim < MATRIX or ((is_part or slot.role == roles.OTHER) and is_vector(parameter)):
            return roles.OTHER, VECTOR
        return (roles.HIDDEN if slot.role == roles.OTHER else slot.role), None

    return read


def _declared(model: nn.Module) -> Iterator[str]:
    """Yield the names that modules return from a `no_weight_decay()` of their own, as timm's do."""
    for path, module in model.named_modules():
        declare = getattr(module, "no_weight_decay", None)
        if callable(declare):
            names = cast("Iterable[str]", declare())
            yield from (f"{path}.{name}" if path else name for name in names)
