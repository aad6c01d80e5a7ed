"""The page in a real browser: it fits a desktop and a phone, with every fold open."""

import html
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from isometry.report.facts import LayerRow
from isometry.report.page import page
from tests.report.cases import broken, race, repaired

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
WAIT_SECONDS = 600
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
# A frame has the width of a phone, which a window of the browser cannot have; it is measured from outside.
WRAPPER = """<!DOCTYPE html><body style="margin:0"><iframe style="border:0;width:{width}px;height:2400px"
srcdoc="{page}"></iframe><output></output><script>
onload = () => {{
  const inner = document.querySelector("iframe").contentDocument;
  inner.querySelectorAll("details").forEach(fold => fold.open = true);
  const root = inner.documentElement;
  const background = getComputedStyle(inner.querySelector("main")).maxWidth;
  document.querySelector("output").textContent = `${{root.scrollWidth}} of ${{root.clientWidth}} ${{background}}`;
}}
</script>"""


def chromium(place: Path, *arguments: str) -> str:
    assert CHROMIUM is not None
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={place.parent / 'profile'}", *arguments, place.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_SECONDS, check=True)
    return done.stdout


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium binary on this machine")
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_never_scrolls_sideways(width: int, tmp_path: Path) -> None:
    long_name = "model." + "a_very_long_name_without_a_break" * 8
    before = broken()
    finding = replace(before.findings[0], where=(long_name,) * 5, message=long_name, unit=long_name)
    layers = (LayerRow(name=long_name, kind=long_name, gradient_rms=0.0), *before.layers)
    before = replace(before, model=long_name, findings=(finding, *before.findings[1:]), layers=layers)
    text = page(
        before,
        after=repaired(),
        race=race(first=long_name, second=long_name),
        plan_rows=({"parameter": long_name, long_name: "x"},),
    )
    place = tmp_path / "wrapper.html"
    place.write_text(WRAPPER.format(width=width, page=html.escape(text)), encoding="utf-8")
    picture = tmp_path / "picture.png"
    chromium(place, f"--window-size={max(width, 600)},2400", f"--screenshot={picture}")
    measured = re.search(r"<output>(\d+) of (\d+) (\d+)px", chromium(place, "--dump-dom", "--window-size=1400,2400"))

    assert measured is not None
    assert int(measured[2]) == width
    assert int(measured[1]) <= width
    assert int(measured[3]) == 1056, "the style of the page was not applied"
    assert picture.stat().st_size > 50_000
