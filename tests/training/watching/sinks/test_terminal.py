import io
from dataclasses import replace
from itertools import count
from types import SimpleNamespace

import pytest
from rich.console import Console

from isometry._errors import UnknownNameError
from isometry.report.run.facts import Event
from isometry.training.watching.sinks import terminal
from isometry.training.watching.sinks.terminal import Terminal
from tests.report.run.cases import BACK, DYING, blank, run, troubled


def screen(*, is_terminal: bool, height: int = 45) -> Console:
    return Console(
        file=io.StringIO(), width=80, height=height, force_terminal=is_terminal, color_system=None, legacy_windows=False
    )


def shown(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_terminal_shows_the_view_and_leaves_the_last_one_whole() -> None:
    console, facts = screen(is_terminal=True), troubled()
    sink = Terminal(console=console)
    sink.start(blank())
    for entry in facts.readings:
        sink.write(entry)
    sink.close(replace(facts, state="finished"))
    last = shown(console).rpartition("finished")[2]

    assert "No step was recorded yet." in shown(console)
    assert all(f"step {step} " in last for step in (900, 700, 640, 500, 240))
    assert "layers.18" in last


def test_it_is_drawn_seldom_however_often_it_is_written() -> None:
    console, facts = screen(is_terminal=True), run(steps=1000, every=1, depth=3)
    sink = Terminal(console=console)
    sink.start(blank())
    for entry in facts.readings:
        sink.write(entry)
    sink.close(facts)

    assert 1 <= shown(console).count("running") <= 100


def test_drawing_takes_no_more_than_its_share_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = count()
    monkeypatch.setattr(terminal, "time", SimpleNamespace(monotonic=lambda: 0.1 * next(ticks)))  # a view takes 0.1 s
    console, facts = screen(is_terminal=True), run(steps=1000, every=1, depth=3)
    sink = Terminal(console=console)
    sink.start(blank())
    for entry in facts.readings:
        sink.write(entry)

    assert 10 <= shown(console).count("running") <= 30


def test_elsewhere_it_prints_plain_lines_for_what_is_worth_one() -> None:
    console, facts = screen(is_terminal=False), run(steps=200)
    sink = Terminal(console=console)
    sink.start(blank())
    for entry in (*facts.readings, facts.evaluations[0], Event(step=120, finding=DYING), replace(BACK, step=130)):
        sink.write(entry)
    sink.close(facts)
    lines = " ".join(shown(console).split())

    assert "\x1b" not in lines
    assert lines.startswith("running, digits-mlp, step 0, 0 s step 100, epoch 1: val_loss")
    assert "step 120: error FWD103 dying-relu: 81 %" in lines
    assert "step 130: numbers that are not finite at layers.8: first made by log" in lines
    assert lines.endswith("finished, digits-mlp, step 200, loss 1.24, 250 steps/s, 800 ms, nothing to report")


def test_it_speaks_vietnamese_and_refuses_what_it_does_not_speak() -> None:
    console = screen(is_terminal=False)
    sink = Terminal(lang="vi", console=console)
    sink.start(blank())
    sink.write(run(steps=100).evaluations[0])

    assert "đang chạy, digits-mlp, bước 0" in shown(console)
    assert "bước 100, epoch 1: val_loss" in shown(console)
    with pytest.raises(UnknownNameError, match="'fr'"):
        Terminal(lang="fr")


def test_a_run_can_be_shown_twice() -> None:
    console = screen(is_terminal=True)
    sink = Terminal(console=console)
    for _ in range(2):
        sink.start(blank())
        sink.write(run(steps=1).readings[0])
        sink.close(run(steps=1))

    assert shown(console).count("finished") == 2


def test_it_says_that_it_shows_events_itself() -> None:
    assert Terminal.is_view
