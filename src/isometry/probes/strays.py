"""Weights that a model uses and that no optimiser sees, since they are none of its parameters."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import cast

from torch import Tensor, nn

from isometry.anatomy.names import canonical
from isometry.probes.evidence import Evidence, probe, structural

OWN_ATTRIBUTES = frozenset(vars(nn.Module()))  # the tables in which a module registers what it holds
MAX_NESTING = 3  # lists in lists; deeper ones are no way to hold layers


@dataclass(frozen=True, slots=True)
class Stray:
    """A leaf tensor that requires a gradient and works in the model's forward pass, but is no parameter of it.

    Attributes:
        name: Where the model holds it, as Python writes it; its shape if no attribute of the model holds it.
        is_held: Whether an attribute of the model holds it, in a plain list, dictionary or by itself.
        is_asleep: Whether it belongs to a module in eval mode, as of a fixed network that is hidden on purpose.
    """

    name: str
    is_held: bool
    is_asleep: bool = False


@structural
@dataclass(frozen=True, slots=True)
class Strays:
    """All such tensors, each once, in the order of execution."""

    tensors: tuple[Stray, ...]


@probe(Strays)
def find_strays(evidence: Evidence) -> Strays:
    """Name the strays that the recorder met; plain tensors that no attribute holds are data, and left out."""
    if not evidence.step.strays:
        return Strays(())
    held = dict(_held(evidence.task.model))
    found: list[Stray] = []
    for tensor in evidence.step.strays:
        if id(tensor) in held:
            found.append(held[id(tensor)])
        elif isinstance(tensor, nn.Parameter):
            found.append(Stray(f"a parameter of shape {tuple(tensor.shape)}", is_held=False))
    return Strays(tuple(dict.fromkeys(found)))


def _held(model: nn.Module) -> Iterator[tuple[int, Stray]]:
    """Yield the ids of the tensors that attributes hold beside a module's tables."""
    for path, module in model.named_modules():
        for attribute, thing in vars(module).items():
            if attribute not in OWN_ATTRIBUTES:
                name = canonical(f"{path}.{attribute}" if path else attribute)
                yield from _tensors_in(thing, name, MAX_NESTING)


def _tensors_in(thing: object, name: str, depth: int) -> Iterator[tuple[int, Stray]]:
    if isinstance(thing, Tensor):
        yield id(thing), Stray(name, is_held=True)
    elif isinstance(thing, nn.Module):
        for inner, parameter in thing.named_parameters():
            yield id(parameter), Stray(f"{name}.{inner}", is_held=True, is_asleep=not thing.training)
    elif depth and isinstance(thing, list | tuple | Mapping):
        plain = cast("Mapping[object, object] | list[object]", thing)
        parts = plain.items() if isinstance(plain, Mapping) else enumerate(plain)
        for key, part in parts:
            yield from _tensors_in(part, f"{name}[{key!r}]", depth - 1)
