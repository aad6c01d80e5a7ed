"""All programs of the suite: reading this file enters them into the tables of `case`."""

import importlib
from pathlib import Path

HERE = Path(__file__).parent

for path in sorted([*HERE.glob("faulty/*.py"), *HERE.glob("sound/*.py")]):
    importlib.import_module(f"tests.suite.{path.parent.name}.{path.stem}")
