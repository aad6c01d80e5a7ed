"""SkorchWatch against the real skorch."""

import copy
import importlib
import os
import pickle
import signal
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from isometry import EarlyStopping
from isometry.training import read_run

pytestmark = pytest.mark.slow  # skorch takes seconds to import


@pytest.fixture(scope="module")
def skorch() -> Any:
    pytest.importorskip("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of torch_geometric, which skorch imports if it is there
        return pytest.importorskip("skorch", reason="skorch is an extra")


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 3))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.net(inputs)


def data(*, broken: tuple[int, ...] = ()) -> tuple[Any, Any]:
    drawn = np.random.default_rng(1)
    inputs = drawn.normal(size=(60, 6)).astype(np.float32)
    targets = inputs[:, :3].argmax(1)
    inputs[list(broken), 0] = np.nan
    return inputs, targets


def fitted(skorch: Any, *, broken: tuple[int, ...] = (), **settings: Any) -> Any:
    plain = {"batch_size": 8, "verbose": 0, "lr": 0.05, "max_epochs": 2}
    net = skorch.NeuralNetClassifier(Net, criterion=nn.CrossEntropyLoss, **(plain | settings))
    torch.manual_seed(3)
    net.fit(*data(broken=broken))
    return net


def watching(**settings: Any) -> Any:
    return importlib.import_module("isometry.training").SkorchWatch(**settings)


def weights(net: Any) -> list[Tensor]:
    return [each.detach().clone() for each in net.module_.state_dict().values()]


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"optimizer__momentum": 0.9}, id="momentum"),
        pytest.param({"optimizer": torch.optim.LBFGS, "optimizer__max_iter": 3}, id="a closure called again"),
    ],
)
def test_the_weights_are_bit_for_bit_those_of_the_unwatched_training(
    skorch: Any, tmp_path: Path, settings: dict[str, Any]
) -> None:
    bare = fitted(skorch, **settings)
    watch = watching(every=1, to=[tmp_path / "run"], snapshot_every=2, on_nan="rollback")
    watched = fitted(skorch, callbacks=[watch], **settings)

    assert all(torch.equal(one, other) for one, other in zip(weights(bare), weights(watched), strict=True))
    assert read_run(tmp_path / "run").steps == 12


def test_the_losses_are_those_of_the_history(skorch: Any, tmp_path: Path) -> None:
    net = fitted(skorch, callbacks=[watching(every=1, to=[tmp_path / "run"])])

    found = read_run(tmp_path / "run")
    rows = [row["batches"] for row in net.history]
    expected = [batch["train_loss"] for batches in rows for batch in batches if "train_loss" in batch]
    assert [reading.losses[0] for reading in found.readings] == pytest.approx(expected)
    assert [each.epoch for each in found.evaluations] == [1, 2]
    assert found.evaluations[0].metrics["valid_loss"] == pytest.approx(net.history[0]["valid_loss"])


def test_the_scheduler_is_rolled_back_too(skorch: Any, tmp_path: Path) -> None:
    scheduler = importlib.import_module("skorch.callbacks").LRScheduler(
        policy=torch.optim.lr_scheduler.ExponentialLR, gamma=0.5, step_every="batch"
    )
    watch = watching(every=1, to=[tmp_path / "run"], on_nan="rollback", snapshot_every=1)
    net = fitted(skorch, callbacks=[watch, scheduler], broken=(20,), max_epochs=1, train_split=None)

    found = read_run(tmp_path / "run")
    assert [fault.action for fault in found.faults] == ["rollback"]
    assert all(bool(each.isfinite().all()) for each in weights(net))
    before, after = (found.readings[number].learning_rates for number in (1, 2))
    assert after == pytest.approx([rate / 2 for rate in before])


def test_a_fault_ends_the_fit_with_the_last_finite_weights(skorch: Any, tmp_path: Path) -> None:
    net = fitted(skorch, callbacks=[watching(every=1, to=[tmp_path / "run"])], broken=(20,), train_split=None)

    found = read_run(tmp_path / "run")
    assert all(bool(each.isfinite().all()) for each in weights(net))
    assert found.state == "failed"
    assert found.faults[0].step == 3


def test_a_rule_ends_the_fit_and_the_best_weights_come_back(skorch: Any, tmp_path: Path) -> None:
    rule = EarlyStopping("valid_loss", patience=2)
    net = fitted(skorch, callbacks=[watching(every=4, to=[tmp_path / "run"], stopping=rule)], max_epochs=99, lr=0.5)

    found = read_run(tmp_path / "run")
    assert len(net.history) < 99
    best = min(range(len(net.history)), key=lambda epoch: net.history[epoch]["valid_loss"])
    assert rule.best is not None
    assert rule.best.epoch == best + 1
    assert found.state == "stopped"


def test_an_error_is_told_by_the_next_fit(skorch: Any, tmp_path: Path) -> None:
    watch = watching(to=[tmp_path / "run"])
    net = fitted(skorch, callbacks=[watch], max_epochs=1)
    inputs, targets = data()
    with pytest.raises(RuntimeError):
        net.partial_fit(inputs[:, :4], targets)
    state = net.callbacks_[-2][1].session_.run

    with pytest.warns(UserWarning, match="checkpoint of an earlier run"):
        net.fit(inputs, targets)

    assert state is not None
    assert read_run(tmp_path / "run").state == "finished"


def test_ctrl_c_ends_the_run_as_interrupted(skorch: Any, tmp_path: Path) -> None:
    class Interrupting(importlib.import_module("skorch.callbacks").Callback):
        def on_batch_begin(self, *_: Any, **kwargs: Any) -> None:
            if kwargs["training"]:
                os.kill(os.getpid(), signal.SIGINT)

    fitted(skorch, callbacks=[watching(to=[tmp_path / "run"]), Interrupting()])

    assert read_run(tmp_path / "run").state == "interrupted"


def test_a_fit_that_goes_on_counts_on(skorch: Any, tmp_path: Path) -> None:
    net = fitted(skorch, callbacks=[watching(to=[tmp_path / "run"])], max_epochs=1)
    net.partial_fit(*data())

    assert read_run(tmp_path / "run").steps == 12


def test_a_net_with_the_callback_is_cloned_copied_and_pickled(skorch: Any, tmp_path: Path) -> None:
    net = fitted(skorch, callbacks=[watching(every=7, to=[tmp_path / "run"])], max_epochs=1)
    clone = importlib.import_module("sklearn.base").clone(net)

    assert clone.callbacks[0].every == 7
    assert net.get_params()["callbacks__SkorchWatch__every"] == 7
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):  # noqa: S301 - our own
        assert all(torch.equal(one, same) for one, same in zip(weights(net), weights(other), strict=True))
