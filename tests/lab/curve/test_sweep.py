"""Sweeps over families whose thresholds and peaks are known."""

import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import nn

from isometry._errors import BuilderError, DomainError, LabError, ModelError
from isometry.lab.curve.report import CurveReport
from isometry.lab.curve.result import Curve
from isometry.lab.curve.sweep import sweep
from isometry.lab.engine.executors import SerialExecutor
from isometry.lab.engine.records import read_records
from isometry.report.language import catalogue
from isometry.report.terminal import plain_text
from tests.lab.curve import families
from tests.lab.curve.families import blobs, least_norm, least_norm_of_sixty, network, network_of_eight, numbers
from tests.report.words import asked

AT_ONCE: dict[str, Any] = {"epochs": 1, "batch_size": 1000, "decays": ()}
SAME = {"epoch", "epochs", "epoch {value}", "mse_loss"}  # in both languages
WIDTHS = (5, 20, 40, 60, 90, 300, 2000)


def over_width(current: int | None = None) -> Curve:
    return sweep(least_norm, over="width", values=WIDTHS, current=current, test_share=0.8, **AT_ONCE)


@pytest.fixture(scope="module")
def known() -> Curve:
    return over_width(20)


def test_the_threshold_of_least_squares_lies_where_features_are_examples(known: Curve) -> None:
    assert known.threshold == known.peak == 60
    assert known.num_train == 60
    assert known.train_error[:3] == tuple(sorted(known.train_error[:3], reverse=True))
    assert max(known.train_error[3:]) < 1e-3


@pytest.mark.parametrize(("current", "verdict"), [(20, "before"), (60, "at"), (300, "after")])
def test_the_side_of_the_peak_is_told(current: int, verdict: str) -> None:
    found = over_width(current)

    assert found.verdict == verdict
    assert verdict.replace("after", "behind") in str(found)


def test_more_data_hurt_before_the_peak_over_samples() -> None:
    found = sweep(
        least_norm_of_sixty, over="samples", values=(15, 30, 60, 120, 200), current=30, test_share=0.3, seeds=16,
        **AT_ONCE,
    )  # fmt: skip

    assert found.peak == 60
    assert found.threshold == 60
    assert found.verdict == "before"
    assert max(found.test_error[3:]) < found.test_error[1] < found.test_error[2]
    assert "Up to 60 examples everything is fitted." in str(found)


def test_data_without_noise_have_no_peak_and_a_network_that_is_wide_enough_fits_them() -> None:
    inputs, labels = blobs()
    found = sweep(
        network, inputs, labels, loss=F.cross_entropy, over="width", values=(1, 4, 16), epochs=20, decays=(), seeds=2,
        optimizer_factory=adam,
    )  # fmt: skip

    assert found.verdict == "no-peak"
    assert found.course in {"falls", "flat"}
    assert found.threshold in {1, 4}


def test_a_family_that_never_fits_has_no_threshold_and_says_by_how_much() -> None:
    inputs, labels = blobs(noise=0.3)
    found = sweep(
        network, inputs, labels, loss=F.cross_entropy, over="width", values=(1, 2, 3), epochs=5, decays=(), seeds=2
    )

    assert found.threshold is None
    assert re.search(r"Nowhere is everything fitted: the training error is at least \d", str(found))


def test_stopping_and_decay_help_where_labels_are_wrong() -> None:
    inputs, labels = blobs(noise=0.3)
    clean = blobs(900)
    found = sweep(
        network, inputs[:100], labels[:100], loss=F.cross_entropy, test=(clean[0][300:], clean[1][300:]), over="width",
        values=(1, 8, 64), current=64, epochs=80, decays=(10.0,), seeds=2, optimizer_factory=adam,
    )  # fmt: skip
    stop, decay = found.gains

    assert stop.lower.is_sure
    assert stop.error < found.test_error[-1] - 0.05
    assert decay.lower.is_sure
    assert decay.decay == 10.0
    assert found.best_epoch[-1] < 40
    assert "lower by" in str(found)


def adam(parameters: object) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=1e-2)  # pyright: ignore[reportArgumentType] - what a task hands over


def test_over_epochs_one_training_is_looked_at_on_its_way() -> None:
    inputs, labels = blobs()
    found = sweep(
        network_of_eight, inputs, labels, loss=F.cross_entropy, over="epochs", values=(1, 5, 30), current=5, seeds=2,
        decays=(0.1,),
    )  # fmt: skip
    longer = sweep(
        network_of_eight, inputs, labels, loss=F.cross_entropy, over="epochs", values=(1, 2, 5), seeds=2, decays=()
    )

    assert found.num_epochs == 30
    assert found.train_error[:2] == (longer.train_error[0], longer.train_error[2])
    assert found.test_error[:2] == (longer.test_error[0], longer.test_error[2])
    assert len(found.gains) == 2


@pytest.mark.slow
def test_two_groups_of_features_that_are_learnt_in_turn_make_a_peak_over_epochs() -> None:
    generator = torch.Generator().manual_seed(0)
    scale = torch.cat([torch.ones(70), torch.full((5,), 0.05)])
    inputs = torch.randn(100 + 400, 75, generator=generator)
    weights = torch.cat([torch.full((70,), 0.5**0.5 / 70**0.5), torch.full((5,), 0.5**0.5 / 5**0.5)])
    targets = inputs @ weights[:, None] + 0.3 * torch.randn(500, 1, generator=generator)
    found = sweep(
        lambda: nn.Linear(75, 1), (inputs * scale)[:100], targets[:100], loss=F.mse_loss, over="epochs",
        values=(1, 3, 10, 30, 100, 300, 1000, 5000), test=((inputs * scale)[100:], targets[100:]), current=3,
        optimizer_factory=plain, batch_size=100, decays=(), seeds=2,
    )  # fmt: skip

    assert found.verdict == "before"
    assert found.peak in {100, 300}


def plain(parameters: object) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.1)  # pyright: ignore[reportArgumentType] - what a task hands over


def test_random_numbers_of_the_process_are_left_as_they_were_and_sweeps_repeat() -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first, second = over_width(), over_width()

    assert torch.equal(before, torch.random.get_rng_state())
    assert first.test_error == second.test_error
    assert first.verdict is None


def test_numbers_are_told_in_variances_and_one_wild_answer_counts_as_ten() -> None:
    inputs, targets = numbers(200)
    found = sweep(
        linear, inputs, targets, loss=F.mse_loss,
        over="width", values=(1, 2, 4), epochs=3, decays=(), seeds=2, optimizer_factory=wild,
    )  # fmt: skip

    assert found.kind == "numbers"
    assert max(found.test_error) == 10.0


def linear(width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(10, width), nn.Linear(width, 1))


def wild(parameters: object) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=1e6)  # pyright: ignore[reportArgumentType] - what a task hands over


def test_the_picture_has_every_curve_and_marks_where_one_is(known: Curve) -> None:
    figure = known.figure

    assert {series.name for series in figure.series} == {"test, at the end", "test, at its best epoch", "training"}
    assert dict(figure.x_marks) == {20.0: "here", 60.0: "fitted"}
    assert all(len(series.x) == len(series.y) == len(WIDTHS) for series in figure.series)


def test_the_report_is_told_in_vietnamese_throughout(known: Curve) -> None:
    with asked() as found:
        told = plain_text(CurveReport(known, "vi"), width=80, encoding="utf-8")

    assert not {text for text in found if catalogue("vi").gettext(text) == text} - SAME
    assert "đỉnh" in told


def test_a_named_builder_is_recorded_and_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    families.LOG.touch()
    word = f"{families.__file__}:with_data"
    settings: dict[str, Any] = {"over": "width", "values": (1, 2, 4), "epochs": 2, "decays": (), "seeds": 2}
    shares: list[float] = []
    first = sweep(word, root=tmp_path / "out", executor=SerialExecutor(), watcher=shares.append, **settings)
    calls = len(families.LOG.read_text().splitlines())
    again = sweep(word, root=tmp_path / "out", executor=SerialExecutor(), **settings)
    here = sweep(word, **settings)

    assert calls == 6
    assert len(list(read_records(tmp_path / "out"))) == 6
    assert first.test_error == again.test_error == here.test_error
    assert shares[-1] == 1.0


@pytest.mark.slow
def test_a_named_builder_runs_in_other_processes(tmp_path: Path) -> None:
    found = sweep(
        f"{families.__file__}:with_data", over="width", values=(1, 2, 4), epochs=2, decays=(), seeds=2, root=tmp_path
    )

    assert len(found.test_error) == 3


def test_a_trial_that_fails_is_told_with_its_folder(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"width 1, seed 0 failed: .*no network of 1.* The whole traceback is in"):
        sweep(f"{families.__file__}:refusing", over="width", values=(1, 2, 3), root=tmp_path, executor=SerialExecutor())


INPUTS, LABELS = blobs(120)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"over": "depth"}, DomainError, "a curve is over one of width, epochs, samples"),
        ({"values": (4, 8)}, DomainError, "at least 3 different whole numbers"),
        ({"values": (0, 4, 8)}, DomainError, "from 1 on"),
        ({"values": (1.5, 4, 8)}, DomainError, "whole numbers"),
        ({"values": 8}, DomainError, "at least 3 different whole numbers"),
        ({"values": "248"}, DomainError, "at least 3 different whole numbers"),
        ({"values": (2, 4, math.nan)}, DomainError, "at least 3 different whole numbers"),
        ({"current": 0}, DomainError, "current=0 is no whole number from 1 on"),
        ({"current": "4"}, DomainError, "current='4' is no whole number"),
        ({"seeds": 2.5}, DomainError, "seeds=2.5 is no whole number"),
        ({"epochs": 2.5}, DomainError, "epochs=2.5 is no whole number"),
        ({"decays": 0.1}, DomainError, "decays=0.1 are no positive numbers"),
        ({"test": INPUTS}, BuilderError, "test= is no pair"),
        ({"test": (INPUTS[:50], LABELS[:40])}, BuilderError, "one row for each row of the inputs"),
        ({"test": (INPUTS[:50, :3], LABELS[:50])}, BuilderError, "the data of test= do not fit"),
        ({"seeds": 1}, DomainError, "noise shows between at least 2 seeds"),
        ({"epochs": 0}, DomainError, "epochs=0"),
        ({"test_share": 1.0}, DomainError, "test_share=1.0"),
        ({"test_share": 0.05}, DomainError, "6 examples are held out"),
        ({"decays": (0.1, -1.0)}, DomainError, "(0.1, -1.0) are no positive numbers"),
        ({"decays": (math.inf,)}, DomainError, "(inf,) are no positive numbers"),
        ({"builder": network(4)}, BuilderError, "every member and every seed needs a model of its own"),
        ({"builder": network_of_eight}, BuilderError, "cannot be called with 1"),
        ({"builder": int}, BuilderError, "the builder returned int"),
        ({"builder": families.refusing}, BuilderError, "called with 1 raised ValueError: no network of 1"),
        ({"builder": families.with_data}, BuilderError, "Leave out one of the two"),
        ({"builder": "nowhere"}, BuilderError, "names no builder"),
        ({"inputs": None, "targets": None, "loss": None}, BuilderError, "came without inputs"),
        ({"loss": None}, BuilderError, "does not use the targets"),
        ({"root": Path("out")}, LabError, "find by name"),
        ({"over": "samples", "builder": network_of_eight, "values": (4, 8, 999)}, DomainError, "999 examples"),
    ],
    ids=lambda value: ", ".join(value) if isinstance(value, dict) else None,
)
def test_what_cannot_be_meant_is_refused(changes: dict[str, Any], error: type[Exception], words: str) -> None:
    usual: dict[str, Any] = {"builder": network, "inputs": INPUTS, "targets": LABELS, "loss": F.cross_entropy}
    usual |= {"over": "width", "values": (1, 2, 3), "epochs": 1, "seeds": 2, "decays": ()}

    with pytest.raises(error, match=re.escape(words)):
        sweep(**usual | changes)


def counting(seen: list[int]) -> Any:
    """Return a builder that fails at a width of 4, and an optimiser that counts the trainings."""

    def build(width: int) -> nn.Module:
        return families.refusing(width) if width == 4 else network(width)

    def start(parameters: object) -> torch.optim.Optimizer:
        seen.append(1)
        return adam(parameters)

    return build, start


def test_a_size_that_cannot_be_built_is_told_before_any_other_is_trained() -> None:
    trained: list[int] = []
    build, start = counting(trained)

    with pytest.raises(BuilderError, match="no network of 4"):
        sweep(build, INPUTS, LABELS, loss=F.cross_entropy, over="width", values=(1, 2, 4), optimizer_factory=start)
    with pytest.raises(DomainError, match="999 examples"):
        sweep(
            network_of_eight, INPUTS, LABELS, loss=F.cross_entropy, over="samples", values=(4, 8, 999),
            optimizer_factory=start,
        )  # fmt: skip

    assert trained == []


def test_a_model_that_fails_on_its_batch_is_told_in_a_sentence() -> None:
    with pytest.raises(ModelError, match="the model of 1 failed on its batch"):
        sweep(linear, INPUTS[:, :3], LABELS, loss=F.cross_entropy, over="width", values=(1, 2, 4))


def test_of_numbers_all_counts_of_examples_have_one_unit() -> None:
    inputs, _ = numbers(200)
    targets = torch.randn(200, 1, generator=torch.Generator().manual_seed(1)).exp()
    found = sweep(
        Zero, inputs, targets, over="samples", values=(4, 8, 16, 64), current=16, loss=F.mse_loss,
        optimizer_factory=at_rest, epochs=1, decays=(), seeds=2,
    )  # fmt: skip

    assert len(set(found.test_error)) == 1
    assert found.course == "flat"


class Zero(nn.Linear):
    """A network that answers nothing but 0."""

    def __init__(self) -> None:
        super().__init__(10, 1)
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)


def at_rest(parameters: object) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.0)  # pyright: ignore[reportArgumentType] - what a task hands over


def test_to_stop_is_no_longer_training_than_the_one_that_is_asked_about() -> None:
    inputs, labels = blobs(noise=0.1)
    found = sweep(
        network_of_eight, inputs, labels, loss=F.cross_entropy, over="epochs", values=(1, 3, 30), current=1, seeds=2,
        decays=(),
    )  # fmt: skip

    assert found.best_epoch[0] == 1
    assert found.best_error[0] == found.gains[0].error == found.test_error[0]
    assert found.gains[0].lower.mean == 0
    assert found.best_epoch == tuple(sorted(found.best_epoch))
    assert found.best_error[-1] < found.best_error[0]


def test_trainings_that_diverge_are_no_finding() -> None:
    inputs, targets = numbers(200)
    found = sweep(
        linear, inputs, targets, loss=F.mse_loss, over="width", values=(1, 2, 4), epochs=3, decays=(), seeds=2,
        optimizer_factory=wild,
    )  # fmt: skip

    assert found.course == "diverged"
    assert found.diverged == (1, 2, 4)
    assert "Give a smaller learning rate" in " ".join(str(found).split())


def test_data_that_change_from_call_to_call_are_refused() -> None:
    for builder in (families.with_other_data, families.with_other_inputs):
        with pytest.raises(BuilderError, match="gives other inputs or targets at some sizes or seeds"):
            sweep(builder, over="width", values=(1, 2, 3), epochs=1, seeds=2, decays=())
