"""The tensors of a batch, by the expression that a user would write for each."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from isometry.anatomy.task import Batch

INPUTS = "inputs"
BATCH = "batch"


def input_tensors(batch: Any) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of a batch but for its targets, each with an expression such as `inputs['image']`."""
    if isinstance(batch, Batch):
        yield from _parts(batch.inputs, INPUTS)
    elif isinstance(batch, tuple | list) and batch:
        yield from _parts(batch[0], f"{BATCH}[0]")
    else:
        yield from _parts(batch, BATCH)


def all_tensors(batch: Any) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of a batch, its targets too."""
    if isinstance(batch, Batch):
        yield from _parts(batch.inputs, INPUTS)
        yield from _parts(batch.targets, "targets")
    else:
        yield from _parts(batch, BATCH)


def with_parts(batch: Any, change: Callable[[str, Tensor], Tensor]) -> Any:
    """Return a batch with each tensor replaced by what is made of its expression and itself."""
    if isinstance(batch, Batch):
        inputs, targets = _changed(batch.inputs, INPUTS, change), _changed(batch.targets, "targets", change)
        return replace(batch, inputs=inputs, targets=targets)
    return _changed(batch, BATCH, change)


def _parts(thing: Any, name: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(thing, Tensor):
        yield name, thing
    elif isinstance(thing, Mapping):
        for key, part in thing.items():
            yield from _parts(part, f"{name}[{key!r}]")
    elif isinstance(thing, tuple | list):
        for place, part in enumerate(thing):
            yield from _parts(part, f"{name}[{place}]")


def _changed(thing: Any, name: str, change: Callable[[str, Tensor], Tensor]) -> Any:
    if isinstance(thing, Tensor):
        return change(name, thing)
    if isinstance(thing, Mapping):
        return {key: _changed(part, f"{name}[{key!r}]", change) for key, part in thing.items()}
    if isinstance(thing, tuple | list):
        parts = [_changed(part, f"{name}[{place}]", change) for place, part in enumerate(thing)]
        return type(thing)(*parts) if hasattr(thing, "_fields") else type(thing)(parts)
    return thing
