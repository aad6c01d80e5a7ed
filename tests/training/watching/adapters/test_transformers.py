"""TrainerWatch against the real Trainer."""

import importlib
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from isometry import EarlyStopping, IsometryError
from isometry.training import read_run

pytestmark = pytest.mark.slow  # transformers takes seconds to import


@pytest.fixture(scope="module")
def parts() -> Any:
    pytest.importorskip("transformers", reason="transformers is an extra")
    return importlib.import_module("tests.training.watching.adapters.transformers_parts")


def weights(module: torch.nn.Module) -> list[Tensor]:
    return [each.detach().clone() for each in module.state_dict().values()]


def all_equal(left: list[Tensor], right: list[Tensor]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(left, right, strict=True))


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({}, id="plain"),
        pytest.param({"gradient_accumulation_steps": 4}, id="accumulated, the last group smaller"),
        pytest.param({"bf16": True, "max_grad_norm": 0.1}, id="bf16 and clipped"),
    ],
)
def test_the_weights_are_bit_for_bit_those_of_the_unwatched_training(
    parts: Any, tmp_path: Path, settings: dict[str, Any]
) -> None:
    bare, watched = parts.classifier(), parts.classifier()
    parts.trainer(parts.Trainer, bare, tmp_path, **settings).train()
    watch = parts.TrainerWatch(every=1, to=[tmp_path / "run"], snapshot_every=2, on_nan="rollback")
    parts.trainer(parts.Trainer, watched, tmp_path, callbacks=[watch], **settings).train()

    assert all_equal(weights(bare), weights(watched))


def logged_losses(trainer: Any) -> list[float]:
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({}, id="plain"),
        pytest.param({"gradient_accumulation_steps": 4}, id="accumulated, the last group smaller"),
        pytest.param({"label_smoothing_factor": 0.2}, id="a loss past the model's"),
    ],
)
@pytest.mark.parametrize("model", ["classifier", "language_model"])
def test_the_losses_are_those_that_the_trainer_logs(
    parts: Any, tmp_path: Path, model: str, settings: dict[str, Any]
) -> None:
    data = parts.labelled() if model == "classifier" else parts.texts()
    watch = parts.TrainerWatch(every=1, to=[tmp_path / "run"])
    logging = {"logging_strategy": "steps", "logging_steps": 1, "data": data, **settings}
    trainer = parts.trainer(parts.Trainer, getattr(parts, model)(), tmp_path, callbacks=[watch], **logging)
    trainer.train()

    found = [reading.losses[0] for reading in read_run(tmp_path / "run").readings]
    assert found == pytest.approx(logged_losses(trainer), abs=1e-4)


def test_a_loss_that_the_trainer_computes_itself_is_the_one_that_counts(parts: Any, tmp_path: Path) -> None:
    losses = {}
    for kind in (parts.Trainer, parts.Weighted):
        watch = parts.TrainerWatch(every=1, to=[tmp_path / kind.__name__])
        parts.trainer(kind, parts.classifier().eval(), tmp_path, callbacks=[watch], learning_rate=0.0).train()
        losses[kind.__name__] = read_run(tmp_path / kind.__name__).readings[0].losses[0]

    assert losses["Weighted"] == pytest.approx(7 * losses["Trainer"], rel=1e-5)


def test_the_trainer_is_left_as_it_was(parts: Any, tmp_path: Path) -> None:
    watch = parts.TrainerWatch(every=1, to=[tmp_path / "run"])
    trainer = parts.trainer(parts.Trainer, parts.classifier(), tmp_path, callbacks=[watch])
    trainer.train()

    assert "training_step" not in vars(trainer)
    assert not any(each._forward_hooks or each._forward_pre_hooks for each in trainer.model.modules())
    assert read_run(tmp_path / "run").state == "finished"


def poisoned(parts: Any, *, at_step: int) -> Any:
    """Return a Trainer whose loss is NaN in one step."""

    class Poisoned(parts.Trainer):
        def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
            loss = super().compute_loss(*args, **kwargs)
            return loss * torch.nan if self.state.global_step + 1 == at_step and self.model.training else loss

    return Poisoned


def test_a_fault_stops_the_trainer_with_the_last_finite_weights(parts: Any, tmp_path: Path) -> None:
    model = parts.classifier()
    watch = parts.TrainerWatch(every=1, to=[tmp_path / "run"])
    trainer = parts.trainer(poisoned(parts, at_step=3), model, tmp_path, callbacks=[watch])
    trainer.train()

    found = read_run(tmp_path / "run")
    assert all(bool(each.isfinite().all()) for each in model.parameters())
    assert trainer.state.global_step == 3
    assert found.state == "failed"
    assert found.faults[0].step == 3


@pytest.mark.parametrize("on_nan", ["skip", "rollback"])
def test_a_training_goes_on_past_a_fault(parts: Any, tmp_path: Path, on_nan: str) -> None:
    model = parts.classifier()
    watch = parts.TrainerWatch(every=1, to=[tmp_path / "run"], on_nan=on_nan, snapshot_every=1)
    trainer = parts.trainer(poisoned(parts, at_step=3), model, tmp_path, callbacks=[watch])
    trainer.train()

    found = read_run(tmp_path / "run")
    assert all(bool(each.isfinite().all()) for each in model.parameters())
    assert trainer.state.global_step == 6
    assert [fault.action for fault in found.faults] == [on_nan]
    assert found.state == "finished"


EVALUATED = {"eval_strategy": "steps", "eval_steps": 2}


def test_a_rule_stops_the_trainer_and_the_best_weights_come_back(parts: Any, tmp_path: Path) -> None:
    rule = EarlyStopping("eval_loss", patience=2)
    watch = parts.TrainerWatch(every=1, to=[tmp_path / "run"], stopping=rule)
    settings = EVALUATED | {"num_train_epochs": 50, "learning_rate": 3e-2, "evaluated": parts.labelled(8)[::-1]}
    trainer = parts.trainer(parts.Trainer, parts.classifier(), tmp_path, callbacks=[watch], **settings)
    trainer.train()

    found = read_run(tmp_path / "run")
    assert trainer.state.global_step < 300
    best = min(evaluation.metrics["eval_loss"] for evaluation in found.evaluations)
    assert trainer.evaluate()["eval_loss"] == pytest.approx(best, rel=1e-5)
    assert len(read_run(tmp_path / "run").evaluations) == len(found.evaluations)


def test_several_data_sets_are_one_evaluation_to_the_rule(parts: Any, tmp_path: Path) -> None:
    rule = EarlyStopping("eval_two_loss", patience=50)
    watch = parts.TrainerWatch(every=1, to=[tmp_path / "run"], stopping=rule)
    data = {"one": parts.labelled(4), "two": parts.labelled(8), "three": parts.labelled(12)}
    parts.trainer(parts.Trainer, parts.classifier(), tmp_path, callbacks=[watch], evaluated=data, **EVALUATED).train()

    assert rule.count == 3


def test_a_metric_that_no_evaluation_gives_is_an_error_with_the_names_there_are(parts: Any, tmp_path: Path) -> None:
    watch = parts.TrainerWatch(stopping=EarlyStopping("eval_los", mode="min"))
    settings = EVALUATED | {"evaluated": parts.labelled(4)}
    trainer = parts.trainer(parts.Trainer, parts.classifier(), tmp_path, callbacks=[watch], **settings)

    with pytest.raises(IsometryError, match="eval_loss"):
        trainer.train()


def test_an_error_in_a_step_ends_the_run_as_failed(parts: Any, tmp_path: Path) -> None:
    class Failing(parts.Trainer):
        def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
            if self.state.global_step == 2:
                raise ValueError("a bad batch")
            return super().compute_loss(*args, **kwargs)

    watch = parts.TrainerWatch(to=[tmp_path / "run"])
    trainer = parts.trainer(Failing, parts.classifier(), tmp_path, callbacks=[watch])
    with pytest.raises(ValueError, match="a bad batch"):
        trainer.train()

    found = read_run(tmp_path / "run")
    assert (found.state, found.steps) == ("failed", 2)
    assert "training_step" not in vars(trainer)


def test_a_resumed_training_goes_on_counting_and_keeps_the_rule(parts: Any, tmp_path: Path) -> None:
    def trained(**more: Any) -> Any:
        rule = EarlyStopping("eval_loss", patience=50)
        watch = parts.TrainerWatch(every=1, to=[tmp_path / "run"], stopping=rule)
        settings = EVALUATED | {"save_strategy": "steps", "save_steps": 2, "evaluated": parts.labelled(4)}
        return rule, parts.trainer(parts.Trainer, parts.classifier(), tmp_path, callbacks=[watch], **settings, **more)

    trained(max_steps=4)[1].train()
    rule, trainer = trained()
    trainer.train(resume_from_checkpoint=str(tmp_path / "trainer" / "checkpoint-4"))

    found = read_run(tmp_path / "run")
    assert found.steps == 6
    assert [reading.step for reading in found.readings] == [1, 2, 3, 4, 5, 6]
    assert rule.count == 3


def test_the_callback_of_no_trainer_says_so(parts: Any) -> None:
    with pytest.raises(IsometryError, match=r"isometry\.watch"):
        parts.TrainerWatch().on_train_begin(None, None, None, model=None, optimizer=None)
