"""From the word MODEL on the command line to a task: finds the builder, calls it, reads what it returned."""

import difflib
import fnmatch
import importlib
import importlib.util
import inspect
import random
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from isometry._errors import BuilderError, IsometryError, describe
from isometry._phrases import Phrase
from isometry.anatomy.names import names_of
from isometry.anatomy.task import DEFAULT_BATCH_SIZE, Task, make_task

MAX_PARTS = 5  # model, inputs, targets, loss, optimizer_factory
MAX_NAMES_SHOWN = 12  # of a module, in an error message
FORM = "Write path/to/file.py:name or package.module:name."
NEEDED = "a torch.nn.Module, an isometry Task, or a tuple (model, inputs[, targets[, loss[, optimizer_factory]]])"


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

    Returns:
        The task; its model is the builder's own, not a copy.

    Raises:
        BuilderError: If the word leads nowhere, or to something else than a task.
    """
    with _built(word) as built:
        task = _task_of(word, built, input_words=input_words, batch_size=batch_size, seed=seed)
    names = names_of(task.model)
    for pattern in protect:
        _require_match(pattern, [*names.parameters, *(name for ties in names.ties.values() for name in ties)])
    return replace(task, protected=(*task.protected, *protect))


@contextmanager
def named(word: str) -> Generator[Any]:
    """Hand over the thing that a word names as it is, while the folder of its file can be imported from.

    Args:
        word: `path/to/file.py:name` or `package.module:name`.

    Yields:
        A builder that takes arguments, for instance.

    Raises:
        BuilderError: If the word leads nowhere.
    """
    place, colon, name = word.rpartition(":")
    if not colon or not place or not name:
        raise BuilderError(f"{word!r} names no builder. {FORM}")
    with _importable(Path(place).resolve().parent if place.endswith(".py") else Path.cwd()):
        module = _module_of_file(Path(place)) if place.endswith(".py") else _module_of_package(place)
        yield _find(module, place, name)


def load_model(word: str) -> nn.Module:
    """Return the model that a MODEL word leads to; unlike `load_task` it needs no inputs.

    Args:
        word: As for `load_task`.

    Returns:
        The model itself, not a copy.

    Raises:
        BuilderError: If the word leads nowhere, or to something without a model.
    """
    with _built(word) as built:
        model = built.model if isinstance(built, Task) else _parts_of(word, built)[0]
    return getattr(model, "_orig_mod", model)


def load_task_or_model(word: str, *, input_words: str | None = None, seed: int = 0) -> Task | nn.Module:
    """Return the task that a MODEL word leads to, or the model alone where neither the builder nor the user has inputs.

    Args:
        word: As for `load_task`.
        input_words: As for `load_task`.
        seed: Seed of the batch that is made or chosen.

    Returns:
        What was found; the model is the builder's own, not a copy.

    Raises:
        BuilderError: If the word leads nowhere, or to something without a model.
    """
    with _built(word) as built:
        if input_words is not None or isinstance(built, Task) or len(_parts_of(word, built)) > 1:
            return _task_of(word, built, input_words=input_words, batch_size=DEFAULT_BATCH_SIZE, seed=seed)
        model = _parts_of(word, built)[0]
    return getattr(model, "_orig_mod", model)


def seed_everything(seed: int) -> None:
    """Seed the global random numbers that a builder may draw from; only a command may do this, before it builds."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - builders may draw from the global state
    random.seed(seed)


def make_inputs(words: str, model: nn.Module, *, seed: int = 0) -> Tensor:
    """Return random inputs of a shape written as `8x3x32x32` or `8x128:int64`.

    Args:
        words: Lengths joined by x, and a type of torch after a colon; float32 without one.
        model: The model they are for.
        seed: Seed of the numbers.

    Returns:
        Floating inputs are standard normal; integers lie below the size of the model's first embedding.

    Raises:
        BuilderError: If the words are no shape, the type is none, or memory does not hold them.
    """
    shape_words, _, dtype_word = words.partition(":")
    lengths = shape_words.lower().split("x")
    if not all(length.isdecimal() and int(length) > 0 for length in lengths):
        raise BuilderError(f"--input {words!r} is no shape. Write positive lengths joined by x, like 8x3x32x32.")
    dtype = getattr(torch, dtype_word.removeprefix("torch.") or "float32", None)
    if not isinstance(dtype, torch.dtype):
        raise BuilderError(f"--input {words!r} names the type {dtype_word!r}, which torch lacks. Try float32 or int64.")
    try:
        return _draw([int(length) for length in lengths], dtype, model, seed=seed)
    except (RuntimeError, MemoryError, TypeError) as error:
        raise BuilderError(
            f"--input {words!r} cannot be made: {describe(error)}. Write fewer examples, or another type."
        ) from error


def _draw(shape: list[int], dtype: torch.dtype, model: nn.Module, *, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    if dtype.is_floating_point or dtype.is_complex:
        return torch.randn(shape, generator=generator).to(dtype).to(device)
    embedding = next((module for module in model.modules() if isinstance(module, nn.Embedding)), None)
    limit = 2 if dtype == torch.bool or embedding is None else embedding.num_embeddings
    limit = limit if dtype == torch.bool else min(limit, torch.iinfo(dtype).max)
    return torch.randint(0, limit, shape, generator=generator).to(dtype).to(device)


def _find(module: ModuleType, place: str, name: str) -> Any:
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            raise BuilderError(f"{place!r} has no {name!r}.{_known_names(module, name)}")
        found = getattr(found, part)
    return found


def _known_names(module: ModuleType, name: str) -> str:
    """Return a sentence on what a module defines itself, the nearest name first."""
    own = [
        key
        for key, value in vars(module).items()
        if not key.startswith("_")
        and not isinstance(value, ModuleType)
        and getattr(value, "__module__", module.__name__) in {module.__name__, type(value).__module__}
    ]
    near = difflib.get_close_matches(name, own, n=1)
    shown = ", ".join(own[:MAX_NAMES_SHOWN]) + (", …" if len(own) > MAX_NAMES_SHOWN else "")
    return (f" Did you mean {near[0]!r}?" if near else "") + f" It defines: {shown or 'nothing public'}."


def _module_of_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise BuilderError(f"there is {'a folder but ' if path.is_dir() else ''}no file {str(path)!r}. {FORM}")
    spec = importlib.util.spec_from_file_location(f"isometry_builder_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None  # the name ends in .py
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and pickling look a class's module up here
    with _explained(f"importing {str(path)!r}", "Make it run by itself first: python " + str(path)):
        # Not through the cache of bytecode, which takes a file that was changed within a second for the old one.
        code = compile(path.read_bytes(), str(path), "exec")
        exec(code, module.__dict__)  # noqa: S102 - the user's own file, which the user asks to run
    return module


def _module_of_package(name: str) -> ModuleType:
    if Path(name).exists() or "/" in name:
        kind = "a folder" if Path(name).is_dir() else "no Python file (its name does not end in .py)"
        raise BuilderError(f"{name!r} is {kind if Path(name).exists() else 'no module'}. {FORM}")
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        found = None
    if found is None:
        raise BuilderError(f"there is no module {name!r} to import, here or installed. {FORM}")
    with _explained(f"importing {name!r}", f"Make it run by itself first: python -c 'import {name}'"):
        return importlib.import_module(name)


def _call(word: str, found: Any) -> Any:
    if isinstance(found, nn.Module | Task | tuple) or not callable(found):
        return found
    try:
        inspect.signature(found).bind()
    except TypeError as error:
        function = getattr(found, "__name__", "it")
        raise BuilderError(
            f"the builder {word!r} needs arguments: {error}; it is called without any. Write a function that takes "
            f"none and returns {function}(...), or give the arguments defaults."
        ) from error
    except ValueError:
        pass  # some callables written in C have no signature; calling them tells
    with _explained(f"the builder {word!r}", "Call it by itself in Python first"):
        return found()


def _task_of(word: str, built: Any, *, input_words: str | None, batch_size: int, seed: int) -> Task:
    unused = (
        ()
        if input_words is None
        else (Phrase("--input {words} was not used: the builder gives inputs.", words=input_words),)
    )
    if isinstance(built, Task):
        return replace(built, warnings=built.warnings + unused)
    parts = _parts_of(word, built)
    model: nn.Module = parts[0]
    inputs, targets, loss, optimizer_factory = (*parts[1:], *(None,) * (MAX_PARTS - len(parts)))
    if inputs is None and input_words is not None:
        inputs, unused = make_inputs(input_words, model, seed=seed), ()
    with _explained(f"taking a batch from what {word!r} gives", "Take one by itself in Python first"):
        task = make_task(
            model, inputs, targets, loss=loss, optimizer_factory=optimizer_factory, batch_size=batch_size, seed=seed
        )
    return replace(task, warnings=task.warnings + unused)


def _parts_of(word: str, built: Any) -> tuple[Any, ...]:
    parts: tuple[Any, ...] = built if isinstance(built, tuple) else (built,)
    if not parts or not isinstance(parts[0], nn.Module) or len(parts) > MAX_PARTS:
        raise BuilderError(f"{word!r} gives {_told(built)}, but {NEEDED} is needed.{_hint(built)}")
    return parts


def _told(built: Any) -> str:
    if isinstance(built, tuple | list):
        parts = ", ".join(_told(part) for part in built) or "nothing"
        return f"a {type(built).__name__} of {len(built)}: {parts}" if built else f"an empty {type(built).__name__}"
    if built is None:
        return "None"
    return f"the class {built.__name__}" if isinstance(built, type) else type(built).__name__


def _hint(built: Any) -> str:
    if built is None:
        return " Does the builder end in `return`?"
    if isinstance(built, list) and built and isinstance(built[0], nn.Module):
        return " Return a tuple instead of a list."
    if isinstance(built, tuple) and len(built) > MAX_PARTS:
        return f" At most {MAX_PARTS} parts have a meaning."
    if isinstance(built, tuple) and any(isinstance(part, nn.Module) for part in built):
        return " The model comes first."
    first = built[0] if isinstance(built, tuple) and built else built
    if isinstance(first, type) and issubclass(first, nn.Module):
        return f" Make an instance: {first.__name__}(...)."
    return ""


def _require_match(pattern: str, names: list[str]) -> None:
    if not fnmatch.filter(names, pattern):
        near = difflib.get_close_matches(pattern, names, n=1, cutoff=0.5) or names[:1]
        raise BuilderError(
            f"--protect {pattern!r} matches none of the {len(names)} parameters"
            + (f"; one of them is named {near[0]!r}. " if near else ". ")
            + "Patterns match whole names, * stands for any letters."
        )


@contextmanager
def _built(word: str) -> Generator[Any]:
    """Hand over what a builder returns, while the folder of its file can be imported from."""
    with named(word) as found:
        yield _call(word, found)


@contextmanager
def _importable(folder: Path) -> Generator[None]:
    """Let the builder's file import its neighbours, also while it builds."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        if str(folder) in sys.path:  # the file may have changed the path itself
            sys.path.remove(str(folder))


@contextmanager
def _explained(doing: str, advice: str) -> Generator[None]:
    """Turn what a user's code raises into one sentence with the line it came from."""
    try:
        yield
    except IsometryError:
        raise
    except (Exception, SystemExit) as error:
        raised = "called" if isinstance(error, SystemExit) else "raised"
        raise BuilderError(f"{doing} {raised} {describe(error)}. {advice}.") from error
