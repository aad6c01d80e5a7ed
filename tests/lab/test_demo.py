import io
from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch import nn

pytest.importorskip("sklearn", reason="the digits come with scikit-learn")

from isometry._errors import ModelError
from isometry.anatomy.task import Task, make_task
from isometry.lab import demo
from isometry.lab.screen import fix_on_screen


def console() -> Console:
    return Console(file=io.StringIO(), width=80, color_system=None)


def printed(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_digits_are_scaled_and_labelled() -> None:
    images, labels = demo.digits()

    assert tuple(images.shape) == (1797, 64)
    assert (float(images.min()), float(images.max())) == (0.0, 1.0)
    assert labels.unique().tolist() == list(range(10))


def test_the_demos_network_is_as_pytorch_builds_it_and_takes_no_global_numbers() -> None:
    state = torch.get_rng_state()
    first, again, other = (demo.sigmoid_digits(seed=seed).model for seed in (5, 5, 6))
    weights = [model.get_parameter("0.weight") for model in (first, again, other)]

    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert sum(isinstance(module, nn.Sigmoid) for module in first) == demo.DEPTH
    assert float(weights[0].detach().abs().max()) <= 1 / 8


def test_the_demo_prints_what_it_does_and_writes_a_report(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(demo, "STEPS", 4)
    screen = console()
    repair, race = demo.run_demo(screen, html=tmp_path / "demo.html")
    lines = printed(screen)

    assert (repair.before.verdict, repair.after.verdict) == ("broken", "healthy")
    assert race is not None
    assert repair.before.findings[0].name == "vanishing-gradient"
    assert lines.index("vanishing-gradient") < lines.index("plan:") < lines.index("Race:") < lines.index("report:")
    assert "<svg" in (tmp_path / "demo.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_only_the_treated_network_learns_the_digits(tmp_path: Path) -> None:
    _, race = demo.run_demo(console(), html=tmp_path / "demo.html")
    assert race is not None
    built, treated = race.first.evaluations[-1].accuracy, race.second.evaluations[-1].accuracy

    assert race.winner == "second"
    assert built is not None
    assert treated is not None
    assert built < 0.2
    assert treated >= 0.9


def healthy() -> Task:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    return make_task(model, torch.randn(32, 8), torch.randint(0, 2, (32,)), loss=nn.CrossEntropyLoss())


def test_nothing_changed_is_not_raced() -> None:
    _, race = fix_on_screen(console(), healthy(), steps=5, seed=0)

    assert race is None


def test_a_model_that_cannot_be_copied_is_told_before_it_is_changed() -> None:
    task = demo.sigmoid_digits()
    task.model.register_buffer("view", (task.model.get_parameter("0.weight") * 1.0))
    before = task.model.get_parameter("0.weight").detach().clone()
    with pytest.raises(ModelError, match="cannot be copied"):
        fix_on_screen(console(), task, steps=2, seed=0)

    assert torch.equal(before, task.model.get_parameter("0.weight"))
