import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isometry._errors import DomainError, SettingsError
from isometry.training.stopping.prechelt import GL, PQ, UP, generalisation_loss, training_progress
from isometry.training.stopping.rule import StoppingRule
from tests.training.stopping.curves import curve, stop_of

LOSSES = st.lists(st.integers(1, 1000).map(float), min_size=1, max_size=40)
SCALES = st.sampled_from((0.125, 2.0, 16.0))


@pytest.mark.parametrize(
    ("losses", "alpha", "stops"),
    [
        pytest.param((1.0, 0.5, 0.51, 0.52, 0.53), 5, 5, id="6 % above 0.5"),
        pytest.param((1.0, 0.5, 0.51, 0.52, 0.53), 6.5, None, id="6 % are allowed"),
        pytest.param((1.0, 0.5, 0.5, 0.5), 0, None, id="equal is no loss"),
        pytest.param((1.0, 0.5, 0.5000001), 0, 3, id="any rise"),
        pytest.param((1.0, 0.0, 0.0, 0.1), 1000, 4, id="above zero is above all bounds"),
        pytest.param((1.0, math.nan, 0.5), 5, 2, id="NaN is above all bounds"),
    ],
)
def test_gl_stops_above_its_bound(losses: tuple[float, ...], alpha: float, stops: int | None) -> None:
    assert stop_of(GL(alpha), curve(val_loss=losses)) == stops


@given(loss=st.floats(1, 100), share=st.floats(0, 10))
def test_generalisation_loss_is_the_rise_in_per_cent(loss: float, share: float) -> None:
    assert generalisation_loss(loss * (1 + share), loss) == pytest.approx(100 * share, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(
    ("losses", "progress"),
    [
        pytest.param([1.2, 1.1, 1.0, 1.1, 1.2], 120.0, id="mean 1.12 over lowest 1"),
        pytest.param([2.5, 2.0, 2.0, 2.0], 62.5, id="mean 2.125 over lowest 2"),
        pytest.param([2.0, 2.0, 2.0], 0.0, id="none"),
        pytest.param([1.0, 0.0], math.inf, id="down to zero"),
        pytest.param([0.0, 0.0], 0.0, id="none at zero"),
    ],
)
def test_progress_is_the_mean_of_a_strip_above_its_lowest_in_per_mille(losses: list[float], progress: float) -> None:
    assert training_progress(losses) == pytest.approx(progress, rel=1e-12)


@pytest.mark.parametrize(
    ("val", "train", "settings", "stops"),
    [
        # Strips of 2. At 4: GL = 50 %, P = 1000 (1.05 / 1 - 1) = 50, PQ = 1.
        pytest.param((1, 1, 1, 1.5), (2, 1, 1.1, 1.0), {"alpha": 0.9, "strip": 2}, 4, id="1 is above 0.9"),
        pytest.param((1, 1, 1, 1.5), (2, 1, 1.1, 1.0), {"alpha": 1.1, "strip": 2}, None, id="1 is not above 1.1"),
        pytest.param((1, 1, 9, 1, 9), (2, 1, 1, 1, 1), {"alpha": 0.1, "strip": 2}, None, id="only at ends of strips"),
        pytest.param((1, 2), (1, 1), {"alpha": 3.0, "strip": 2}, 2, id="no progress and a loss"),
        pytest.param((1, 1), (1, 1), {"alpha": 0.0, "strip": 2}, None, id="no progress and no loss"),
        pytest.param((1, 2), (1, 0), {"alpha": 1.0, "strip": 2}, None, id="endless progress"),
    ],
)
def test_pq_weighs_the_loss_against_the_progress(
    val: tuple[float, ...], train: tuple[float, ...], settings: dict[str, float], stops: int | None
) -> None:
    rule = PQ(**settings)  # pyright: ignore[reportArgumentType] - numbers of the table

    assert stop_of(rule, curve(val_loss=val, train_loss=train)) == stops


@pytest.mark.parametrize(("strip", "stops"), [(1, 2), (2, 4), (3, 6), (4, 8)])
def test_a_strip_is_as_long_as_it_is_said(strip: int, stops: int) -> None:
    rising = [float(number) for number in range(1, 13)]

    assert stop_of(UP(1, strip=strip), curve(val_loss=rising)) == stops
    assert stop_of(PQ(1, strip=strip), curve(val_loss=rising, train_loss=[1.0] * 12)) == (
        stops if strip == 1 else strip
    )


@pytest.mark.parametrize(
    ("losses", "strips", "stops"),
    [
        pytest.param((9, 1, 9, 2, 9, 3), 2, 6, id="1 < 2 < 3 at the ends of strips of 2"),
        pytest.param((9, 1, 9, 2, 9, 3), 1, 4, id="one rise"),
        pytest.param((9, 1, 9, 2, 9, 2, 9, 3), 2, None, id="equal breaks the row"),
        pytest.param((9, 1, 9, 2, 9, 1, 9, 2, 9, 3), 2, 10, id="two in a row, not two in all"),
        pytest.param((9, 1, 9, math.nan, 9, math.nan), 2, 6, id="what is no number has risen"),
    ],
)
def test_up_stops_after_strips_that_rose_in_a_row(losses: tuple[float, ...], strips: int, stops: int | None) -> None:
    assert stop_of(UP(strips, strip=2), curve(val_loss=losses)) == stops


def rules() -> list[StoppingRule]:
    return [GL(5), PQ(0.5, strip=3), UP(1, strip=2)]


@given(losses=LOSSES)
def test_a_loss_that_never_rises_never_stops(losses: list[float]) -> None:
    falling = sorted(losses, reverse=True)

    assert [stop_of(rule, curve(val_loss=falling, train_loss=falling)) for rule in rules()] == [None] * 3


@given(losses=LOSSES, scale=SCALES)
def test_the_unit_of_a_loss_does_not_matter(losses: list[float], scale: float) -> None:
    scaled = [scale * loss for loss in losses]
    plain, other = (
        [stop_of(rule, curve(val_loss=values, train_loss=values)) for rule in rules()] for values in (losses, scaled)
    )

    assert plain == other


@given(losses=LOSSES, alpha=st.floats(0, 50))
def test_a_wider_bound_never_stops_earlier(losses: list[float], alpha: float) -> None:
    narrow, wide = (stop_of(GL(each), curve(val_loss=losses)) for each in (alpha, 2 * alpha + 1))

    assert wide is None or (narrow is not None and narrow <= wide)


@given(losses=LOSSES)
def test_the_best_evaluation_is_the_first_of_the_lowest(losses: list[float]) -> None:
    for rule in rules():
        for each in curve(val_loss=losses, train_loss=losses):
            rule.update(each)

        assert rule.best is not None
        assert rule.best.step == losses.index(min(losses)) + 1


def test_a_negative_loss_is_refused() -> None:
    with pytest.raises(DomainError, match=r"val_loss is -0\.3 at step 1, and .* Use EarlyStopping for it\."):
        GL().update(val_loss=-0.3)


def test_an_accuracy_is_refused_as_a_loss() -> None:
    with pytest.raises(SettingsError, match="of 'val_accuracy' more is better"):
        GL(monitor="val_accuracy")


@pytest.mark.parametrize("make", [lambda: GL(-1), lambda: PQ(-0.1), lambda: UP(0), lambda: UP(1, strip=0)])
def test_bounds_that_cannot_be_meant_are_refused(make: type[StoppingRule]) -> None:
    with pytest.raises(DomainError, match="must be at least"):
        make()
