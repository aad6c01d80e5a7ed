import numpy as np
import pytest

from isometry._errors import DomainError, SettingsError
from isometry.probes.running.readings import Evaluation
from isometry.training.stopping.descent import DoubleDescent
from isometry.training.stopping.early import EarlyStopping
from isometry.training.stopping.prechelt import GL
from tests.training.stopping.curves import curve, decisions, stop_of

# A first descent to 0.3, the rise to the peak where the training error comes to 0, and a second descent to 0.2.
VAL = (0.9, 0.5, 0.3, 0.4, 0.5, 0.6, 0.7, 0.5, 0.4, 0.3, 0.2, 0.2, 0.2, 0.2)
TRAIN = (0.9, 0.6, 0.5, 0.4, 0.3, 0.2, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


def test_it_trains_through_the_peak_where_patience_stops_before_it() -> None:
    evaluations = curve(val_error=VAL, train_error=TRAIN)
    rule = DoubleDescent(patience=3)

    assert stop_of(EarlyStopping("val_error", patience=3), evaluations) == 6
    assert stop_of(rule, evaluations) == 14
    assert rule.best is not None
    assert rule.best.step == 11


def test_where_no_second_descent_comes_the_first_ones_weights_are_kept() -> None:
    rule = DoubleDescent(patience=3)
    stops = stop_of(rule, curve(val_error=(*VAL[:7], 0.7, 0.7, 0.7, 0.7), train_error=TRAIN[:11]))

    assert stops == 10
    assert rule.best is not None
    assert rule.best.step == 3


def test_a_training_error_that_settles_above_zero_is_said_so() -> None:
    told = decisions(
        DoubleDescent(patience=3), curve(val_error=(0.5, 0.4, 0.5, 0.5, 0.5), train_error=(0.3,) + (0.2,) * 4)
    )

    assert [each.should_stop for each in told] == [False, False, False, False, True]
    assert told[-1].reason == (
        "train_error settled at 0.2, so no interpolation peak will come, and val_error does not improve"
    )
    assert told[2].reason == "train_error is 0.2: still before the interpolation peak"


@pytest.mark.parametrize(
    ("errors", "stops"),
    [
        pytest.param((0.5, 0.4999, 0.4998, 0.4997, 0.4996), 4, id="creeps"),
        pytest.param((0.5, 0.497, 0.494, 0.491, 0.488), None, id="one per cent in two evaluations"),
    ],
)
def test_a_training_error_that_creeps_counts_as_settled(errors: tuple[float, ...], stops: int | None) -> None:
    rule = DoubleDescent(patience=3)

    assert stop_of(rule, curve(val_error=(0.4, 0.5, 0.6, 0.7, 0.8), train_error=errors)) == stops


def test_the_peak_is_where_the_training_error_is_small_enough_for_the_user() -> None:
    evaluations = curve(val_error=(0.3, 0.5, 0.6, 0.6, 0.6), train_error=(0.2, 0.1, 0.05, 0.04, 0.03))

    assert stop_of(DoubleDescent(patience=2), evaluations) is None
    assert stop_of(DoubleDescent(patience=2, fitted=0.1), evaluations) == 4


def test_the_smallest_settings_are_allowed() -> None:
    rule = DoubleDescent(patience=1, fitted=0)

    assert stop_of(rule, curve(val_error=(0.3, 0.5, 0.4, 0.4), train_error=(0.1, 0.05, 0.0, 0.0))) == 4


def two_scale_risk() -> list[Evaluation]:
    """Gradient flow on a linear model whose features have two scales, in closed form on the singular directions.

    n = 1,000; 700 features of scale 1 and 50 of scale 0.03 that carry half of the signal, noise of deviation 0.5.
    Heckel & Yilmaz 2020, arXiv:2007.10099: each scale has its own bias and variance curve, one after the other.
    """
    random, count, sizes = np.random.default_rng(0), 1000, (700, 50)
    scales = np.repeat([1.0, 0.03], sizes)
    features = random.standard_normal((count, scales.size)) * scales
    weights = random.standard_normal(scales.size) / scales * np.sqrt(0.5 / np.repeat(sizes, sizes))
    targets = features @ weights + 0.5 * random.standard_normal(count)
    curvature, pull = features.T @ features / count, features.T @ targets / count
    rates, directions = np.linalg.eigh(curvature)
    found: list[Evaluation] = []
    for step in np.unique(np.round(np.geomspace(1, 200_000, 60))):
        fit = directions @ ((1 - (1 - 0.1 * rates) ** step) / rates * (directions.T @ pull))
        error = np.mean(targets**2) - 2 * fit @ pull + fit @ curvature @ fit
        risk = np.sum(((fit - weights) * scales) ** 2) + 0.25
        found.append(Evaluation(step=int(step), metrics={"val_loss": float(risk), "train_loss": float(error)}))
    return found


def test_epoch_wise_double_descent_of_a_linear_model_is_trained_through() -> None:
    evaluations = two_scale_risk()
    risks = [each.metrics["val_loss"] for each in evaluations]
    rule, hasty = DoubleDescent("val_loss", train="train_loss", patience=5), GL(5)

    stop_of(rule, evaluations)
    stop_of(hasty, evaluations)

    assert rule.best is not None
    assert hasty.best is not None
    assert max(risks[20:]) > 1.3 * hasty.best.metrics["val_loss"]  # there is a peak
    assert rule.best.metrics["val_loss"] == min(risks) < 0.98 * hasty.best.metrics["val_loss"]


def test_settings_that_cannot_be_meant_are_refused() -> None:
    with pytest.raises(DomainError, match="patience=0"):
        DoubleDescent(patience=0)
    with pytest.raises(SettingsError, match="'train_accuracy' more is better"):
        DoubleDescent(train="train_accuracy")
