"""What `check` finds in the suite's faulty programs and says of the sound ones; and whether they are what they seem.

`python -m benchmarks.suite verify` trains every program, `python -m benchmarks.suite table` checks each; two seeds.
Both print a section of docs/explain/recall.md, and write it there with `--write`. `--only WORD` takes a part.
"""

import argparse
import math
import platform
import statistics
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch

from isometry.anatomy.task import Task
from tests.suite import programs
from tests.suite.case import FAULTY, SOUND
from tests.suite.measuring import Verdict, verdict_of
from tests.suite.training import Metric, evaluated, is_learnt, train

PAGE = Path(__file__).parents[1] / "docs" / "explain" / "recall.md"
SEEDS = (0, 1)
WORKERS = 2
FAILING_GAP = 0.25  # share of the twin's progress that the faulty one is short of, dimensionless
SMALL_GAP, FAILING_RATIO = 0.1, 2.0  # or a smaller share, where the faulty one ends at a multiple of its twin

assert programs  # reading it has entered all programs into the tables


@dataclass(frozen=True, slots=True)
class Run:
    """A training: the user's number before and after, and the error that ended it early, if one did."""

    start: float
    end: float
    error: str = ""

    @property
    def shown(self) -> str:
        return self.error or f"{self.start:.3g} → {self.end:.3g}"


def run(build: Callable[[], Task], *, steps: int, metric: Metric, seed: int) -> Run:
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)
        task = build()
        start = _number(task, metric)
        error = train(task, steps)
        return Run(start, _number(task, metric), error)


def _number(task: Task, metric: Metric) -> float:
    try:
        return evaluated(task, metric)
    except (RuntimeError, ValueError):
        return math.nan


def has_failed(broken: Run, twin: Run) -> bool:
    """Say whether a faulty program fell short of its repaired twin in the same steps."""
    if broken.error or not math.isfinite(broken.end):
        return True
    gap = (broken.end - twin.end) / abs(twin.start - twin.end)
    return gap > FAILING_GAP or (gap > SMALL_GAP and broken.end > FAILING_RATIO * twin.end >= 0)


def verify_faulty(name: str) -> tuple[bool, str]:
    case = FAULTY[name]
    rows, holds = [], True
    for seed in SEEDS:
        broken = run(case.build, steps=case.steps, metric=case.metric, seed=seed)
        twin = run(case.twin, steps=case.steps, metric=case.metric, seed=seed)
        learns = not twin.error and is_learnt(twin.start, twin.end)
        holds &= learns and has_failed(broken, twin)
        rows.append(f"{broken.shown} | {twin.shown}")
    return holds, f"| {name} | {', '.join(sorted(case.labels))} | {case.steps} | {' | '.join(rows)} |"


def verify_sound(name: str) -> tuple[bool, str]:
    case = SOUND[name]
    runs = [run(case.build, steps=case.steps, metric=case.metric, seed=seed) for seed in SEEDS]
    holds = all(not each.error and is_learnt(each.start, each.end) for each in runs)
    return holds, f"| {name} | {case.steps} | {' | '.join(each.shown for each in runs)} |"


def verify(faulty: list[str], sound: list[str]) -> Iterator[str]:
    """Yield the section on training, line by line."""
    numbers = "from what the user looks at before training → after it"
    yield f"Each program under seeds {SEEDS[0]} and {SEEDS[1]}, {numbers} (lower is better).\n"
    yield "| faulty program | true names | steps | seed 0: faulty | twin | seed 1: faulty | twin |"
    yield "|---|---|--:|---|---|---|---|"
    with ProcessPoolExecutor(WORKERS) as pool:
        wrong = []
        for name, (holds, row) in zip(faulty, pool.map(verify_faulty, faulty), strict=True):
            yield row
            wrong += [] if holds else [name]
        yield "\n| sound program | steps | seed 0 | seed 1 |"
        yield "|---|--:|---|---|"
        for name, (holds, row) in zip(sound, pool.map(verify_sound, sound), strict=True):
            yield row
            wrong += [] if holds else [name]
    yield f"\nNot as claimed: {', '.join(wrong) or 'none'}."


# ---- what check says ----


def check_faulty(name: str) -> list[tuple[Verdict, Verdict]]:
    torch.set_num_threads(1)
    case = FAULTY[name]
    return [(verdict_of(case.build, seed), verdict_of(case.twin, seed)) for seed in SEEDS]


def check_sound(name: str) -> list[Verdict]:
    torch.set_num_threads(1)
    return [verdict_of(SOUND[name].build, seed) for seed in SEEDS]


def table(faulty: list[str], sound: list[str]) -> Iterator[str]:
    """Yield the section on findings, line by line."""
    with ProcessPoolExecutor(WORKERS) as pool:
        checked = dict(zip(faulty, pool.map(check_faulty, faulty), strict=True))
        quiet = dict(zip(sound, pool.map(check_sound, sound), strict=True))
    verdicts = {name: [verdict for verdict, _ in pairs] for name, pairs in checked.items()}
    twins = {name: [twin for _, twin in pairs] for name, pairs in checked.items()}
    yield from _summary(verdicts, twins, quiet)
    yield from _recall_by_name(verdicts)
    yield "\nPrograms without a true leading finding, and what was said of them:\n"
    for name, each in verdicts.items():
        for seed, verdict in zip(SEEDS, each, strict=True):
            if not verdict.has_hit(FAULTY[name]):
                yield f"- {name} (seed {seed}), {'/'.join(sorted(FAULTY[name].labels))}: {_told(verdict)}"
    yield "\nWrong labels on faulty programs:\n"
    for name, each in verdicts.items():
        wrong = Counter(str(said) for verdict in each for said in verdict.wrong(FAULTY[name]))
        yield from (f"- {name}: {text} x{count}" for text, count in wrong.items())
    yield from _alarms("False alarms on sound programs", quiet)
    yield from _alarms("False alarms on the repaired twins", twins)


def _summary(
    verdicts: dict[str, list[Verdict]], twins: dict[str, list[Verdict]], quiet: dict[str, list[Verdict]]
) -> Iterator[str]:
    pairs = [(FAULTY[name], verdict) for name, each in verdicts.items() for verdict in each]
    hits = [verdict.has_hit(case) for case, verdict in pairs]
    blamed = [verdict.has_blamed(case) for case, verdict in pairs if case.modules and verdict.has_hit(case)]
    wrong = [len(verdict.wrong(case)) for case, verdict in pairs]
    yield f"Each of {len(verdicts)} faulty programs, their twins and {len(quiet)} sound programs under two seeds.\n"
    yield "| what | measured |"
    yield "|---|--:|"
    yield f"| a true name leads | {_share(hits)} |"
    yield f"| a right module is named, of the hits whose fault has a place | {_share(blamed)} |"
    yield f"| wrong labels a program | {statistics.mean(wrong or [0]):.2f} |"
    for what, group in (("sound programs", quiet), ("twins", twins)):
        alarms = [bool(verdict.said) for each in group.values() for verdict in each]
        yield f"| {what} with an alarm | {_share(alarms)} |"
    everything = [*verdicts.values(), *twins.values(), *quiet.values()]
    yield f"| crashes | {sum(bool(verdict.crash) for each in everything for verdict in each)} |"


def _share(flags: list[bool]) -> str:
    return f"{sum(flags)} of {len(flags)} ({100 * sum(flags) / max(len(flags), 1):.0f} %)"


def _recall_by_name(verdicts: dict[str, list[Verdict]]) -> Iterator[str]:
    """Programs count under the first of their true names, the one they were written for."""
    flags: defaultdict[str, list[bool]] = defaultdict(list)
    for name, each in verdicts.items():
        flags[FAULTY[name].first].extend(verdict.has_hit(FAULTY[name]) for verdict in each)
    yield "\n| written for | found |"
    yield "|---|--:|"
    yield from (f"| {label} | {sum(found)} of {len(found)} |" for label, found in sorted(flags.items()))


def _told(verdict: Verdict) -> str:
    return verdict.crash or ", ".join(str(said) for said in verdict.said) or "nothing"


def _alarms(title: str, verdicts: dict[str, list[Verdict]]) -> Iterator[str]:
    yield f"\n{title}:\n"
    rows = [
        f"- {name} (seed {seed}): {_told(verdict)}"
        for name, each in verdicts.items()
        for seed, verdict in zip(SEEDS, each, strict=True)
        if verdict.said or verdict.crash
    ]
    yield from rows or ["None."]


# ---- the page ----


def write(section: str, lines: Iterable[str]) -> None:
    """Put lines in place of a section of the page, between its two comments."""
    text = PAGE.read_text(encoding="utf-8")
    start, end = f"<!-- {section} -->\n", f"<!-- end of {section} -->\n"
    before, rest = text.split(start)
    after = rest.split(end)[1]
    PAGE.write_text(before + start + "\n".join(lines) + "\n" + end + after, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("section", choices=("verify", "table"))
    parser.add_argument("--only", default="")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    chosen: list[list[str]] = [[name for name in each if options.only in name] for each in (FAULTY, SOUND)]
    make = verify if options.section == "verify" else table
    lines = [f"`python -m benchmarks.suite {options.section}`, torch {torch.__version__}, {platform.machine()}.\n"]
    print(lines[0], flush=True)
    for line in make(*chosen):
        print(line, flush=True)
        lines.append(line)
    if options.write:
        write(options.section, lines)


if __name__ == "__main__":
    main()
