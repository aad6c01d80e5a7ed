"""What holds for all callbacks, whether their frameworks are installed or not."""

import importlib.util
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import isometry
from isometry._errors import MissingExtraError
from isometry.training import read_run
from isometry.training.watching.adapters import session as module
from isometry.training.watching.adapters.session import Session

HERE = Path(module.__file__).parent


@pytest.mark.parametrize(
    ("name", "libraries"),
    [
        pytest.param("lightning", ("lightning", "lightning.pytorch"), id="lightning"),
        pytest.param("transformers", ("transformers",), id="transformers"),
        pytest.param("skorch", ("skorch", "skorch.callbacks"), id="skorch"),
    ],
)
def test_a_framework_that_is_missing_is_named_with_how_to_install_it(
    name: str, libraries: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    for library in libraries:
        monkeypatch.setitem(sys.modules, library, None)
    spec = importlib.util.spec_from_file_location("without_its_framework", HERE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None

    with pytest.raises(MissingExtraError, match=rf"pip install 'isometry\[{name}\]'"):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


def test_public_names_import_no_framework() -> None:
    assert {"LightningWatch", "SkorchWatch", "TrainerWatch"} <= set(dir(isometry.training))


def network() -> tuple[nn.Module, torch.optim.Optimizer]:
    model = nn.Linear(2, 1)
    return model, torch.optim.SGD(model.parameters(), lr=0.1)


def test_numbers_of_all_kinds_are_metrics_and_nothing_else_is(tmp_path: Path) -> None:
    session = Session({"to": tmp_path})
    session.begin(*network())
    numbers = {"a": 1, "b": 2.0, "c": np.float32(3.0), "d": torch.tensor(4.0)}
    others = {"epoch": 1.0, "flag": True, "word": "x", "many": torch.ones(2), "nothing": None}
    session.evaluate(numbers | others, epoch=0.5)
    session.evaluate(others, epoch=0.7)
    session.end()

    (found,) = read_run(tmp_path).evaluations
    assert (found.epoch, found.metrics) == (0.5, {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0})


def test_a_training_that_was_left_is_ended_as_failed_when_the_next_begins(tmp_path: Path) -> None:
    session = Session({"to": tmp_path})
    model, optimizer = network()
    session.begin(model, optimizer)
    left = session.run
    session.begin(model, optimizer)
    assert left is not None
    state = left.facts().state
    session.end()
    session.end()

    assert state == "failed"
    assert read_run(tmp_path).state == "finished"
    assert not optimizer._optimizer_step_pre_hooks


def test_a_copy_of_a_session_watches_nothing() -> None:
    session = Session({"every": 3})
    session.begin(*network())
    copy = pickle.loads(pickle.dumps(session))  # noqa: S301 - our own
    session.end()

    assert copy.run is None
    assert copy.settings == {"every": 3}
