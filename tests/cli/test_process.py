"""What only a process of its own can show: imports, streams, signals."""

import json
import os
import signal
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import pytest

from tests.cli.running import built, execute

NO_TORCH = "sys.modules['torch'] = None"  # importing it fails


def test_help_needs_no_torch() -> None:
    result = execute("--help", before=NO_TORCH)

    assert result.returncode == 0
    assert all(command in result.stdout for command in ("check", "fix", "explain", "demo"))


def test_the_version_is_the_installed_one() -> None:
    result = execute("--version", before=NO_TORCH)

    assert (result.returncode, result.stdout) == (0, f"isometry {metadata.version('isometry')}\n")


def test_the_library_is_imported_without_torch() -> None:
    code = "import sys, isometry; assert dir(isometry); print([name for name in sys.modules if 'torch' in name])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert result.stdout == "[]\n"


def test_the_demo_says_what_to_install_without_scikit_learn(tmp_path: Path) -> None:
    result = execute("demo", "--html", tmp_path / "demo.html", before="sys.modules['sklearn'] = None")

    assert result.returncode == 2
    assert result.stderr == (
        "MissingExtraError: the digits come with scikit-learn, which is not installed. "
        "Install it: pip install 'isometry[demo]'.\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_json_stands_alone_whatever_prints() -> None:
    result = execute("check", built("talking"), "--json")

    assert result.returncode == 0
    assert json.loads(result.stdout)["verdict"] == "healthy"
    assert all(f"from the {voice}" in result.stderr for voice in ("model", "builder", "end"))
    assert "from a child" in result.stderr


def test_a_defect_of_ours_is_not_taken_for_a_broken_network() -> None:
    code = "import isometry.checking.check; sys.modules['isometry.checking.check'].diagnose = lambda *_, **__: 1 / 0"
    result = execute("check", built("pair"), before=code)

    assert result.returncode == 70
    assert "ZeroDivisionError" in result.stderr
    assert result.stderr.endswith("please report it with the lines above.\n")


def test_an_interrupt_in_the_builder_ends_with_one_line() -> None:
    result = execute("check", built("interrupted"))

    assert (result.returncode, result.stdout) == (130, "")
    assert result.stderr == "Interrupted; nothing was left half written.\n"


def test_an_interrupt_while_importing_ends_with_one_line() -> None:
    code = "import builtins; real = builtins.__import__\n"
    code += "def stop(name, *rest, **more):\n    if name == 'typer': raise KeyboardInterrupt\n"
    code += "    return real(name, *rest, **more)\nbuiltins.__import__ = stop"
    result = execute("--help", before=code)

    assert (result.returncode, result.stderr) == (130, "Interrupted; nothing was left half written.\n")


@pytest.mark.skipif(os.name != "posix", reason="sends the signal that Ctrl-C sends")
def test_an_interrupt_while_python_unloads_shows_no_traceback() -> None:
    code = "import atexit, os, signal; atexit.register(lambda: os.kill(os.getpid(), signal.SIGINT))"
    result = execute("--help", before=code)

    assert (result.returncode, result.stderr) == (-signal.SIGINT, "")


@pytest.mark.slow
@pytest.mark.parametrize("moment", range(5))
def test_ctrl_c_at_any_moment_leaves_no_half_file(tmp_path: Path, moment: int) -> None:
    """The signal comes after the first output, at moments spread over the race and the writing."""
    words = ["fix", built("deep_sigmoid"), "--race", "--race-steps", "20", "--out", "weights", "--html", "report.html"]
    process = subprocess.Popen(
        [sys.executable, "-m", "isometry", *words],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(0.3 * moment)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=600)

    assert process.returncode in {0, 130, -signal.SIGINT}  # the last where all was written and Python was unloading
    assert "Traceback" not in error
    assert {path.name for path in tmp_path.iterdir()} <= {"weights", "report.html"}


@pytest.mark.slow
def test_a_reader_that_leaves_early_hears_no_traceback() -> None:
    command = f"{sys.executable} -m isometry check {built('pair')} --json | head -c 1"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)

    assert result.stderr == ""
