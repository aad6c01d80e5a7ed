"""`isometry watch`: replays a run, as text, page and document, and says by its exit code how it went."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from isometry.report.run.facts import Event, State
from isometry.training.watching.account import Account, Start
from isometry.training.watching.records import Records
from tests.cli.running import invoke
from tests.report.run.cases import BACK, DYING, run

START = Start(name="one", model="Sequential", optimizer="SGD(lr=0.1)", every=10, versions={"torch": "2"})
WAIT_SECONDS = 600
WATCHER = """
import sys
from isometry.__main__ import main
from isometry.training.watching import follow

class Clock:
    monotonic = follow.time.monotonic
    sleep = lambda seconds, sleep=follow.time.sleep: (print("looked", file=sys.stderr, flush=True), sleep(seconds))

follow.time = Clock
main()
"""


def recorded(folder: Path, *entries: Event, state: State = "finished") -> Path:
    """Write the records of a run that has ended."""
    records = Records(folder, start=START)
    for entry in (*run(steps=40, depth=3).readings, *entries):
        records.write(entry)
    records.close(Account(START, state=state, steps=40, seconds=1.0))
    return folder


def test_a_run_that_has_ended_is_replayed(tmp_path: Path) -> None:
    done = invoke("watch", recorded(tmp_path / "one"))

    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith("✓ finished  one · step 40")
    assert "layers.4" in done.stdout
    assert [line for line in done.stdout.splitlines() if line != line.rstrip()] == []


@pytest.mark.parametrize(
    ("event", "state", "code"),
    [
        pytest.param(Event(step=20, finding=DYING), "finished", 1, id="an error"),
        pytest.param(Event(step=20, finding=replace(DYING, severity="warning")), "finished", 0, id="a warning"),
        pytest.param(replace(BACK, step=20, restored=10), "finished", 0, id="saved"),
        pytest.param(replace(BACK, step=20, action="stop", restored=None), "failed", 1, id="ended by a fault"),
        pytest.param(Event(step=20, finding=replace(DYING, severity="note")), "interrupted", 0, id="interrupted"),
    ],
)
def test_the_exit_code_says_how_it_went(event: Event, state: State, code: int, tmp_path: Path) -> None:
    assert invoke("watch", recorded(tmp_path / "one", event, state=state)).exit_code == code


def test_the_page_and_the_document_are_those_of_the_run(tmp_path: Path) -> None:
    folder, page = recorded(tmp_path / "one"), tmp_path / "page.html"
    done = invoke("watch", folder, "--html", page, "--json", "--lang", "vi")
    document = json.loads(done.stdout)

    assert (document["name"], document["steps"], document["is_broken"]) == ("one", 40, False)
    assert '<html lang="vi">' in page.read_text(encoding="utf-8")


def test_it_speaks_vietnamese(tmp_path: Path) -> None:
    assert "đã xong  one · bước 40" in invoke("watch", recorded(tmp_path / "one"), "--lang", "vi").stdout


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("nowhere",), "the folder 'nowhere' does not exist."),
        (("file",), "'file' is a file, but a folder is needed."),
        (("empty",), "'empty' holds no 'records.jsonl'."),
        (("several",), "'several' is no run, but holds 2: first, second. Name one of them."),
        (("several/first", "--lang", "fr"), "do not speak 'fr'"),
        (("several/first", "--html", "nowhere/page.html"), "the folder 'nowhere' does not exist."),
    ],
)
def test_mistakes_are_told_with_what_to_do(
    words: tuple[str, ...], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    for name in ("first", "second"):
        recorded(tmp_path / "several" / name)
    done = invoke("watch", *words)

    assert done.exit_code == 2
    assert told in " ".join(done.stderr.split())
    assert done.stdout == ""


def test_a_run_is_shown_without_torch(tmp_path: Path) -> None:
    folder = recorded(tmp_path / "one")
    code = (
        "import sys; from typer.testing import CliRunner; from isometry.cli.app import app; "
        f"done = CliRunner().invoke(app, ['watch', {str(folder)!r}]); "
        "assert done.exit_code == 0, done.output; print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.stdout == "False\n", done.stderr


def test_a_run_with_a_broken_line_is_shown_and_the_line_counted(tmp_path: Path) -> None:
    folder = recorded(tmp_path / "one")
    with (folder / "records.jsonl").open("a", encoding="utf-8") as records:
        records.write('{"kind":"reading"}\n')
    done = invoke("watch", folder)

    assert done.exit_code == 0, done.stderr
    assert "lines of the records that cannot be read: 1" in " ".join(done.stdout.split())


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="sends the signal that Ctrl-C sends")
def test_an_interrupt_ends_the_watching_and_not_the_run(tmp_path: Path) -> None:
    records = Records(tmp_path, start=START)  # of this process, which lives
    records.write(run(steps=10, depth=2).readings[0])
    command = [sys.executable, "-c", WATCHER, "watch", str(tmp_path), "--follow"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watcher:
        assert watcher.stderr is not None
        assert [watcher.stderr.readline() for _ in range(2)] == ["looked\n"] * 2
        watcher.send_signal(signal.SIGINT)
        out, err = watcher.communicate(timeout=WAIT_SECONDS)
    records.close(Account(START))

    assert watcher.returncode == 0, err
    assert "running  one · step 1" in out
