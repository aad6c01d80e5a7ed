"""What a watched training says of sound trainings and of faulty ones: false alarms, faults found, and when.

`python -m benchmarks.watched_runs` runs every training of tests/training over seeds, read at every step and at every
tenth, and prints a table; `--write` puts it into docs/explain/watched-runs.md, `--only WORD` takes a part.
"""

import argparse
import platform
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch

from isometry.findings.watched.judge import judge
from isometry.findings.watched.training import update_ratio
from tests.training import healthy_classifiers, healthy_others, healthy_sequences
from tests.training.faulty import FAULTY
from tests.training.runs import HEALTHY, Make, codes, watched

PAGE = Path(__file__).parents[1] / "docs" / "explain" / "watched-runs.md"
SEEDS = 5
CADENCES = (1, 10)
WORKERS = 2
TITLE = """# Watched runs

What `isometry.watch` says of trainings that are sound, and of faulty ones beside twins without the fault. They stand in
`tests/training`; this page is made by `python -m benchmarks.watched_runs --write`. An alarm is an error or a warning.
Each training is read at every step and at every tenth; seeds of each: {seeds}.

A rule that looks at one number cries wolf, since sound trainings have that number too: rectifiers that are meant
sparse, outputs that saturate because they are right, losses that swing at the edge of stability. So all but a few rules
ask what the loss does. Dead units, saturation and vanishing gradients are faults where the run gains nothing, or loses
again what it had gained; a long step is one after which the loss stands above its start; a swing must follow a rule,
which the noise of batches does not. Levels of the loss are medians of windows, its noise is the spread of differences
between neighbours.

What is not seen: a rate at which the loss leaps about its start without a rhythm, as single samples make it do too; a
network that learns, but less than it could, such as a language model whose loss leaps to four times its start and comes
down to the frequencies of letters within thirty steps; overfitting without evaluations; and in the first fifty steps
most of what tells a fault from a slow start.
"""

assert all((healthy_classifiers, healthy_others, healthy_sequences))  # importing them has filled the table


@dataclass(frozen=True, slots=True)
class Row:
    name: str
    seed: int
    every: int
    steps: int
    start: float
    end: float
    update: float
    found: dict[str, int]
    notes: tuple[str, ...]
    judged: float


def run_sound(job: tuple[str, int, int]) -> Row:
    name, seed, every = job
    return row_of(name, HEALTHY[name], seed=seed, every=every)


def run_pair(job: tuple[str, int, int, bool]) -> Row:
    name, seed, every, is_faulty = job
    return row_of(name, lambda number: FAULTY[name].make(number, is_faulty), seed=seed, every=every)


def row_of(name: str, make: Make, *, seed: int, every: int) -> Row:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    run = watched(make, seed=seed, every=every)
    losses = [loss for _, loss in run.history.losses]
    return Row(
        name=name,
        seed=seed,
        every=every,
        steps=run.steps,
        start=losses[0],
        end=median(losses[-20:]),
        update=median(map(update_ratio, run.history.readings)),
        found=codes(run),
        notes=tuple(sorted({each.finding.code for each in run.facts().events if each.finding.severity == "note"})),
        judged=seconds_of(lambda: judge(run.history)),
    )


def seconds_of(call: Callable[[], object]) -> float:
    times: list[float] = []
    for _ in range(20):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return median(times)


def sound_table(rows: list[Row]) -> Iterator[str]:
    runs, loud = len(rows), sum(bool(row.found) for row in rows)
    yield f"## Sound trainings\n\n{len({row.name for row in rows})} kinds, {runs} runs, {loud} of them with an alarm.\n"
    yield "| training | steps | loss at the start | at the end | update over weight | alarms | notes |"
    yield "|---|--:|--:|--:|--:|---|---|"
    for name in dict.fromkeys(row.name for row in rows):
        mine = [row for row in rows if row.name == name]
        found = sorted({code for row in mine for code in row.found})
        notes = sorted({code for row in mine for code in row.notes})
        first, last, update = (median(getattr(row, what) for row in mine) for what in ("start", "end", "update"))
        told = f"{', '.join(found) or 'none'} | {', '.join(notes) or 'none'}"
        yield f"| {name.replace('-', ' ')} | {mine[0].steps} | {first:.3g} | {last:.3g} | {update:.1e} | {told} |"


def faulty_table(rows: list[Row], twins: list[Row]) -> Iterator[str]:
    loud = sum(bool(row.found) for row in twins)
    seen = sum(FAULTY[row.name].code in row.found for row in rows)
    yield "\n## Faulty trainings\n"
    yield f"The fault was found in {seen} of {len(rows)} runs; of {len(twins)} runs of the twins {loud} had an alarm.\n"
    yield "| training | code | found | at step, read at every step | at every tenth | other alarms |"
    yield "|---|---|--:|--:|--:|---|"
    for name in dict.fromkeys(row.name for row in rows):
        mine, code = [row for row in rows if row.name == name], FAULTY[name].code
        hits = [row for row in mine if code in row.found]
        when = [steps([row.found[code] for row in hits if row.every == every]) for every in CADENCES]
        others = ", ".join(sorted({other for row in mine for other in row.found} - {code})) or "none"
        yield f"| {name.replace('-', ' ')} | {code} | {len(hits)}/{len(mine)} | {when[0]} | {when[1]} | {others} |"


def steps(found: list[int]) -> str:
    if not found:
        return "—"
    return f"{min(found)}" if min(found) == max(found) else f"{min(found)} to {max(found)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--only", default="")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    given = parser.parse_args()
    settings = [(seed, every) for seed in range(given.seeds) for every in CADENCES]
    sound_jobs = [(name, *each) for name in HEALTHY if given.only in name for each in settings]
    pair_jobs = [(name, *each) for name in FAULTY if given.only in name for each in settings]
    with ProcessPoolExecutor(WORKERS) as pool:
        sound = list(pool.map(run_sound, sound_jobs))
        faulty = list(pool.map(run_pair, [(*job, True) for job in pair_jobs]))
        twins = list(pool.map(run_pair, [(*job, False) for job in pair_jobs]))
    lines = [TITLE.format(seeds=given.seeds), *sound_table(sound), *faulty_table(faulty, twins)]
    cost = 1e6 * median(row.judged for row in [*sound, *faulty, *twins])
    versions = f"torch {torch.__version__}, Python {platform.python_version()}"
    lines.append(f"\nA judgement of these runs took {cost:.0f} µs of processor time, in the median. {versions}.")
    for row in [*sound, *twins]:
        if row.found:
            print(f"ALARM {row.name} seed {row.seed} every {row.every}: {row.found}")
    text = "\n".join(lines) + "\n"
    print(text)
    if given.write:
        PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
