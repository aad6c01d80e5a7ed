"""The records of several processes that trained together, as those of one run."""

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from isometry._errors import RunError
from isometry.probes.running.readings import Fault, LayerReading, ParameterReading, Reading
from isometry.report.run.facts import Event, Extreme, RunFacts, State
from isometry.training.watching.reader import read_run
from isometry.training.watching.records import records_file

WAIT_SECONDS = 30.0  # for the other processes' ends, after this one's; they make the same steps, so moments are enough
BRIEF_SECONDS = 2.0  # likewise, after an end that the others need not share
GLANCE_SECONDS = 0.05  # between two looks at a file's end
LIFE_SECONDS = 1.0  # between two looks whether the process still lives
TAIL_BYTES = 65_536  # of a file, that hold its last line if this is an end
WORST_FIRST: tuple[State, ...] = ("failed", "lost", "interrupted", "stopped", "finished")
STAGES = ("forward", "loss", "backward", "update")  # the earlier a fault is seen, the nearer it is to its origin
EXTREMES = ("activation_rms", "zero_share", "saturated_share", "dead_share", "logit_max")


def merged_run(folder: str | os.PathLike[str], own: RunFacts, *, wait_seconds: float = WAIT_SECONDS) -> RunFacts:
    """Return the run of all processes as one, from the records that each has left in the folder.

    No process is asked for anything, so that one which died or hangs keeps nobody waiting for longer than
    `wait_seconds`. They have to write into the same folder; the run says of one that did not that its records are
    missing.

    Args:
        folder: Of the run.
        own: The run as the first process knows it, which has ended.
        wait_seconds: For the others' ends; no more than two if this one failed.

    Returns:
        What `merge` makes of them.
    """
    has_broken_off = own.state in {"failed", "interrupted"}  # then the others may wait for this one
    limit = time.monotonic() + (min(wait_seconds, BRIEF_SECONDS) if has_broken_off else wait_seconds)
    ranks = range(1, own.num_ranks)
    for rank in ranks:
        _wait_for_end(folder, rank, limit)
    return merge([own, *(_read(folder, rank) for rank in ranks)])


def merge(runs: Sequence[RunFacts | None]) -> RunFacts:
    """Return the facts of several processes as those of one run.

    Args:
        runs: By rank; the first is there, of others None says that they left no records.

    Returns:
        Losses and shares averaged, root mean squares over all of them, and the worst values with the process that saw
        them. Each event is there once, and each fault as the process knows it that was nearest to its origin. The state
        is the worst of all.
    """
    own = runs[0]
    assert own is not None, "the process that merges has its own facts"
    known = {rank: facts for rank, facts in enumerate(runs) if facts is not None}
    state, reason = _end_of(runs)
    return replace(
        own,
        state=state,
        reason=reason,
        readings=tuple(_readings(list(known.values()))),
        events=tuple(_events(known)),
        faults=tuple(_faults(known)),
        extremes=tuple(_extremes(known)),
        num_unread=sum(facts.num_unread for facts in known.values()),
    )


def _wait_for_end(folder: str | os.PathLike[str], rank: int, limit: float) -> None:
    """Wait until a process's records end, or the process does, or it is late."""
    path = Path(folder) / records_file(rank)
    next_look = time.monotonic() + LIFE_SECONDS
    while not _has_end(path) and time.monotonic() < limit:
        if time.monotonic() > next_look:
            with suppress(RunError):
                if read_run(folder, rank=rank).state == "lost":
                    return
            next_look = time.monotonic() + LIFE_SECONDS
        time.sleep(GLANCE_SECONDS)


def _has_end(path: Path) -> bool:
    try:
        with path.open("rb") as written:
            written.seek(max(0, written.seek(0, os.SEEK_END) - TAIL_BYTES))
            last = written.read().rstrip(b"\n").rpartition(b"\n")[-1]
    except OSError:  # not there yet, or on another machine's disk
        return False
    return b'"kind":"end"' in last


def _read(folder: str | os.PathLike[str], rank: int) -> RunFacts | None:
    try:
        facts = read_run(folder, rank=rank)
    except RunError:
        return None
    return replace(facts, state="lost", reason="had not ended by then") if facts.state == "running" else facts


def _end_of(runs: Sequence[RunFacts | None]) -> tuple[State, str]:
    """Return the worst state, and why; the first process's own if they are alike."""
    ends: list[tuple[State, str]] = [
        ("lost", "left no records in this folder") if facts is None else (facts.state, facts.reason) for facts in runs
    ]
    rank = min(range(len(ends)), key=lambda each: (WORST_FIRST.index(ends[each][0]), each))
    state, reason = ends[rank]
    if rank == 0:
        return state, reason
    return state, f"process {rank} of {len(runs)}: {reason or state}"


def _readings(runs: Sequence[RunFacts]) -> Iterator[Reading]:
    """Yield the steps that the first process recorded, with what the others recorded of them."""
    tables = [{reading.step: reading for reading in facts.readings} for facts in runs[1:]]
    for reading in runs[0].readings:
        alike = [reading, *(table[reading.step] for table in tables if reading.step in table)]
        yield replace(
            reading,
            losses=_mean_losses([each.losses for each in alike]),
            layers=_layers([each.layers for each in alike]),
            parameters=_parameters([each.parameters for each in alike]),
            nonfinite=tuple(dict.fromkeys(name for each in alike for name in each.nonfinite)),
        )


def _mean_losses(rows: Sequence[tuple[float, ...]]) -> tuple[float, ...]:
    same = [row for row in rows if len(row) == len(rows[0])]  # a resumed process may have recorded more before
    return tuple(sum(column) / len(column) for column in zip(*same, strict=True))


def _layers(rows: Sequence[tuple[LayerReading, ...]]) -> tuple[LayerReading, ...]:
    tables = [{layer.name: layer for layer in row} for row in rows]
    alike = ([table[layer.name] for table in tables if layer.name in table] for layer in rows[0])
    return tuple(
        LayerReading(
            name=each[0].name,
            kind=each[0].kind,
            activation_rms=_combined(each, "activation_rms", _root_mean_square),
            zero_share=_combined(each, "zero_share", _mean),
            saturated_share=_combined(each, "saturated_share", _mean),
            dead_share=_combined(each, "dead_share", min),  # a unit that lives on one process is not dead
            logit_max=_combined(each, "logit_max", max),
            difference=_combined(each, "difference", max),  # rows are compared with those of the same process alone
            is_output=any(layer.is_output for layer in each),
        )
        for each in alike
    )


def _parameters(rows: Sequence[tuple[ParameterReading, ...]]) -> tuple[ParameterReading, ...]:
    tables = [{parameter.name: parameter for parameter in row} for row in rows]
    alike = ([table[parameter.name] for table in tables if parameter.name in table] for parameter in rows[0])
    return tuple(
        ParameterReading(
            name=each[0].name,
            weight_rms=_combined(each, "weight_rms", _root_mean_square),
            gradient_rms=_combined(each, "gradient_rms", _root_mean_square),
            update_rms=_combined(each, "update_rms", _root_mean_square),
            trust_ratio=_combined(each, "trust_ratio", _mean),
            sampled=each[0].sampled,
        )
        for each in alike
    )


def _combined(
    readings: Sequence[LayerReading] | Sequence[ParameterReading],
    field: str,
    combine: Callable[[list[float]], float],
) -> float | None:
    values = [value for each in readings if (value := getattr(each, field)) is not None]
    return combine(values) if values else None


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _root_mean_square(values: list[float]) -> float:
    return values[0] if len(set(values)) == 1 else math.sqrt(_mean([value**2 for value in values]))


def _events(known: Mapping[int, RunFacts]) -> Iterator[Event]:
    """Yield each process's events in the order of their steps, one that several had once."""
    first: dict[tuple[str, tuple[str, ...]], list[int]] = {}
    every = known[0].every
    ordered = sorted(((event, rank) for rank, facts in known.items() for event in facts.events), key=_by_step)
    for event, rank in ordered:
        seen = first.setdefault((event.finding.code, event.finding.where), [])
        if not seen or event.step - seen[-1] > every:
            yield replace(event, rank=rank)
        seen.append(event.step)


def _by_step(ranked: tuple[Event, int]) -> tuple[int, int]:
    event, rank = ranked
    return event.step, rank


def _faults(known: Mapping[int, RunFacts]) -> Iterator[Fault]:
    """Yield one fault a step: that of the process which saw it earliest on the way from data to weights."""
    by_step: dict[int, list[tuple[int, Fault]]] = {}
    for rank, facts in known.items():
        for fault in facts.faults:
            by_step.setdefault(fault.step, []).append((rank, fault))
    for _, faults in sorted(by_step.items()):
        rank, fault = min(faults, key=lambda each: (STAGES.index(each[1].during), not each[1].operation, each[0]))
        yield replace(fault, rank=rank)


def _extremes(known: Mapping[int, RunFacts]) -> Iterator[Extreme]:
    """Yield the largest value of each quantity that any process saw, and where."""
    for quantity in EXTREMES:
        seen = [
            Extreme(quantity=quantity, value=value, where=layer.name, step=reading.step, rank=rank)
            for rank, facts in known.items()
            for reading in facts.readings
            for layer in reading.layers
            if (value := getattr(layer, quantity)) is not None
        ]
        if seen:
            yield max(seen, key=_size)
    losses = [
        Extreme(quantity="loss", value=loss, where="", step=reading.step, rank=rank)
        for rank, facts in known.items()
        for reading in facts.readings
        for loss in reading.losses[-1:]
    ]
    if losses:
        yield max(losses, key=_size)


def _size(extreme: Extreme) -> float:
    return math.inf if math.isnan(extreme.value) else extreme.value
