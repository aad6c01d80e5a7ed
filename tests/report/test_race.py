from dataclasses import replace

import pytest
from rich.cells import cell_len

from isometry.probes.race_result import Evaluation, RaceResult
from isometry.report.race import MAX_CHECKPOINTS, checkpoints, race_text, settings_sentence, spread, winner_sentence
from tests.report.cases import race


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_table_is_ascii_and_fits(width: int) -> None:
    text = race_text(race(), width=width)

    assert text.isascii()
    assert max(map(cell_len, text.splitlines())) <= width


def test_names_that_the_console_cannot_show_are_escaped() -> None:
    assert race_text(race(first="[red]gốc[/red]"), encoding="ascii").isascii()
    assert "[red]gốc[/red]" in race_text(race(first="[red]gốc[/red]"))


def test_a_task_that_is_no_classification_has_no_accuracy() -> None:
    assert "accuracy" in race_text(race())
    assert "accuracy" not in race_text(race(with_accuracy=False))


@pytest.mark.parametrize(
    ("winner", "sentence"),
    [("first", "as built ended lower"), ("second", "repaired ended lower"), ("no difference", "no difference")],
)
def test_the_winner_is_named(winner: str, sentence: str) -> None:
    assert winner_sentence(replace(race(), winner=winner)) == sentence


def test_a_loss_that_is_not_finite_is_said_in_words() -> None:
    result = race()
    dead = replace(result.first, evaluations=(Evaluation(0, None, None),), finals=(None,))
    text = race_text(replace(result, first=dead))

    assert "not finite" in text.splitlines()[7]
    assert "final losses, as built: not finite" in text


def test_a_look_of_one_side_alone_leaves_the_other_empty() -> None:
    result = race()
    short = replace(result.first, evaluations=result.first.evaluations[:1])
    rows = checkpoints(replace(result, first=short))

    assert rows[0][1] is not None
    assert all(first is None and second is not None for _, first, second in rows[1:])


@pytest.mark.parametrize("count", [0, 1, 11, 12, 13, 400])
def test_checkpoints_are_spread_and_keep_both_ends(count: int) -> None:
    steps = list(range(5, 5 + count))
    kept = spread(steps, MAX_CHECKPOINTS)

    assert len(kept) == min(count, MAX_CHECKPOINTS)
    assert kept == sorted(set(kept))
    assert (kept[:1], kept[-1:]) == (steps[:1], steps[-1:])


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        pytest.param({"batch_size": None}, "on the given batch", id="one batch"),
        pytest.param({"held_out": 0}, "judged on the training batch", id="nothing held out"),
        pytest.param({"repeats": 1}, "1 data order from", id="one repeat"),
    ],
)
def test_the_conditions_are_named(changed: dict[str, int | None], words: str) -> None:
    result: RaceResult = replace(race(), **changed)

    assert words in settings_sentence(result)
