"""What holds for every test: one thread a worker, generated input without deadlines, and shapes that are checked."""

import os
from collections.abc import Iterator

import pytest
import torch
from beartype import BeartypeConf, beartype
from hypothesis import settings
from jaxtyping import install_import_hook

# Packages of tensor arithmetic; elsewhere annotations name types that are imported for the type checker alone.
SHAPED = ("isometry.theory", "isometry.fills", "isometry.anatomy.activations", "isometry.probes.units")

# Modules whose TIME_BUDGET, seconds, ends a trial or an experiment.
BUDGETED = (
    "checking.doubts",
    "checking.experiments",
    "checking.guard",
    "probes.course",
    "probes.step_size",
    "probes.trial",
)

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int is a float, as it is to the type checker

torch.set_num_threads(1)  # small networks gain nothing from more, and the threads of several workers fight for cores

settings.register_profile("by hand", deadline=None)  # the first call of an operation takes far longer than the others
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "by hand")

install_import_hook(SHAPED, f"{__name__}.checked")


@pytest.fixture(scope="session", autouse=True)
def _there_is_time() -> Iterator[None]:
    """Lift all time budgets, so that what is tried does not depend on the machine; what tests them sets its own."""
    with pytest.MonkeyPatch.context() as patch:
        for module in BUDGETED:
            patch.setattr(f"isometry.{module}.TIME_BUDGET", 1e6)
        yield
