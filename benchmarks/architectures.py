"""What `check` says of real architectures at their own start, and whether they learn from it.

`python -m benchmarks.architectures` checks every model of tests/suite/architectures*.py, trains it for a few steps of
Adam on its batch, and prints a table; `--write` puts it into docs/explain/architectures.md, `--only WORD` takes a part.
"""

import argparse
import logging
import platform
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch

from tests.suite import architectures_graph, architectures_text, architectures_vision
from tests.suite.architecture import ARCHITECTURES
from tests.suite.measuring import verdict_of
from tests.suite.training import evaluated, is_learnt, loss_while_training, train

PAGE = Path(__file__).parents[1] / "docs" / "explain" / "architectures.md"
STEPS = 40  # of Adam on one batch, with which nearly all of these models visibly learn
WORKERS = 2
TITLE = """# Real architectures

Small configurations of classes of `transformers` and `torch_geometric`, at the initialisation they come with, on random
but sensible inputs. An alarm is an error or a warning; the loss is that of the batch before and after a short training.
"""

TABLES = (architectures_graph, architectures_text, architectures_vision)  # reading them has filled the table


@dataclass(frozen=True, slots=True)
class Row:
    name: str
    parameters: int
    before: float
    after: float
    alarms: str
    seconds: float

    def __str__(self) -> str:
        loss = f"{self.before:.3g} → {self.after:.3g}"
        return f"| {self.name} | {self.parameters / 1e3:.0f} | {loss} | {self.alarms or 'none'} | {self.seconds:.1f} |"


def measure(name: str) -> Row:
    """Check a model under seed 0, and train it."""
    torch.set_num_threads(1)
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    build = ARCHITECTURES[name]
    start = time.perf_counter()
    verdict = verdict_of(build, seed=0)
    seconds = time.perf_counter() - start
    torch.manual_seed(0)
    task = build()
    before = evaluated(task, loss_while_training)
    train(task, STEPS)
    alarms = verdict.crash or ", ".join(str(said) for said in verdict.said)
    count = sum(parameter.numel() for parameter in task.model.parameters())
    return Row(name, count, before, evaluated(task, loss_while_training), alarms, seconds)


def table(names: list[str]) -> Iterator[str]:
    yield TITLE
    yield f"`python -m benchmarks.architectures`, torch {torch.__version__}, {platform.machine()}, {STEPS} steps.\n"
    yield "| model | parameters, thousands | loss | alarms | check, s |"
    yield "|---|--:|---|---|--:|"
    rows: list[Row] = []
    with ProcessPoolExecutor(WORKERS) as pool:
        for row in pool.map(measure, names):
            rows.append(row)
            yield str(row)
    idle = [row.name for row in rows if not is_learnt(row.before, row.after)]
    yield f"\n{sum(bool(row.alarms) for row in rows)} of {len(rows)} models with an alarm."
    yield f"Improved by less than a tenth in so few steps: {', '.join(idle) or 'none'}."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    lines: list[str] = []
    for line in table([name for name in ARCHITECTURES if options.only in name]):
        print(line, flush=True)
        lines.append(line)
    if options.write:
        PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
