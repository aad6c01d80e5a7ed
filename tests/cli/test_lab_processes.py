"""What only processes of their own can show of `isometry lab`: workers, streams, Ctrl-C, a Ray cluster."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from isometry.lab.engine.records import read_records
from tests.cli.running import invoke

WAIT_SECONDS = 600
BUILDERS = """
import multiprocessing, os, time
import torch

if multiprocessing.parent_process() is not None:
    print("from the worker", flush=True)


def build():
    layers = (torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))
    return torch.nn.Sequential(*layers), torch.randn(16, 3)


def slow():
    if multiprocessing.parent_process() is not None:
        open(f"begun{os.getpid()}", "w").close()
        time.sleep(600)
    return build()
"""


def start(folder: Path, *words: str) -> "subprocess.Popen[str]":
    (folder / "net.py").write_text(BUILDERS, encoding="utf-8")
    command = [sys.executable, "-m", "isometry", "lab", "run", *words]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def has_ended(process: int) -> bool:
    """Wait for the end of a process that is no child of this one."""
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="sends the signal that Ctrl-C sends")
def test_ctrl_c_ends_all_workers_and_keeps_what_is_recorded(tmp_path: Path) -> None:
    with start(tmp_path, "vanishing", "--model", "net.py:slow", "--seeds", "1") as process:
        while process.poll() is None and not list(tmp_path.glob("begun*")):
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=WAIT_SECONDS)
    records = list(read_records(tmp_path / "isometry-lab"))

    assert (process.returncode, out) == (130, "from the worker\n")
    assert err == "Interrupted; seeds that are through are kept, and the same command goes on from there.\n"
    assert all(has_ended(int(path.name.removeprefix("begun"))) for path in tmp_path.glob("begun*"))
    assert [record.state for record in records] == ["unfinished"]


@pytest.mark.slow
def test_a_document_stands_alone_whatever_workers_print(tmp_path: Path) -> None:
    with start(tmp_path, "vanishing", "--model", "net.py:build", "--seeds", "1", "--json") as process:
        out, err = process.communicate(timeout=WAIT_SECONDS)

    assert json.loads(out)["outcomes"][0]["model"]["word"].endswith("net.py:build")
    assert "from the worker" in err


@pytest.mark.slow
def test_a_run_without_a_terminal_draws_no_bar(tmp_path: Path) -> None:
    with start(tmp_path, "sigmoid-slope", "--seeds", "1") as process:
        out, err = process.communicate(timeout=WAIT_SECONDS)

    assert (process.returncode, err) == (0, "")
    assert out.startswith("✓ sigmoid-slope\n")
    assert not {"\x1b", "\r", "━"} & set(out)


@pytest.mark.slow
def test_a_cluster_of_ray_measures_a_model_of_ones_own(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="needs the extra: pip install 'isometry[ray]'")
    with start(tmp_path, "vanishing", "--model", "net.py:build", "--seeds", "2", "--on", "ray") as process:
        out, err = process.communicate(timeout=WAIT_SECONDS)

    assert "2 of 2 claims held. 2 seeds" in out, err
    assert [record.state for record in read_records(tmp_path / "isometry-lab")] == ["finished"] * 2


PAGE = Path(__file__).parents[2] / "docs/how-to/run-the-lab.md"


@pytest.mark.slow
def test_the_commands_of_the_page_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib", reason="needs the extra: pip install 'isometry[plots]'")
    pytest.importorskip("pyarrow", reason="needs the extra: pip install 'isometry[lab]'")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_model.py").write_text(BUILDERS, encoding="utf-8")
    blocks = re.findall(r"^```bash\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    commands = [shlex.split(line, comments=True)[1:] for block in blocks for line in block.splitlines()]
    codes = {shlex.join(words): invoke(*words).exit_code for words in commands}

    assert len(codes) == 12
    assert not [command for command, code in codes.items() if code != 0]
    assert {path.name for path in tmp_path.iterdir()} >= {"isometry-lab", "elsewhere", "slope.html", "trials.parquet"}
