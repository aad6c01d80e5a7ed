"""What the documentation shows is run: the Python blocks of its pages, what they print, and the examples."""

import os
import re
import runpy
from pathlib import Path

import pytest

from isometry.anatomy.builders import load_task
from isometry.checking.check import diagnose
from isometry.findings import RULES
from isometry.training.watching.reader import read_run

ROOT = Path(__file__).parents[1]
READMES = [ROOT / "README.md", ROOT / "README.vi.md"]
PAGES = [
    *READMES,
    *sorted((ROOT / "docs/learn").glob("*.md")),
    *sorted((ROOT / "docs/how-to").glob("*.md")),
    ROOT / "docs/reference/theory.md",
]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
PRINTED = re.compile(r"^print\(.*\)  # (.+)$", re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")
SLOW = {"watch-in-lightning-trainer-skorch.md"}  # imports three frameworks
OPTIONAL = ("lightning", "sklearn", "skorch", "transformers")
VERDICTS = {"deep_gelu": "broken", "language_model": "healthy", "own_step": "healthy"}


def skip_without_what_it_imports(code: str) -> None:
    for library in OPTIONAL:
        if re.search(rf"^(?:from|import) {library}\b", code, re.MULTILINE):
            pytest.importorskip(library, reason=f"the page or example uses {library}")


@pytest.mark.parametrize(
    "page", [pytest.param(page, id=page.name, marks=[pytest.mark.slow] * (page.name in SLOW)) for page in PAGES]
)
@pytest.mark.filterwarnings("ignore")  # of the libraries that a page imports
def test_code_on_a_page_runs_and_prints_what_it_says(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = "\n".join(BLOCK.findall(page.read_text(encoding="utf-8")))
    skip_without_what_it_imports(code)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": page.stem}

    exec(compile(code, str(page), "exec"), names)  # noqa: S102 - our own pages
    for name, test in names.items():
        if name.startswith("test_") and callable(test):
            test()

    rest = capsys.readouterr().out
    for words in PRINTED.findall(code):
        if page not in READMES:
            assert words in rest
            rest = rest[rest.index(words) + len(words) :]


@pytest.mark.parametrize("page", [*PAGES, *sorted((ROOT / "docs").rglob("*.md"))], ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    targets = LINK.findall(page.read_text(encoding="utf-8"))

    assert not [target for target in targets if not (page.parent / target).exists()]


@pytest.mark.parametrize("name", sorted(VERDICTS))
@pytest.mark.filterwarnings("ignore")  # of transformers' own
def test_an_example_is_judged_as_its_page_says(name: str) -> None:
    path = ROOT / "examples" / f"{name}.py"
    skip_without_what_it_imports(path.read_text(encoding="utf-8"))

    assert diagnose(load_task(f"{path}:build")).verdict == VERDICTS[name]


def test_every_example_has_a_verdict_or_is_run() -> None:
    assert {path.stem for path in (ROOT / "examples").glob("*.py")} == set(VERDICTS) | {"watched"}


@pytest.mark.slow
def test_the_example_of_a_watched_run_is_lost_without_the_watch_and_saved_by_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("sklearn", reason="the example uses scikit-learn")
    monkeypatch.chdir(tmp_path)

    runpy.run_path(str(ROOT / "examples" / "watched.py"), run_name="__main__")
    lost, saved = (float(each) for each in re.findall(r"([\d.]+)%", capsys.readouterr().out))

    assert lost < 20
    assert saved > 94
    assert read_run("runs/digits").faults[0].restored == 200


def test_both_readmes_show_the_same_code() -> None:
    english, vietnamese = (BLOCK.findall(page.read_text(encoding="utf-8")) for page in READMES)

    assert english == vietnamese


@pytest.mark.parametrize("page", READMES, ids=lambda page: page.name)
def test_a_readme_lists_every_finding(page: Path) -> None:
    text = page.read_text(encoding="utf-8")

    assert not [code for code, rule in RULES.items() if f"| {code} | `{rule.name}` |" not in text]


def test_pictures_hold_no_path_into_the_network() -> None:
    for picture in sorted((ROOT / "docs/pictures").glob("*.svg")):
        text = picture.read_text(encoding="utf-8")

        assert "@font-face" not in text
        assert f"{os.sep}tmp{os.sep}" not in text
