"""The lines of a run's records: each entry as one JSON document, and back.

A reading's numbers stand in columns, one for each field, in the order of the names in the `layout` line before it; a
column of which nothing was measured is left out. JSON has no NaN: such numbers are null, and the line's `not_finite`
says by their path what they were. Sentences stand in English; the line's `phrases` holds their templates and values by
their path, so that a run can be read in another language.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, cast

from isometry._phrases import Phrase
from isometry.probes.running.readings import Evaluation, Fault, LayerReading, ParameterReading, Reading
from isometry.report.document import plain
from isometry.report.finding import Finding, Proof, Remedy
from isometry.report.run.facts import Event
from isometry.training.watching.sink import Entry

NAMED = frozenset({"name", "kind", "is_output", "sampled"})  # what the layout line says
LAYER_NUMBERS = tuple(each.name for each in fields(LayerReading) if each.name not in NAMED)
PARAMETER_NUMBERS = tuple(each.name for each in fields(ParameterReading) if each.name not in NAMED)
PLAIN = tuple(each.name for each in fields(Reading) if each.name not in {"layers", "parameters"})
SEPARATOR = "\t"  # between the parts of a path; names of metrics and parameters may hold dots
SPEAKING = frozenset(
    {"event", "fault", "end"}
)  # lines that hold sentences; readings are too many to be searched for some


@dataclass(frozen=True, slots=True)
class Layout:
    """The names that the columns of readings belong to.

    Attributes:
        layers: Name and kind of each layer and whether it is an output, in the order of execution.
        parameters: Name of each parameter and how many of its numbers are looked at, in the order of the model.
    """

    layers: tuple[tuple[str, str, bool], ...] = ()
    parameters: tuple[tuple[str, int | None], ...] = ()

    @classmethod
    def of(cls, reading: Reading) -> "Layout":
        """Return the names of a reading."""
        layers = tuple((layer.name, layer.kind, layer.is_output) for layer in reading.layers)
        return cls(layers, tuple((parameter.name, parameter.sampled) for parameter in reading.parameters))

    @property
    def line(self) -> dict[str, Any]:
        """The line that says so."""
        names, kinds, outputs = ([layer[place] for layer in self.layers] for place in range(3))
        layers = {"layers": names, "layer_kinds": kinds, "layer_is_output": outputs}
        parameters, sampled = ([parameter[place] for parameter in self.parameters] for place in range(2))
        return {"kind": "layout", **layers, "parameters": parameters, "parameter_sampled": sampled}

    @classmethod
    def from_line(cls, line: Mapping[str, Any]) -> "Layout":
        """Return the layout of a line."""
        layers = zip(line["layers"], line["layer_kinds"], line["layer_is_output"], strict=True)
        return cls(tuple(layers), tuple(zip(line["parameters"], line["parameter_sampled"], strict=True)))


def line_of(entry: Entry) -> dict[str, Any]:
    """Return an entry as a line; that of a reading needs its layout before it."""
    match entry:
        case Reading():
            plain = {name: getattr(entry, name) for name in PLAIN}
            layers = _columns(entry.layers, LAYER_NUMBERS)
            parameters = _columns(entry.parameters, PARAMETER_NUMBERS)
            return {"kind": "reading", **plain, "layers": layers, "parameters": parameters}
        case Evaluation():
            return {"kind": "evaluation", "step": entry.step, "epoch": entry.epoch, "metrics": dict(entry.metrics)}
        case Event():
            return {"kind": "event", **asdict(entry)}
        case Fault():
            return {"kind": "fault", **asdict(entry)}


def entry_of(line: Mapping[str, Any], layout: Layout) -> Entry:
    """Return the entry of a line.

    Args:
        line: As `line_of` made it.
        layout: The last one before it.
    """
    given: dict[str, Any] = {name: value for name, value in line.items() if name != "kind"}
    match line["kind"]:
        case "reading":
            return _reading(given, layout)
        case "evaluation":
            return Evaluation(**given)
        case "event":
            given["finding"] = _finding(line["finding"])
            return Event(**given)
        case _:
            return Fault(**given)


def to_text(line: Mapping[str, Any]) -> str:
    """Return a line as strict JSON, with its end of line."""
    phrases = list(_phrases(line, "")) if line["kind"] in SPEAKING else []
    told: dict[str, Any] = {**line, "phrases": phrases} if phrases else dict(line)
    try:
        text = json.dumps(told, allow_nan=False, separators=(",", ":"))
    except ValueError:  # a number is not finite, which is rare
        found = dict(_not_finite(told, ""))
        text = json.dumps(plain({**told, "not_finite": found}), allow_nan=False, separators=(",", ":"))
    return text + "\n"


def from_text(text: str) -> dict[str, Any] | None:
    """Return the line of a text; None for one that was torn when the process was killed."""
    try:
        line = json.loads(text)
    except ValueError:
        return None
    if not isinstance(line, dict):
        return None
    for path, word in cast("dict[str, str]", line.pop("not_finite", {})).items():
        _put(line, path, float(word))
    for path, phrase in cast("list[tuple[str, Any]]", line.pop("phrases", [])):
        _put(line, path, Phrase.of_parts(phrase))
    return cast("dict[str, Any]", line)


def _put(line: Any, path: str, value: object) -> None:
    *way, last = path.split(SEPARATOR)
    for part in way:
        line = line[int(part) if isinstance(line, list) else part]
    line[int(last) if isinstance(line, list) else last] = value


def _phrases(value: object, path: str) -> Iterator[tuple[str, object]]:
    """Yield path, template and values of each sentence."""
    if isinstance(value, Phrase):
        yield path, value.parts
    for place, each in _parts(value):
        yield from _phrases(each, _joined(path, place))


def _columns(rows: Sequence[object], names: tuple[str, ...]) -> dict[str, list[float | None]]:
    columns = {name: [getattr(row, name) for row in rows] for name in names}
    return {name: column for name, column in columns.items() if any(value is not None for value in column)}


def _reading(given: dict[str, Any], layout: Layout) -> Reading:
    layers, parameters = given.pop("layers"), given.pop("parameters")
    tuples: dict[str, Any] = {name: tuple(value) for name, value in given.items() if isinstance(value, list)}
    return Reading(
        **(given | tuples),
        layers=tuple(
            LayerReading(
                name=name, kind=kind, is_output=is_output, **{each: column[row] for each, column in layers.items()}
            )
            for row, (name, kind, is_output) in enumerate(layout.layers)
        ),
        parameters=tuple(
            ParameterReading(name=name, sampled=sampled, **{each: column[row] for each, column in parameters.items()})
            for row, (name, sampled) in enumerate(layout.parameters)
        ),
    )


def _finding(given: Mapping[str, Any]) -> Finding:
    proof = given["proof"]
    parts: dict[str, Any] = {
        "where": tuple(given["where"]),
        "proof": None if proof is None else Proof(**proof),
        "remedy": Remedy(**given["remedy"]),
    }
    return Finding(**(dict(given) | parts))


def _not_finite(value: object, path: str) -> Iterator[tuple[str, str]]:
    """Yield path and word of each number that JSON cannot hold."""
    if isinstance(value, float) and not math.isfinite(value):
        yield path, str(value)
    for place, each in _parts(value):
        yield from _not_finite(each, _joined(path, place))


def _parts(value: object) -> Iterable[tuple[str, object]]:
    if isinstance(value, Mapping):
        return cast("Mapping[str, object]", value).items()
    if isinstance(value, list | tuple):
        return ((str(place), each) for place, each in enumerate(cast("Sequence[object]", value)))
    return ()


def _joined(path: str, place: str) -> str:
    return f"{path}{SEPARATOR}{place}" if path else place
