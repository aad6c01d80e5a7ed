"""Writes the golden terminal reports anew, after a change of the renderers that is meant.

Run `python tests/golden/regenerate.py` in the root of the project and read the difference before you commit it.
"""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))


def main() -> None:
    from tests.report.cases import REPORTS, golden_text  # noqa: PLC0415 the path is set above
    from tests.report.run.cases import GOLDEN, golden_run  # noqa: PLC0415 the path is set above

    for name in REPORTS:
        (HERE / f"{name}.txt").write_text(golden_text(name), encoding="utf-8")
    for name in GOLDEN:
        (HERE / f"{name}.txt").write_text(golden_run(name), encoding="utf-8")


if __name__ == "__main__":
    main()
