import pytest

from tests.lab.on_task.tasks import cnn, measure, mlp, refuted, regression


def measured(*test: float, validation: tuple[float, ...] = (), key: str = "test_accuracy") -> list[dict[str, object]]:
    """Return a training whose scores on test data are given."""
    losses = list(validation or range(len(test), 0, -1))
    return [
        {"kind": "classes", "num_test": 10_000, "course": {"train_loss": losses, "val_loss": losses, key: list(test)}}
    ]


def test_a_training_of_classes_is_recorded_and_replayed() -> None:
    for task in (mlp(), cnn()):
        (found,) = measure("early-stopping", task, num_epochs=3)

        assert set(found["course"]) == {"train_loss", "val_loss", "test_loss", "val_accuracy", "test_accuracy"}
        assert [len(values) for values in found["course"].values()] == [3] * 5


def test_one_of_numbers_is_judged_by_its_loss() -> None:
    found = measure("early-stopping", regression(), num_epochs=3)

    assert "test_accuracy" not in found[0]["course"]
    assert refuted("early-stopping", found) == []


def test_a_training_that_gets_better_to_its_end_holds() -> None:
    assert refuted("early-stopping", measured(*(0.5 + 0.01 * epoch for epoch in range(20)))) == []


def test_what_few_test_examples_do_not_tell_is_no_finding() -> None:
    found = measured(0.9, 0.8, *[0.8] * 9, validation=(2.0, 1.0, *[1.5] * 9))
    few = [{**each, "num_test": 20} for each in found]

    assert len(refuted("early-stopping", found)) == 1
    assert refuted("early-stopping", few) == []


def test_stopping_before_a_late_gain_is_told() -> None:
    validation = (2.0, 1.0, *[1.5] * 8, 0.5)
    found = measured(0.5, 0.6, *[0.6] * 8, 0.9, validation=validation)

    assert len(refuted("early-stopping", found)) == 2


def test_keeping_the_wrong_epoch_is_told_even_where_the_last_one_is_no_better() -> None:
    found = measured(0.9, 0.7, *[0.7] * 9, validation=(2.0, 1.0, *[1.5] * 9))

    (told,) = refuted("early-stopping", found)
    assert "near the best" in told


@pytest.mark.parametrize(("last", "count"), [(1.05, 0), (0.5, 2)])
def test_losses_of_numbers_are_held_in_per_cent(last: float, count: int) -> None:
    found = measured(2.0, 1.1, *[1.2] * 8, last, validation=(2.0, 1.0, *[1.5] * 8, 0.5), key="test_loss")

    assert len(refuted("early-stopping", found)) == count
