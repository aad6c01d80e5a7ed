"""The summary of a run in a real browser: it fits a desktop and a phone, with every fold open."""

import html
import re
from dataclasses import replace
from pathlib import Path

import pytest

from isometry.probes.running.readings import Evaluation
from isometry.report.run.facts import Event
from isometry.report.run.page import run_page
from tests.report.run.cases import BACK, DYING, run
from tests.report.test_page_in_browser import CHROMIUM, WRAPPER, chromium


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium binary on this machine")
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_never_scrolls_sideways(width: int, tmp_path: Path) -> None:
    long_name = "model." + "a_very_long_name_without_a_break" * 8
    facts = run(steps=100, depth=60, name=lambda number: f"{long_name}.{number}")
    facts = replace(
        facts,
        name=long_name,
        reason=long_name,
        optimizer=long_name,
        events=(Event(step=50, finding=replace(DYING, where=(long_name,) * 5, message=long_name, unit=long_name)),),
        faults=(replace(BACK, step=60, operation=long_name, where=long_name),),
        evaluations=(Evaluation(step=70, metrics={long_name: 0.5, f"{long_name}_loss": 1e-12}),),
    )
    place = tmp_path / "wrapper.html"
    place.write_text(WRAPPER.format(width=width, page=html.escape(run_page(facts))), encoding="utf-8")
    measured = re.search(r"<output>(\d+) of (\d+) (\d+)px", chromium(place, "--dump-dom", "--window-size=1400,2400"))

    assert measured is not None
    assert int(measured[2]) == width
    assert int(measured[1]) <= width
    assert int(measured[3]) == 1056, "the style of the page was not applied"
