"""Settings of an experiment: as a frozen dataclass, as words on a command line, and as JSON in a record."""

import math
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass, replace
from typing import Any, Literal, cast

from isometry._errors import IsometryError, LabError

TRUTHS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
NONE = "none"


def assigned(settings: Any, words: Sequence[str], *, owner: str) -> Any:
    """Return settings with some set otherwise.

    Args:
        settings: A frozen dataclass; one inside another is reached with a dot.
        words: Such as `width=64`; `widths=8,16` for several; `hidden=64,64;32` for several of several; `decay=none`.
        owner: Whose settings they are, for errors.

    Raises:
        LabError: If a setting is unknown, or a value is not of its kind or cannot be meant.
    """
    usual = settings
    for word in words:
        name, equals, value = word.partition("=")
        known = dict(_kinds(settings))
        if not equals or name not in known:
            raise LabError(
                f"--set {word!r} names no setting of {owner}. Write name=value, with one of: {', '.join(known)}."
            )
        try:
            settings = _with(settings, name.split("."), _parsed(value, known[name]))
        except IsometryError as error:  # of the settings themselves
            raise LabError(f"--set {word!r} cannot be meant: {error}") from error
        except (TypeError, ValueError) as error:
            raise LabError(f"--set {word!r}: the value must be {_told(known[name])}.") from error
    require_like(settings, usual, owner=owner)
    return settings


def require_like(settings: Any, usual: Any, *, owner: str) -> None:
    """Refuse settings that leave nothing to measure: no layers, no images, no rates to try.

    Args:
        settings: A frozen dataclass.
        usual: The same kind: counts that are positive in it must be so, and what is several in it at least one.
        owner: Whose settings they are, for the error.

    Raises:
        LabError: If they do.
    """
    for name in dict(_kinds(settings)):
        value, model = (_at(each, name.split(".")) for each in (settings, usual))
        if lack := _lack(value, model):
            raise LabError(f"{name}={_written(value)} cannot be meant for {owner}: {lack}.")


def as_config(settings: Any) -> dict[str, Any]:
    """Return settings as JSON holds them."""
    return _thawed(asdict(settings))


def from_config(default: Any, config: Mapping[str, Any], *, owner: str) -> Any:
    """Return the settings that a record holds; those it lacks are the default's.

    Raises:
        LabError: If it holds settings that do not exist.
    """
    try:
        return _rebuilt(default, config)
    except (AttributeError, TypeError, ValueError) as error:
        raise LabError(f"a record of {owner} has settings it does not know ({error}). Run it again.") from error


def changes(settings: Any, default: Any) -> Iterator[str]:
    """Yield what is set otherwise than in the default, as words for a command line."""
    for name in dict(_kinds(settings)):
        value, usual = (_at(each, name.split(".")) for each in (settings, default))
        if value != usual:
            yield f"{name}={_written(value)}"


def words_of(settings: Any) -> dict[str, str]:
    """Return the values of all settings, as they are written on a command line."""
    return {name: _written(_at(settings, name.split("."))) for name in dict(_kinds(settings))}


def _kinds(settings: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the names of settings, dotted inside of others, and what each may be."""
    hints = typing.get_type_hints(type(settings))
    for field in fields(settings):
        value = getattr(settings, field.name)
        if is_dataclass(value):
            yield from _kinds(value, f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}", hints[field.name]


def _lack(value: Any, usual: Any) -> str:
    """Return in words what a value lacks that the usual one has; empty if nothing."""
    if isinstance(usual, tuple) and isinstance(value, tuple):
        parts, usual_parts = cast("tuple[Any, ...]", value), cast("tuple[Any, ...]", usual)
        if usual_parts and not parts:
            return "at least one is needed"
        least = min(usual_parts, key=_is_count, default=None)
        return next((lack for part in parts if (lack := _lack(part, least))), "")
    if _is_count(usual) and _is_whole(value) and value < 1:
        return "it counts something, and must be at least 1"
    return ""


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return _is_whole(value) and value > 0


def _with(settings: Any, path: Sequence[str], value: Any) -> Any:
    if len(path) > 1:
        value = _with(getattr(settings, path[0]), path[1:], value)
    return replace(settings, **{path[0]: value})


def _at(settings: Any, path: Sequence[str]) -> Any:
    for name in path:
        settings = getattr(settings, name)
    return settings


def _parsed(word: str, kind: Any) -> Any:
    """Return the value that a word stands for, or raise ValueError."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in {typing.Union, types.UnionType}:
        return _parsed_as_one_of(word, inner)
    if origin is Literal:
        chosen = [choice for choice in inner if str(choice) == word]
        return chosen[0] if chosen else _refuse(word)
    if origin is tuple:
        return _parsed_parts(word, inner)
    if kind is bool:
        return TRUTHS[word.lower()] if word.lower() in TRUTHS else _refuse(word)
    value = kind(word)
    return value if not isinstance(value, float) or math.isfinite(value) else _refuse(word)


def _parsed_as_one_of(word: str, kinds: Sequence[Any]) -> Any:
    if types.NoneType in kinds and word.lower() == NONE:
        return None
    for kind in kinds:
        if kind is not types.NoneType:
            try:
                return _parsed(word, kind)
            except ValueError:
                continue
    return _refuse(word)


def _parsed_parts(word: str, kinds: Sequence[Any]) -> tuple[Any, ...]:
    is_nested = any(typing.get_origin(kind) is tuple for kind in kinds)
    parts = word.split(";" if is_nested else ",") if word else []
    if kinds[-1] is Ellipsis:
        return tuple(_parsed(part, kinds[0]) for part in parts)
    return tuple(_parsed(part, kind) for part, kind in zip(parts, kinds, strict=True))


def _refuse(word: str) -> Any:
    raise ValueError(word)


def _told(kind: Any) -> str:
    """Return in words what a setting may be."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in {typing.Union, types.UnionType}:
        return " or ".join(NONE if each is types.NoneType else _told(each) for each in inner)
    if origin is Literal:
        return f"one of {', '.join(map(str, inner))}"
    if origin is tuple and inner[-1] is not Ellipsis:
        return f"{' and '.join(map(_told, inner))}, with a comma between them"
    if origin is tuple:
        mark = "semicolons" if typing.get_origin(inner[0]) is tuple else "commas"
        return f"several, with {mark} between them, each {_told(inner[0])}"
    named = {int: "a whole number", float: "a finite number", bool: "true or false", str: "a word"}
    return named.get(kind, f"a {getattr(kind, '__name__', kind)}")


def _written(value: Any) -> str:
    """Return a value as it is written on a command line."""
    if isinstance(value, tuple):
        parts: tuple[Any, ...] = value
        return (";" if any(isinstance(part, tuple) for part in parts) else ",").join(map(_written, parts))
    return NONE if value is None else str(value)


def _rebuilt(default: Any, config: Mapping[str, Any]) -> Any:
    parts = {
        name: _rebuilt(getattr(default, name), value) if isinstance(value, Mapping) else _frozen(value)
        for name, value in config.items()
    }
    return replace(default, **parts)


def _thawed(value: Any) -> Any:
    return _mapped(value, tuple, list)


def _frozen(value: Any) -> Any:
    return _mapped(value, list, tuple)


def _mapped(value: Any, old: type[Any], new: Callable[[Any], Any]) -> Any:
    """Return a value with all sequences of one type made into another, however deep."""
    if isinstance(value, dict):
        return {name: _mapped(part, old, new) for name, part in value.items()}
    return new(_mapped(part, old, new) for part in value) if isinstance(value, old) else value
