"""An index of all trials for queries: a SQLite file that is built from the folders and may be thrown away."""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from isometry._errors import LabError, MissingExtraError
from isometry._files import write_atomically
from isometry.lab.engine.records import Record, read_metrics, read_records
from isometry.report.document import plain

COLUMNS = ("id", "name", "function", "state", "started", "seconds", "error", "host", "versions", "config", "result")
INDEX = "index.sqlite"


def build_index(root: Path) -> Path:
    """Write the index of all trials under a folder anew, beside them.

    Versions, config and result are JSON, for SQLite's `json_extract`: `select json_extract(config, '$.seed') from
    trials`; numbers that are not finite are null. What trials told on their way is in the table `metrics`: `id`, `line`
    from 0 on, `name`, `value`.

    Args:
        root: The folder of all trials.

    Returns:
        The file, `index.sqlite`.

    Raises:
        LabError: If there are no trials.
        OutputError: If it cannot be written.
    """
    records = _records(root)

    def write(path: Path) -> None:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(f"create table trials ({', '.join(COLUMNS)}, primary key (id))")
            marks = ", ".join("?" * len(COLUMNS))
            connection.executemany(f"insert into trials values ({marks})", map(_row, records))  # noqa: S608 - question marks alone
            connection.execute("create table metrics (id, line, name, value)")
            connection.executemany("insert into metrics values (?, ?, ?, ?)", _metrics(records))

    place = root / INDEX
    write_atomically(place, write)
    return place


def export_parquet(root: Path, path: Path) -> None:
    """Write all trials under a folder as one Parquet table.

    Each setting has a column `config.NAME`, and each number or word of the result a column `result.NAME`; a column that
    would hold values of several kinds holds all as JSON.

    Args:
        root: The folder of all trials.
        path: The file to write.

    Raises:
        LabError: If there are no trials.
        MissingExtraError: If pyarrow is not installed.
        OutputError: If it cannot be written.
    """
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra
        from pyarrow import parquet  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise MissingExtraError("Parquet needs pyarrow. Install it: pip install 'isometry[lab]'.") from error
    rows = [_flat_row(record) for record in _records(root)]
    names = list(dict.fromkeys(name for row in rows for name in row))
    table = pa.table({name: _of_one_kind([row.get(name) for row in rows]) for name in names})
    write_atomically(path, lambda place: parquet.write_table(table, place))


def _records(root: Path) -> list[Record]:
    records = list(read_records(root))
    if not records:
        raise LabError(f"{str(root)!r} holds no trials. Give the folder that `isometry lab run` wrote.")
    return records


def _row(record: Record) -> tuple[Any, ...]:
    trial, around = record.trial, record.environment
    versions = json.dumps(around.get("versions", {}))
    config = json.dumps(dict(trial.config), sort_keys=True)
    result = None if record.result is None else json.dumps(plain(record.result))
    about = (record.id, trial.name, trial.function, record.state, record.started, record.seconds, record.error)
    return *about, around.get("host"), versions, config, result


def _flat_row(record: Record) -> dict[str, Any]:
    settings = {name: value if _is_scalar(value) else json.dumps(value) for name, value in _leaves(record.trial.config)}
    found = {name: value for name, value in _leaves(record.result or {}) if _is_scalar(value)}
    flat = [(f"config.{name}", value) for name, value in settings.items()]
    flat += [(f"result.{name}", value) for name, value in found.items()]
    return dict(zip(COLUMNS, _row(record), strict=True)) | dict(flat)


def _metrics(records: Iterable[Record]) -> Iterator[tuple[str, int, str, float]]:
    for record in records:
        for number, line in enumerate(read_metrics(record.folder)):
            yield from ((record.id, number, name, value) for name, value in line.items())


def _leaves(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yield what is in a mapping, and in those inside of it, under dotted names."""
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _is_scalar(value: object) -> bool:
    return value is None or isinstance(value, bool | int | float | str)


def _of_one_kind(values: list[Any]) -> list[Any]:
    """Return a column as it is, or as JSON if some of it are numbers and some are words or truths."""
    kinds = {float if type(value) is int else type(value) for value in values if value is not None}
    if len(kinds) <= 1:
        return values
    return [None if value is None else value if isinstance(value, str) else json.dumps(value) for value in values]
