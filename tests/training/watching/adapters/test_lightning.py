"""LightningWatch against the real Trainer."""

import importlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import isometry
from isometry import EarlyStopping, IsometryError
from isometry._errors import NonFiniteError, RunError
from isometry.training import read_run

pytestmark = [
    pytest.mark.slow,  # Lightning takes seconds to import
    pytest.mark.filterwarnings(
        # Lightning's own: advice on loaders and logging, and what it uses of torch
        "ignore:The '.*_dataloader' does not have many workers",
        "ignore:`isinstance.treespec, LeafSpec.` is deprecated",
        "ignore:The number of training batches",
        "ignore:.*lr_scheduler.step.*:UserWarning",
        "ignore:You defined a `validation_step` but have no `val_dataloader`",
        "ignore:`training_step` returned `None`",
    ),
]


@pytest.fixture(scope="module")
def parts() -> Any:
    pytest.importorskip("lightning.pytorch", reason="Lightning is an extra")
    return importlib.import_module("tests.training.watching.adapters.lightning_parts")


def weights(module: torch.nn.Module) -> list[Tensor]:
    return [each.detach().clone() for each in module.state_dict().values()]


def all_equal(left: list[Tensor], right: list[Tensor]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(left, right, strict=True))


def fitted(parts: Any, folder: Path, *, watch: Any = None, broken: tuple[int, ...] = (), **settings: Any) -> Any:
    module = settings.pop("module", None) or parts.Classifier()
    torch.manual_seed(3)
    trainer = parts.trainer(folder, callbacks=[watch] if watch else [], **settings)
    trainer.fit(module, parts.loader(broken=broken), parts.loader(num_rows=16))
    return module


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({}, id="plain"),
        pytest.param({"accumulate_grad_batches": 4, "gradient_clip_val": 0.5}, id="accumulated and clipped"),
        pytest.param({"precision": "bf16-mixed"}, id="bf16"),
    ],
)
def test_the_weights_are_bit_for_bit_those_of_the_unwatched_training(
    parts: Any, tmp_path: Path, settings: dict[str, Any]
) -> None:
    bare = fitted(parts, tmp_path, max_epochs=2, **settings)
    watch = parts.LightningWatch(every=1, to=[tmp_path / "run"], snapshot_every=2, on_nan="rollback")
    watched = fitted(parts, tmp_path, max_epochs=2, watch=watch, **settings)

    assert all_equal(weights(bare), weights(watched))


def test_the_records_are_those_of_a_loop_written_by_hand(parts: Any, tmp_path: Path) -> None:
    one, module = parts.Classifier(), parts.Classifier()
    for each in (one, module):
        each.net[2].p = 0.0  # Lightning draws from the generator between batches, too
    fitted(parts, tmp_path, max_epochs=2, module=one, watch=parts.LightningWatch(every=2, to=[tmp_path / "one"]))
    made = module.configure_optimizers()
    optimizer, scheduler = made["optimizer"], made["lr_scheduler"]["scheduler"]
    torch.manual_seed(3)
    module.train()
    with isometry.watch(module, optimizer, every=2, to=[tmp_path / "two"], scheduler=scheduler) as run:
        for _ in range(2):
            for number, batch in enumerate(parts.loader()):
                optimizer.zero_grad()
                loss = module.training_step(batch, number)
                loss.backward()
                optimizer.step()
                scheduler.step()
                run.step(loss)

    one, two = read_run(tmp_path / "one"), read_run(tmp_path / "two")
    assert one.steps == two.steps == 12
    for left, right in zip(one.readings, two.readings, strict=True):
        assert (left.losses, left.learning_rates, left.layers) == (right.losses, right.learning_rates, right.layers)
        assert left.parameters == right.parameters


def test_layers_are_seen_though_the_training_step_goes_past_forward(parts: Any, tmp_path: Path) -> None:
    fitted(parts, tmp_path, max_epochs=1, watch=parts.LightningWatch(every=1, to=[tmp_path / "run"]))

    names = [layer.name for layer in read_run(tmp_path / "run").readings[1].layers]
    assert names == ["net.0", "net.3"]


def test_a_step_of_accumulation_counts_once_and_its_loss_is_the_mean(parts: Any, tmp_path: Path) -> None:
    watch = parts.LightningWatch(every=1, to=[tmp_path / "run"])
    module = parts.Classifier(rate=0.0)
    module.net[2].p = 0.0
    parts.trainer(tmp_path, max_epochs=1, accumulate_grad_batches=3, callbacks=[watch]).fit(module, parts.loader())

    found = read_run(tmp_path / "run")
    losses = [float(module.training_step(batch, 0).detach()) for batch in parts.loader()]
    assert found.steps == 2
    assert [reading.losses for reading in found.readings] == [
        (pytest.approx(sum(losses[:3]) / 3),),
        (pytest.approx(sum(losses[3:]) / 3),),
    ]


def test_a_fault_stops_the_trainer_with_the_last_finite_weights(parts: Any, tmp_path: Path) -> None:
    watch = parts.LightningWatch(every=1, to=[tmp_path / "run"])
    module = fitted(parts, tmp_path, max_epochs=3, watch=watch, broken=(20,))

    found = read_run(tmp_path / "run")
    assert all(bool(each.isfinite().all()) for each in module.parameters())
    assert found.faults[0].step == 3
    assert found.steps <= 3
    assert found.state == "failed"
    assert "step 3" in found.reason


def test_a_fault_is_raised_where_min_epochs_would_keep_the_trainer_going(parts: Any, tmp_path: Path) -> None:
    watch = parts.LightningWatch(every=1)

    with pytest.raises(NonFiniteError, match="step 3"):
        fitted(parts, tmp_path, max_epochs=3, min_epochs=3, watch=watch, broken=(20,))


@pytest.mark.parametrize("on_nan", ["skip", "rollback"])
def test_a_training_goes_on_past_a_fault(parts: Any, tmp_path: Path, on_nan: str) -> None:
    watch = parts.LightningWatch(every=1, to=[tmp_path / "run"], on_nan=on_nan, snapshot_every=1)
    module = fitted(parts, tmp_path, max_epochs=2, watch=watch, broken=(20,))

    found = read_run(tmp_path / "run")
    assert all(bool(each.isfinite().all()) for each in module.parameters())
    assert [fault.action for fault in found.faults] == [on_nan, on_nan]
    assert found.state == "finished"


def test_a_rule_stops_the_trainer_and_the_best_weights_come_back(parts: Any, tmp_path: Path) -> None:
    rule = EarlyStopping("val/loss", patience=2)
    module = parts.Classifier(rate=3.0)
    watch = parts.LightningWatch(every=4, to=[tmp_path / "run"], stopping=rule)
    trainer = parts.trainer(tmp_path, max_epochs=30, callbacks=[watch])
    trainer.fit(module, parts.loader(), parts.loader(num_rows=16))

    found = read_run(tmp_path / "run")
    assert trainer.current_epoch < 30
    assert len(found.evaluations) == trainer.current_epoch, "the sanity check is no evaluation"
    assert [evaluation.epoch for evaluation in found.evaluations] == list(range(1, trainer.current_epoch + 1))
    best = min(evaluation.metrics["val/loss"] for evaluation in found.evaluations)
    again = trainer.validate(module, parts.loader(num_rows=16), verbose=False)
    assert again[0]["val/loss"] == pytest.approx(best, rel=1e-6)


def test_metrics_of_the_training_are_evaluations_where_there_is_no_validation(parts: Any, tmp_path: Path) -> None:
    class Logging(parts.Classifier):
        def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
            loss = super().training_step(batch, batch_idx)
            self.log("train_loss", loss, on_epoch=True, on_step=False)
            return loss

    watch = parts.LightningWatch(every=4, to=[tmp_path / "run"])
    parts.trainer(tmp_path, max_epochs=2, callbacks=[watch]).fit(Logging(), parts.loader())

    assert [evaluation.metrics.keys() for evaluation in read_run(tmp_path / "run").evaluations] == [{"train_loss"}] * 2


def test_several_optimisers_have_to_be_told_apart(parts: Any, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"returned 2 optimisers \(0: SGD, 1: SGD\).*LightningWatch\(optimizer=0\)"):
        parts.trainer(tmp_path, max_epochs=1, callbacks=[parts.LightningWatch()]).fit(
            parts.Alternating(), parts.loader()
        )


def test_one_of_several_optimisers_is_watched_with_the_loss_that_is_logged(parts: Any, tmp_path: Path) -> None:
    watch = parts.LightningWatch(every=1, to=[tmp_path / "run"], optimizer=1, loss="second_loss")
    parts.trainer(tmp_path, max_epochs=1, callbacks=[watch]).fit(parts.Alternating(), parts.loader())

    found = read_run(tmp_path / "run")
    moved = {each.name for each in found.readings[0].parameters if each.update_rms}
    assert found.steps == 6
    assert moved == {"second.weight", "second.bias"}
    assert len({reading.losses for reading in found.readings}) == 6


def test_a_step_without_a_loss_is_an_error_that_says_how_to_name_it(parts: Any, tmp_path: Path) -> None:
    watch = parts.LightningWatch(optimizer=0)

    with pytest.raises(RunError, match="it logs: first_loss, second_loss"):
        parts.trainer(tmp_path, max_epochs=1, callbacks=[watch]).fit(parts.Alternating(), parts.loader())


def test_an_error_ends_the_run_as_failed_and_leaves_no_hook(parts: Any, tmp_path: Path) -> None:
    class Failing(parts.Classifier):
        def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
            if self.global_step == 3:
                raise ValueError("a bad batch")
            return super().training_step(batch, batch_idx)

    module = Failing()
    trainer = parts.trainer(tmp_path, max_epochs=1, callbacks=[parts.LightningWatch(to=[tmp_path / "run"])])
    with pytest.raises(ValueError, match="a bad batch"):
        trainer.fit(module, parts.loader())

    found = read_run(tmp_path / "run")
    assert (found.state, found.steps) == ("failed", 3)
    assert "a bad batch" in found.reason
    assert not trainer.optimizers[0]._optimizer_step_pre_hooks
    assert not any(each._forward_hooks or each._forward_pre_hooks for each in module.modules())


def test_ctrl_c_ends_the_run_as_interrupted(parts: Any, tmp_path: Path) -> None:
    class Interrupted(parts.Classifier):
        def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
            if self.global_step == 2:
                os.kill(os.getpid(), signal.SIGINT)
            return super().training_step(batch, batch_idx)

    before = signal.getsignal(signal.SIGINT)
    watch = parts.LightningWatch(to=[tmp_path / "run"])
    try:
        with pytest.raises(SystemExit):
            parts.trainer(tmp_path, max_epochs=1, callbacks=[watch]).fit(Interrupted(), parts.loader())
    finally:
        signal.signal(signal.SIGINT, before)  # Lightning leaves it ignored

    assert read_run(tmp_path / "run").state == "interrupted"


def test_a_resumed_training_goes_on_counting_and_keeps_the_rule_and_its_best_weights(
    parts: Any, tmp_path: Path
) -> None:
    class Worse(parts.Classifier):
        def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
            return -super().training_step(batch, batch_idx)

    def settings() -> dict[str, Any]:
        rule = EarlyStopping("val/loss", patience=50)
        return {"every": 2, "to": [tmp_path / "run"], "stopping": rule}

    module = parts.Classifier()
    first = parts.trainer(tmp_path, max_epochs=2, callbacks=[parts.LightningWatch(**settings())])
    first.fit(module, parts.loader(), parts.loader(num_rows=16))
    first.save_checkpoint(tmp_path / "saved.ckpt")
    best = min(each.metrics["val/loss"] for each in read_run(tmp_path / "run").evaluations)

    resumed = Worse()
    watch = parts.LightningWatch(**settings())
    second = parts.trainer(tmp_path, max_epochs=4, callbacks=[watch])
    second.fit(resumed, parts.loader(), parts.loader(num_rows=16), ckpt_path=tmp_path / "saved.ckpt")

    found = read_run(tmp_path / "run")
    assert found.steps == 24
    assert [each.step for each in found.evaluations] == [6, 12, 18, 24]
    again = second.validate(resumed, parts.loader(num_rows=16), verbose=False)
    assert again[0]["val/loss"] == pytest.approx(best, rel=1e-6)


def test_a_development_run_leaves_nothing(parts: Any, tmp_path: Path) -> None:
    rule = EarlyStopping("no such loss")
    watch = parts.LightningWatch(to=[tmp_path / "run"], stopping=rule)
    fitted(parts, tmp_path, fast_dev_run=True, watch=watch)

    assert not (tmp_path / "run").exists()


def test_one_callback_serves_two_trainings_in_turn(parts: Any, tmp_path: Path) -> None:
    watch = parts.LightningWatch(to=[tmp_path / "run"])
    fitted(parts, tmp_path, max_epochs=1, watch=watch)
    fitted(parts, tmp_path, max_epochs=1, watch=watch)

    assert read_run(tmp_path / "run").state == "finished"


def test_a_metric_that_nobody_logs_is_an_error_with_the_names_there_are(parts: Any, tmp_path: Path) -> None:
    watch = parts.LightningWatch(stopping=EarlyStopping("val_los", mode="min"))

    with pytest.raises(IsometryError, match="val/loss"):
        fitted(parts, tmp_path, max_epochs=1, watch=watch)


def test_two_processes_stop_together_though_their_metrics_differ(parts: Any, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", parts.__name__, str(tmp_path)],
        cwd=Path(__file__).parents[4],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    one, other = (read_run(tmp_path / "run", rank=rank) for rank in range(2))

    assert one.state == other.state == "stopped"
    assert one.evaluations == other.evaluations
    assert one.steps == other.steps < 27
