"""What the experiments of `check` show on the suite's faulty programs: the ground of their bounds.

Each program is checked once, with its trial and proofs; a row for each leading finding.
Run by hand: python -m benchmarks.proofs > benchmarks/proofs.md
"""

import math
import platform
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from isometry._errors import ModelError
from isometry.checking.check import diagnose
from isometry.report.finding import Finding, Proof
from tests.suite import programs
from tests.suite.case import FAULTY

assert programs  # reading it has entered all programs into the table


@dataclass(frozen=True, slots=True)
class Row:
    """A leading finding of one program, and the seconds of its whole check."""

    program: str
    finding: Finding
    is_true: bool
    seconds: float

    @property
    def cells(self) -> str:
        proof = self.finding.proof
        told = ("-", "-", "-", "-") if proof is None else _told(proof)
        truth = "yes" if self.is_true else "no"
        return f"| {self.program} | {self.finding.name} | {truth} | " + " | ".join(told) + " |"


def rows() -> Iterator[Row]:
    for name, case in sorted(FAULTY.items()):
        torch.manual_seed(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            start = time.perf_counter()
            try:
                findings = diagnose(case.build()).findings
            except ModelError:
                continue
        seconds = time.perf_counter() - start
        for finding in findings:
            if finding.because is None and finding.severity != "note":
                yield Row(name, finding, finding.name in case.labels, seconds)


def _told(proof: Proof) -> tuple[str, str, str, str]:
    losses = "-"
    if proof.loss_before is not None and proof.loss_after is not None:
        losses = f"{proof.loss_before:.3g} → {proof.loss_after:.3g}"
    number = "-" if proof.unit else f"{proof.before:.3g} → {proof.after:.3g}"
    return proof.change, number, losses, "yes" if proof.confirmed else "no"


def _falls(found: list[Row]) -> list[float]:
    """The share by which the loss ended lower with each confirmed change, where both ends are finite."""
    proofs = [row.finding.proof for row in found if row.finding.proof is not None and row.finding.proof.confirmed]
    pairs = [(each.loss_before, each.loss_after) for each in proofs]
    return [
        1 - after / before
        for before, after in pairs
        if before is not None and after is not None and math.isfinite(before) and before > 0 and after < before
    ]


def main() -> None:
    torch.set_num_threads(1)
    found = list(rows())
    true = [row for row in found if row.is_true]
    tried = [row for row in true if row.finding.proof is not None]
    confirmed = [row for row in tried if row.finding.proof is not None and row.finding.proof.confirmed]
    falls = sorted(_falls(true))
    print("# What experiments show on the suite's faulty programs\n")
    print(f"`python -m benchmarks.proofs`, torch {torch.__version__}, {platform.machine()}, one thread, one seed.")
    print(f"Of {len(true)} true leading findings {len(tried)} were put to an experiment, {len(confirmed)} confirmed.")
    print(
        f"Where losses compare they ended lower by a share of {falls[0]:.3f} at least, {falls[len(falls) // 2]:.2f} in"
    )
    print("the median. The losses are those after at most 20 steps, without and with the change.\n")
    print(
        "| program | leading finding | true | change | its number | loss | confirmed |\n|---|---|---|---|---|---|---|"
    )
    for row in found:
        print(row.cells)


if __name__ == "__main__":
    main()
