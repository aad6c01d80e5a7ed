"""`isometry lab`: runs, shows, compares and exports experiments, and says by its exit code whether claims held."""

import json
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from typer.testing import CliRunner

from isometry.cli import app
from isometry.lab.experiment import EXPERIMENTS, ON_TASK, Claim, Measured
from tests.cli.running import invoke
from tests.lab.invented import CHOOSY, MODEL, ODD, judge, only_invented

SERIAL = ("--on", "serial", "--seeds", "2")


@pytest.fixture(autouse=True)
def _invented(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(MODEL.format(outputs=2), encoding="utf-8")
    with only_invented():
        yield


def run(*words: str | Path) -> Any:
    return invoke("lab", "run", *words, *SERIAL)


def told(text: str) -> str:
    return " ".join(text.split())


def test_a_list_names_questions_and_which_run_on_a_model() -> None:
    done = invoke("lab", "list")

    assert done.exit_code == 0, done.stderr
    assert done.stdout.splitlines()[1].split() == ["first", "How", "large", "is", "a", "value?", "--model"]
    assert done.stdout.splitlines()[2].split() == ["second", "How", "large", "is", "a", "value?"]
    assert "câu hỏi" in invoke("lab", "list", "--lang", "vi").stdout


def test_what_can_be_set_is_told_in_both_presets_and_on_a_model() -> None:
    done = invoke("lab", "list", "first")
    lines = [line.split() for line in done.stdout.splitlines()]

    assert done.exit_code == 0, done.stderr
    assert ["width", "3", "300"] in lines
    assert ["hidden", "4,4;8", "4,4;8"] in lines
    assert ["inner.rates", "0.1", "0.1"] in lines
    assert lines.index(["width", "3"]) > lines.index(["How", "large", "is", "this", "network?"])
    assert "Did you mean 'first'?" in invoke("lab", "list", "frist").stderr


def test_a_run_prints_claims_with_ranges_and_lays_pictures_beside_the_records(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs the extra: pip install 'isometry[plots]'")
    done = run("first")

    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith("✓ first\nHow large is a value?\n")
    assert "the network knows no digit at all 2 decades at least 0" in told(done.stdout)
    assert "2 of 2 claims held. 2 seeds, " in done.stdout
    assert (tmp_path / "isometry-lab/first/values.png").read_bytes().startswith(b"\x89PNG")


def test_files_are_named_in_the_language_that_is_asked_for() -> None:
    pytest.importorskip("matplotlib", reason="needs the extra: pip install 'isometry[plots]'")
    done = run("first", "--lang", "vi", "--html", "page.html")

    assert done.exit_code == 0, done.stderr
    assert "hình: isometry-lab/first/values.png" in done.stdout
    assert done.stdout.endswith("báo cáo: page.html\n")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        pytest.param(("first",), 0, id="held"),
        pytest.param(("first", "--set", "factor=7"), 1, id="not held"),
        pytest.param(("first", "--set", "broken=1"), 1, id="a seed failed"),
        pytest.param(("first", "--set", "broken=0,1"), 1, id="all seeds failed"),
        pytest.param(("all", "--set", "factor=7"), 1, id="not held, of all"),
        pytest.param(("first", "--model", "net.py:build"), 0, id="held on a model"),
        pytest.param(("first", "--model", "net.py:build", "--set", "width=9"), 0, id="set on a model"),
    ],
)
def test_the_exit_code_says_whether_all_claims_held(words: tuple[str, ...], code: int) -> None:
    assert run(*words).exit_code == code


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("frist",), "no experiment is named 'frist'. Did you mean 'first'?"),
        (("first", "--preset", "slow"), "there is no preset 'slow'. Choose one of: quick, paper."),
        (("first", "--set", "width=wide"), "--set 'width=wide': the value must be a whole number."),
        (("first", "--set", "breadth=3"), "--set 'breadth=3' names no setting of first."),
        (("first", "--address", "localhost:1"), "Give --on ray as well."),
        (("first", "--lang", "fr"), "do not speak 'fr'"),
        (("first", "--html", "nowhere/page.html"), "the folder 'nowhere' does not exist."),
        (("first", "--out", "net.py"), "cannot be made"),
        (("first", "--input", "4x3"), "Give --model FILE:NAME as well."),
        (("first", "--model", "net.py"), "names no builder"),
        (("first", "--model", "net.py:biuld"), "Did you mean 'build'?"),
        (("first", "--model", "net.py:build", "--preset", "paper"), "With --model use --set NAME=VALUE."),
        (("second", "--model", "net.py:build"), "On a model of yours run: first."),
    ],
)
def test_mistakes_are_told_with_what_to_do(words: tuple[str, ...], sentence: str) -> None:
    done = run(*words)

    assert (done.exit_code, done.stdout) == (2, "")
    assert sentence in told(done.stderr)


def test_a_place_that_is_none_is_told() -> None:
    done = invoke("lab", "run", "first", "--on", "moon")

    assert done.exit_code == 2
    assert "Choose one of: serial, local, ray." in told(done.stderr)


def test_a_failed_seed_is_shown_with_its_traceback_and_is_run_again() -> None:
    done = run("first", "--set", "broken=1")

    assert "✗ seed 1\nTraceback (most recent call last):" in done.stdout
    assert "ArithmeticError: seed 1 is broken" in done.stdout
    assert "; 1 failed." in told(done.stdout)
    assert "No seed ended well, so nothing was judged." in run("first", "--set", "broken=0,1").stdout


def test_a_model_that_no_seed_can_measure_is_a_mistake_and_told_in_one_sentence(tmp_path: Path) -> None:
    counting = (
        "import torch\ncalls = []\n\n\ndef build():\n    calls.append(1)\n    assert len(calls) < 2, 'too often'\n"
    )
    text = counting.replace(
        "calls = []", "import builtins\ncalls = builtins.__dict__.setdefault('calls_of_the_test', [])"
    )
    (tmp_path / "net.py").write_text(text + "    return torch.nn.Linear(3, 2), torch.ones(4, 3)\n", encoding="utf-8")
    done = run("first", "--model", "net.py:build")

    assert done.exit_code == 2
    assert "✗ seed 0, seed 1\nBuilderError: the builder" in done.stdout
    assert "Traceback" not in done.stdout


def test_a_run_on_a_model_says_so_and_needs_inputs_from_somewhere(tmp_path: Path) -> None:
    (tmp_path / "bare.py").write_text("import torch\n\nnet = torch.nn.Linear(3, 2)\n", encoding="utf-8")
    without, with_shape = (run("first", "--model", "bare.py:net", *more) for more in ((), ("--input", "4x3")))
    unused = run("first", "--model", "net.py:build", "--input", "4x3")

    assert without.exit_code == 2
    assert "--input" in without.stderr
    assert with_shape.stdout.startswith("✓ first  --model bare.py:net\nHow large is this network?\n")
    assert unused.stdout.startswith("--input 4x3 was not used: the builder gives inputs.\n✓ first")


def test_one_document_stands_alone_on_standard_output() -> None:
    done = run("first", "--json", "--set", "broken=1")
    (entry,) = json.loads(done.stdout)["outcomes"]

    assert done.exit_code == 1
    assert (entry["experiment"], entry["held"], entry["model"]) == ("first", False, None)
    assert entry["settings"]["inner"] == {"depth": 2, "rates": [0.1]}
    assert [(each["seed"], each["state"]) for each in entry["seeds"]] == [(0, "finished"), (1, "failed")]
    assert "seed 1 is broken" in entry["seeds"][1]["error"]
    assert entry["claims"][0] == {
        "text": "the network knows no digit at all",
        "measured": 2.0,
        "low": 0.0,
        "high": None,
        "unit": "decades",
        "held": True,
    }
    assert json.loads(invoke("lab", "show", "--json").stdout)["outcomes"][0] == entry


@pytest.mark.parametrize("command", ["show", "compare"])
def test_a_document_of_records_stands_alone_whatever_a_judge_prints(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def printing(settings: Any, measured: Sequence[Measured]) -> tuple[Claim, ...]:
        sys.stdout.write("between you and me\n")
        return judge(settings, measured)

    run("first")
    monkeypatch.setitem(EXPERIMENTS._things, "first", replace(EXPERIMENTS["first"], judge=printing))
    done = invoke("lab", command, "first", "--json")

    assert json.loads(done.stdout)["outcomes"][0]["held"]
    assert "between you and me" in done.stderr


def test_all_experiments_end_in_one_table_and_one_page(tmp_path: Path) -> None:
    done = run("all", "--html", "page.html", "--set", "factor=2.5")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")

    assert done.exit_code == 0, done.stderr
    assert [line.split()[1] for line in done.stdout.splitlines() if line.startswith("✓")] == ["first", "second"] * 2
    assert done.stdout.endswith("report: page.html\n")
    assert page.count("<section") == 3
    assert page.count("<!DOCTYPE html>") == 1


def test_what_was_run_is_shown_again_by_name_and_by_folder() -> None:
    first = run("all", "--out", "records").stdout
    by_folder, by_part = invoke("lab", "show", "records"), invoke("lab", "show", "records/second")
    run("first", "--set", "factor=7")
    by_name, without_name, everything = (invoke("lab", "show", *words) for words in (["first"], [], ["all"]))

    assert by_folder.exit_code == by_part.exit_code == 0
    assert first.count("held. 2 seeds") == by_folder.stdout.count("held. 2 seeds") == 2
    assert by_part.stdout.startswith("✓ second")
    assert by_name.exit_code == without_name.exit_code == 1
    assert by_name.stdout == without_name.stdout == everything.stdout
    assert by_name.stdout.startswith("✗ first  --set factor=7.0\n")


@pytest.mark.parametrize("command", ["show", "compare", "export"])
def test_a_name_that_was_not_run_is_told_with_those_that_were(command: str) -> None:
    nothing = invoke("lab", command, "second")
    run("first")
    other = invoke("lab", command, "second")

    assert nothing.exit_code == other.exit_code == 2
    assert "Run one first: isometry lab run NAME." in told(nothing.stderr)
    assert "Here were run: first." in told(other.stderr)


def test_runs_are_compared_claim_by_claim() -> None:
    run("first")
    run("first", "--set", "factor=7")
    done = invoke("lab", "compare", "first")

    assert done.exit_code == 0, done.stderr
    assert "--set factor=7.0" in done.stdout
    assert "its value is small 4 (held) 14 (not held)" in told(done.stdout)
    assert "at most 7 at most 7" in told(done.stdout)
    assert sorted(done.stdout.split("--set")[0].split()) == ["claim", "first", "first"]
    document = json.loads(invoke("lab", "compare", "first", "--json").stdout)
    assert [entry["settings"]["factor"] for entry in document["outcomes"]] == [2.0, 7.0]


@pytest.mark.parametrize("words", [["list"], ["list", "first"], ["compare", "first"], ["show"], ["show", "all"]])
@pytest.mark.parametrize("lang", ["en", "vi"])
def test_a_console_of_ascii_is_served_in_every_language(words: list[str], lang: str) -> None:
    run("all")
    done = CliRunner(charset="ascii").invoke(app, ["lab", *words, "--lang", lang])  # fails to write other letters

    assert done.exit_code == 0, done.stderr


def test_a_table_without_its_library_leaves_no_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("first")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    done = invoke("lab", "export", "--parquet", "trials.parquet")

    assert done.exit_code == 2
    assert "pip install 'isometry[lab]'" in told(done.stderr)
    assert not (tmp_path / "isometry-lab/index.sqlite").exists()


def test_a_setting_for_all_that_one_does_not_have_is_told() -> None:
    done = run("all", "--set", "breadth=3")

    assert done.exit_code == 2
    assert "with `all` every experiment must take what --set sets, and one does not: --set 'breadth=3'" in told(
        done.stderr
    )


def test_records_are_exported_for_queries(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="needs the extra: pip install 'isometry[lab]'")
    run("all")
    done = invoke("lab", "export", "--parquet", "trials.parquet")
    with closing(sqlite3.connect(tmp_path / "isometry-lab/index.sqlite")) as connection:
        (count,) = connection.execute("select count(*) from trials where state = 'finished'").fetchone()

    assert done.exit_code == 0, done.stderr
    assert count == 4
    assert (tmp_path / "trials.parquet").stat().st_size > 0


@pytest.fixture
def _one_is_choosy() -> Iterator[None]:
    with mock.patch.dict(ON_TASK.__dict__["_things"], {"second": CHOOSY}):
        yield


@pytest.mark.usefixtures("_one_is_choosy")
def test_what_does_not_apply_to_a_model_is_told_calmly_and_is_no_failure_of_all(tmp_path: Path) -> None:
    done = run("all", "--model", "net.py:build", "--html", "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    shown, compared = invoke("lab", "show", "--lang", "vi"), invoke("lab", "compare", "first", "second")
    document = json.loads(invoke("lab", "show", "--json").stdout)["outcomes"]

    reason = "the model has 2 outputs, and this experiment needs 5."
    assert done.exit_code == shown.exit_code == 0, done.stderr
    assert (
        f"· second --model net.py:build How large is this network? Does not apply to this model: {reason} 2 seeds"
        in (told(done.stdout))
    )
    assert "· second --model net.py:build does not apply 2 " in told(done.stdout)
    assert f"Does not apply to this model: {reason}" in page
    assert f"Không áp dụng được cho mô hình này: {reason}" in told(shown.stdout)
    assert "does not apply the model has 2 outputs" in told(compared.stdout)
    assert [(each["does_not_apply"], each["held"]) for each in document] == [(None, True), (reason, False)]
    assert [each["state"] for each in document[1]["seeds"]] == ["inapplicable"] * 2
    assert "Traceback" not in done.stdout + page


@pytest.mark.usefixtures("_one_is_choosy")
def test_an_experiment_asked_for_by_name_that_does_not_apply_is_a_mistake(tmp_path: Path) -> None:
    by_name, shown = run("second", "--model", "net.py:build"), invoke("lab", "show", "second")
    (tmp_path / "net.py").write_text(MODEL.format(outputs=5), encoding="utf-8")
    mended = run("second", "--model", "net.py:build")

    assert by_name.exit_code == shown.exit_code == 2
    assert by_name.stdout == shown.stdout.rstrip("\n") + "\n\n"
    assert mended.exit_code == 0, mended.stdout


@pytest.mark.usefixtures("_one_is_choosy")
def test_a_mistake_of_the_builder_is_no_model_that_it_does_not_apply_to(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(MODEL.format(outputs=ODD), encoding="utf-8")
    done = run("all", "--model", "net.py:build")
    shown = json.loads(invoke("lab", "show", "--json").stdout)["outcomes"]

    assert done.exit_code == 2
    assert "the loss does not use the targets." in told(done.stdout)
    assert "apply" not in done.stdout
    assert [(each["does_not_apply"], each["held"]) for each in shown] == [(None, True), (None, False)]
    assert [each["state"] for each in shown[1]["seeds"]] == ["failed"] * 2


def test_it_speaks_vietnamese(tmp_path: Path) -> None:
    done = run("all", "--lang", "vi", "--html", "page.html", "--set", "broken=1")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")

    assert "2 trên 2 khẳng định đúng. 2 seed, tính toán hết" in told(done.stdout)
    assert "2 bậc mười từ 0 trở lên" in told(done.stdout)
    assert '<html lang="vi">' in page
    for english in ("claim", "held", "measured", "range", "at least", "decades"):
        assert english not in done.stdout
        assert f">{english}<" not in page


def test_without_matplotlib_a_run_ends_and_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*(name for name in sys.modules if name.split(".")[0] == "matplotlib"), "matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    done = run("first", "--html", "page.html")

    assert done.exit_code == 0, done.stderr
    assert "pictures need matplotlib. Install it: pip install 'isometry[plots]'." in told(done.stdout)
    assert "pictures need matplotlib" in Path("page.html").read_text(encoding="utf-8")


def test_without_ray_nothing_begins_and_one_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    done = invoke("lab", "run", "first", "--on", "ray")

    assert (done.exit_code, done.stdout) == (2, "")
    assert "Install it: pip install 'isometry[ray]'." in told(done.stderr)


def test_an_address_where_nobody_answers_is_told_at_once() -> None:
    pytest.importorskip("ray", reason="needs the extra: pip install 'isometry[ray]'")
    done = invoke("lab", "run", "first", "--on", "ray", "--address", "127.0.0.1:1")

    assert (done.exit_code, done.stdout) == (2, "")
    assert "no Ray cluster answers at '127.0.0.1:1'" in told(done.stderr)
    assert "Start one with `ray start --head`" in told(done.stderr)
