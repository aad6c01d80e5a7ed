"""From the word MODEL on the command line to a task: finds the builder, calls it, reads what it returned."""

import fnmatch
import importlib
import importlib.util
import random
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from isometry._errors import BuilderError
from isometry.anatomy.names import names_of
from isometry.anatomy.task import DEFAULT_BATCH_SIZE, Task, make_task

MAX_PARTS = 5  # model, inputs, targets, loss, optimizer_factory
FORM = "Write path/to/file.py:name or package.module:name."


def load_task(
    word: str,
    *,
    input_words: str | None = None,
    protect: tuple[str, ...] = (),
    batch_size: int = DEFAULT_BATCH_SIZE,
    seed: int = 0,
) -> Task:
    """Return the task that a MODEL word leads to.

    Args:
        word: `path/to/file.py:name` or `package.module:name`; the name is a module, a Task, a tuple
            `(model, inputs[, targets[, loss[, optimizer_factory]]])`, or a callable that returns one of these.
        input_words: A shape such as `8x3x32x32` or `8x128:int64`, used if the builder gives no inputs.
        protect: Patterns (as in fnmatch) of parameters that no remedy may touch.
        batch_size: Largest number of examples taken from a data set, counts.
        seed: Seed of the batch that is made or chosen.

    Raises:
        BuilderError: If the word leads nowhere, or to something else than a task.
    """
    built = _call(word, _find(word))
    task = _task_of(word, built, input_words=input_words, batch_size=batch_size, seed=seed)
    for pattern in protect:
        if not fnmatch.filter(names_of(task.model).parameters, pattern):
            first = next(iter(names_of(task.model).parameters), "none at all")
            raise BuilderError(f"--protect {pattern!r} matches no parameter. The first one is named {first!r}.")
    return replace(task, protected=(*task.protected, *protect))


def seed_everything(seed: int) -> None:
    """Seed the global random numbers that a builder may draw from; only a command may do this, before it builds."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - builders may draw from the global state
    random.seed(seed)


def make_inputs(words: str, model: nn.Module, *, seed: int = 0) -> Tensor:
    """Return random inputs of a shape written as `8x3x32x32` or `8x128:int64`.

    Floating inputs are standard normal; integers lie below the size of the model's first embedding.

    Raises:
        BuilderError: If the words are no shape, or the type is none.
    """
    shape_words, _, dtype_word = words.partition(":")
    try:
        shape = [int(part) for part in shape_words.lower().split("x")]
    except ValueError:
        shape = []
    if not shape or min(shape) < 1:
        raise BuilderError(f"--input {words!r} is no shape; positive lengths joined by x are needed, like 8x3x32x32.")
    dtype = getattr(torch, dtype_word or "float32", None)
    if not isinstance(dtype, torch.dtype):
        raise BuilderError(f"--input {words!r} names the type {dtype_word!r}, which torch lacks. Try float32 or int64.")
    generator = torch.Generator().manual_seed(seed)
    if dtype.is_floating_point:
        return torch.randn(shape, generator=generator).to(dtype)
    embedding = next((module for module in model.modules() if isinstance(module, nn.Embedding)), None)
    limit = 2 if dtype == torch.bool or embedding is None else embedding.num_embeddings
    return torch.randint(0, limit, shape, generator=generator).to(dtype)


def _find(word: str) -> Any:
    place, colon, name = word.rpartition(":")
    if not colon or not place or not name:
        raise BuilderError(f"{word!r} names no builder. {FORM}")
    module = _module_of_file(Path(place)) if place.endswith(".py") else _module_of_package(place)
    try:
        found: Any = module
        for part in name.split("."):
            found = getattr(found, part)
    except AttributeError as error:
        known = sorted(key for key in vars(module) if not key.startswith("_"))
        raise BuilderError(f"{place!r} has no {name!r}. It has: {', '.join(known) or 'nothing public'}.") from error
    return found


def _module_of_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise BuilderError(f"there is no file {str(path)!r}. {FORM}")
    spec = importlib.util.spec_from_file_location(f"isometry_builder_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise BuilderError(f"{str(path)!r} cannot be imported as Python. {FORM}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and pickling look a class's module up here
    with _importable(path.resolve().parent), _explained(f"importing {str(path)!r}"):
        spec.loader.exec_module(module)
    return module


def _module_of_package(name: str) -> ModuleType:
    with _importable(Path.cwd()):
        try:
            found = importlib.util.find_spec(name)
        except (ImportError, ValueError):
            found = None
        if found is None:
            raise BuilderError(f"there is no module {name!r} to import. {FORM}")
        with _explained(f"importing {name!r}"):
            return importlib.import_module(name)


def _call(word: str, found: Any) -> Any:
    if isinstance(found, nn.Module | Task | tuple) or not callable(found):
        return found
    with _explained(f"the builder {word!r}"):
        return found()


def _task_of(word: str, built: Any, *, input_words: str | None, batch_size: int, seed: int) -> Task:
    if isinstance(built, Task):
        return built
    parts: tuple[Any, ...] = built if isinstance(built, tuple) else (built,)
    if not parts or not isinstance(parts[0], nn.Module) or len(parts) > MAX_PARTS:
        found = type(built).__name__
        if isinstance(built, tuple):
            found = f"a tuple of {', '.join(type(part).__name__ for part in parts) or 'nothing'}"
        raise BuilderError(
            f"{word!r} gives {found}, but a torch.nn.Module, an isometry Task, or a tuple (model, inputs[, targets"
            "[, loss[, optimizer_factory]]]) is needed."
        )
    model, inputs, targets, loss, optimizer_factory = (*parts, *(None,) * (MAX_PARTS - len(parts)))
    if inputs is None and input_words is not None:
        inputs = make_inputs(input_words, model, seed=seed)
    return make_task(
        model, inputs, targets, loss=loss, optimizer_factory=optimizer_factory, batch_size=batch_size, seed=seed
    )


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Let the builder's file import its neighbours."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


@contextmanager
def _explained(doing: str) -> Iterator[None]:
    """Turn what a user's code raises into one sentence with the line it came from."""
    try:
        yield
    except BuilderError:
        raise
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if "importlib" not in frame.filename and "isometry" not in frame.filename]
        place = f" ({own[-1].filename}:{own[-1].lineno})" if own else ""
        raise BuilderError(
            f"{doing} raised {type(error).__name__}: {error}{place}. Make it run by itself in Python first."
        ) from error
