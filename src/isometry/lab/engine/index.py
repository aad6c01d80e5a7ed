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

COLUMNS = ("id", "name", "function", "state", "started", "seconds", "error", "config", "result")
INDEX = "index.sqlite"


def build_index(root: Path) -> Path:
    """Write the index of all trials under a folder anew, beside them.

    Config and result are JSON, for SQLite's `json_extract`: `select json_extract(config, '$.seed') from trials`. What
    trials told on their way is in the table `metrics`: `id`, `line` from 0 on, `name`, `value`.

    Args:
        root: The folder of all trials.

    Returns:
        The file, `index.sqlite`.

    Raises:
        LabError: If there are no trials.
        OutputError: If it cannot be written.
    """
    rows = list(_rows(root))

    def write(path: Path) -> None:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(f"create table trials ({', '.join(COLUMNS)}, primary key (id))")
            marks = ", ".join("?" * len(COLUMNS))
            connection.executemany(f"insert or ignore into trials values ({marks})", rows)  # noqa: S608 - question marks alone
            connection.execute("create table metrics (id, line, name, value)")
            connection.executemany("insert into metrics values (?, ?, ?, ?)", _metrics(root, (row[0] for row in rows)))

    place = root / INDEX
    write_atomically(place, write)
    return place


def export_parquet(root: Path, path: Path) -> None:
    """Write all trials under a folder as one Parquet table, with a column a number or word of the configuration.

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
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in _rows(root)]
    flat = [row | {f"config.{key}": value for key, value in _scalars(json.loads(row["config"]))} for row in rows]
    names = list(dict.fromkeys(name for row in flat for name in row))
    table = pa.table({name: [row.get(name) for row in flat] for name in names})
    write_atomically(path, lambda place: parquet.write_table(table, place))


def _rows(root: Path) -> Iterator[tuple[Any, ...]]:
    records = list(read_records(root))
    if not records:
        raise LabError(f"{str(root)!r} holds no trials. Give the folder that `isometry lab run` wrote.")
    yield from map(_row, records)


def _row(record: Record) -> tuple[Any, ...]:
    trial = record.trial
    config = json.dumps(dict(trial.config), sort_keys=True)
    result = None if record.result is None else json.dumps(record.result)
    times = (record.started, record.seconds)
    return record.id, trial.name, trial.function, record.state, *times, record.error, config, result


def _metrics(root: Path, trials: Iterable[str]) -> Iterator[tuple[str, int, str, float]]:
    for trial in trials:
        for number, line in enumerate(read_metrics(root / trial)):
            yield from ((trial, number, name, value) for name, value in line.items())


def _scalars(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yield the numbers and words of a configuration under dotted names; lists as JSON."""
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _scalars(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", json.dumps(value) if isinstance(value, list) else value
