from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import isometry as iso
from isometry._errors import OutputError, RunError
from isometry.training.watching.fit import optimizer_in_words
from tests.training.watching.trainings import Kept, network, train

MODEL = nn.Linear(2, 2)
SGD = torch.optim.SGD(MODEL.parameters(), lr=0.1)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        pytest.param({"model": "x"}, "model is a str", id="no model"),
        pytest.param({"optimizer": [SGD, SGD]}, r"optimizer holds 2, and a run watches one", id="two optimisers"),
        pytest.param({"optimizer": None}, "optimizer is a NoneType", id="no optimiser"),
        pytest.param({"model": nn.Linear(2, 2)}, "so it trains another model", id="another model"),
        pytest.param({"on_nan": "ignore"}, "Give one of: 'stop', 'skip', 'rollback'", id="policy"),
        pytest.param({"every": 0}, "every is 0, but it counts steps", id="every"),
        pytest.param({"every": 2.5}, "every is 2.5", id="every half"),
        pytest.param({"max_faults": 0}, "max_faults is 0", id="faults"),
        pytest.param({"on_nan": "rollback", "snapshot_every": None}, "goes back to a snapshot", id="no snapshots"),
        pytest.param({"stopping": 5}, "stopping is a int", id="rule"),
        pytest.param({"to": [5]}, "to is a int", id="sink"),
        pytest.param({"scheduler": 1.0}, "scheduler is a float without a state", id="scheduler"),
    ],
)
def test_parts_that_do_not_fit_are_refused_before_the_first_step(given: dict[str, Any], words: str) -> None:
    parts: dict[str, Any] = {"model": MODEL, "optimizer": SGD} | given

    with pytest.raises(RunError, match=words):
        iso.watch(parts.pop("model"), parts.pop("optimizer"), **parts)


def test_a_folder_that_cannot_be_made_is_refused_before_the_first_step(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(OutputError, match=r"cannot be written into .*Give the path of a folder"):
        iso.watch(MODEL, SGD, to=[tmp_path / "file" / "run"]).__enter__()
    assert not SGD._optimizer_step_pre_hooks


def test_one_place_needs_no_list_and_names_the_run(tmp_path: Path) -> None:
    with iso.watch(MODEL, SGD, to=tmp_path / "one") as run:
        pass

    assert run.facts().name == "one"
    assert (tmp_path / "one" / "records.jsonl").is_file()


def test_an_optimiser_behind_a_wrapper_is_the_one_that_is_watched() -> None:
    class Wrapper(torch.optim.Optimizer):
        def __init__(self, optimizer: torch.optim.Optimizer) -> None:
            self.optimizer = optimizer

    with iso.watch(MODEL, Wrapper(SGD), to=[Kept()]) as run:
        MODEL(torch.ones(1, 2)).sum().backward()
        SGD.step()
        run.step(1.0)

    assert run.steps == 1


@pytest.mark.parametrize(
    ("optimizer", "words"),
    [
        (torch.optim.SGD(MODEL.parameters(), lr=0.1, momentum=0.9), "SGD(lr=0.1, momentum=0.9)"),
        (torch.optim.Adam(MODEL.parameters(), lr=torch.tensor(0.5)), "Adam(lr=0.5, betas=(0.9, 0.999), eps=1e-08)"),
    ],
)
def test_the_optimiser_is_told_with_the_settings_that_are_set(optimizer: torch.optim.Optimizer, words: str) -> None:
    assert optimizer_in_words(optimizer) == words


def test_faults_and_events_are_one_line_each_on_the_error_stream(capsys: pytest.CaptureFixture[str]) -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    with iso.watch(model, optimizer, on_nan="skip") as run:
        train(run, model, optimizer, steps=3, bad=(2,))
    told = capsys.readouterr()

    assert told.out == ""
    assert told.err.startswith("step 2: ")
    assert told.err.count("\n") == 1


def test_two_runs_may_watch_one_training() -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    sinks = Kept(), Kept()

    with (
        iso.watch(model, optimizer, every=1, to=[sinks[0]]) as first,
        iso.watch(model, optimizer, every=2, to=[sinks[1]]) as second,
    ):
        train(first, model, optimizer, steps=4, after=lambda _: second.step(1.0))

    assert [len(each.entries) for each in sinks] == [4, 3]
