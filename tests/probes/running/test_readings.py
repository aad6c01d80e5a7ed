"""The history of a run stays small and keeps its ends."""

from isometry.probes.running.readings import MAX_POINTS, History, Reading


def test_a_history_is_bounded_and_keeps_its_first_and_its_latest_losses() -> None:
    history = History()
    for step in range(10, 100_001, 10):
        history.add(
            Reading(step=step, seconds=0.0, losses=tuple(float(step - 9 + i) for i in range(10)), learning_rates=())
        )

    steps = [step for step, _ in history.losses]
    assert len(steps) <= MAX_POINTS
    assert steps[0] == 1
    assert steps[-5:] == [99_996, 99_997, 99_998, 99_999, 100_000]
    assert steps == sorted(set(steps))
    assert all(step == loss for step, loss in history.losses)
