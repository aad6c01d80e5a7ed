import math
from pathlib import Path

import pytest

from isometry._errors import RunError, SettingsError, UnknownNameError
from isometry.probes.running.readings import Evaluation
from isometry.report.language import speaking
from isometry.report.run.facts import RunFacts
from isometry.report.terminal import plain_text
from isometry.training.stopping.early import EarlyStopping
from isometry.training.stopping.prechelt import GL, UP
from isometry.training.stopping.replay import STOPPING_RULES, replay
from tests.training.stopping.curves import curve

RUN = curve(
    val_loss=(4, 2, 1, 2, 3, 4, 5, 6, 7, 8), test_accuracy=(0.5, 0.75, 0.875, 0.9375, 0.75, 0.5, 0.5, 0.5, 0.5, 0.25)
)


def facts(evaluations: list[Evaluation]) -> RunFacts:
    return RunFacts(
        name="run",
        model="Sequential",
        optimizer="Adam",
        every=10,
        versions={},
        state="finished",
        reason="",
        steps=10,
        seconds=1.0,
        evaluations=tuple(evaluations),
    )


def test_a_rule_keeps_what_it_calls_best_and_pays_until_it_stops() -> None:
    found = replay(RUN, [EarlyStopping("val_loss", patience=2)])
    row = found["EarlyStopping('val_loss', patience=2, unit='evaluations')"]

    assert (found.score, found.sign) == ("test_accuracy", -1)
    assert (row.score, row.budget, row.num_stops) == (0.875, 0.5, 1)
    assert (row.outcomes[0].kept, row.outcomes[0].stopped) == (RUN[2], RUN[4])
    assert (found.last.score, found.last.budget) == (0.25, 1.0)
    assert (found.oracle.score, found.oracle.outcomes[0].kept) == (0.9375, RUN[3])
    assert (found.gained(row), found.missed(row)) == (0.625, 0.0625)


def test_stopping_that_costs_something_is_a_negative_gain() -> None:
    run = curve(val_loss=(1, 2, 3, 0.5), test_accuracy=(0.5, 0.5, 0.5, 0.75))
    found = replay(run, {"hasty": EarlyStopping(patience=1)})

    assert (found.gained(found["hasty"]), found.missed(found["hasty"])) == (-0.25, 0.25)


def test_of_a_loss_less_is_better() -> None:
    found = replay(RUN, ["gl"], score="val_loss")

    assert (found.oracle.score, found.last.score, found.gained(found["gl"]), found.missed(found["gl"])) == (1, 8, 7, 0)


def test_a_run_its_evaluations_and_its_facts_give_the_same() -> None:
    one, other = (replay(records, ["gl", "up"]) for records in (RUN, facts(RUN)))

    assert one == other


def test_several_recordings_give_mean_and_spread() -> None:
    better = curve(
        val_loss=[each.metrics["val_loss"] for each in RUN],
        test_accuracy=[each.metrics["test_accuracy"] + 0.0625 for each in RUN],
    )
    row = replay([RUN, facts(better)], {"rule": EarlyStopping(patience=2)})["rule"]

    assert row.score == 0.90625
    assert row.spread == pytest.approx(0.0625 / math.sqrt(2))


def test_rules_come_by_name_as_they_are_and_from_functions() -> None:
    rules = {"name": "gl", "itself": GL(), "function": GL, "more": lambda: GL(5)}
    found = replay(RUN, rules)

    assert [row.rule for row in found.rows] == list(rules)
    assert all(row.outcomes == found.rows[0].outcomes for row in found.rows)


def test_a_rule_given_as_it_is_stays_fresh() -> None:
    rule = UP(1, strip=2)
    first, second = replay([RUN, RUN], {"up": rule})["up"].outcomes

    assert first == second
    assert rule.count == 0


def test_a_rule_that_has_seen_evaluations_is_refused() -> None:
    rule = GL()
    rule.update(RUN[0])

    with pytest.raises(SettingsError, match="has seen 1 evaluations already"):
        replay(RUN, [rule])


def test_a_rule_that_never_stops_uses_the_whole_budget_and_keeps_its_best() -> None:
    found = replay(RUN, {"patient": EarlyStopping(patience=100)})
    row = found["patient"]

    assert (row.score, row.budget, row.num_stops) == (0.875, 1.0, 0)
    assert "it did not stop" in str(found)


def test_the_budget_is_a_share_of_the_steps_not_of_the_evaluations() -> None:
    steps = (100, 110, 120, 1000)
    run = [Evaluation(step=step, metrics={"val_loss": float(step)}) for step in steps]

    assert replay(run, {"hasty": EarlyStopping(patience=1)})["hasty"].budget == 0.11


@pytest.mark.parametrize(
    ("metrics", "score"),
    [
        (("val_loss", "val_accuracy", "test_loss", "test_accuracy"), "test_accuracy"),
        (("val_loss", "val_accuracy", "test_loss"), "test_loss"),
        (("train_accuracy", "val_loss", "val_accuracy"), "val_accuracy"),
        (("val_loss", "test_score"), "val_loss"),
        (("val_loss", "test_mse", "test_error", "test_loss"), "test_error"),
    ],
)
def test_the_score_is_the_best_known_one(metrics: tuple[str, ...], score: str) -> None:
    run = curve(**dict.fromkeys(metrics, (1.0, 2.0)))

    assert replay(run, {}).score == score


def test_a_recording_without_a_known_score_asks_for_one() -> None:
    run = curve(goodness=(1.0, 2.0))

    with pytest.raises(SettingsError, match=r"none of the metrics goodness is known .* Give score="):
        replay(run, {})
    assert replay(run, {}, score="goodness", mode="max").oracle.score == 2.0


def test_what_holds_no_evaluations_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"a recording holds no evaluations.* Call run\.evaluate"):
        replay(facts([]), ["gl"])
    with pytest.raises(RunError, match="a recording holds no evaluations"):
        replay([], ["gl"])
    with pytest.raises(RunError, match=r"holds no 'records\.jsonl'"):
        replay(tmp_path, ["gl"])


@pytest.mark.parametrize(
    ("records", "words"),
    [
        ([{"val_loss": 1.0}], r"holds \{'val_loss': 1\.0\}, and a rule reads evaluations\. Give the folder"),
        ([[{"val_loss": 1.0}]], r"holds \{'val_loss': 1\.0\}, and"),
        ([*RUN, {"val_loss": 1.0}], r"holds \{'val_loss': 1\.0\}, and"),
        ([*RUN, "runs/one"], "holds 'runs/one', and"),
        ([3.0, 2.0], r"holds 3\.0, and"),
    ],
)
def test_what_is_no_recording_is_refused(records: object, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        replay(records, ["gl"])  # pyright: ignore[reportArgumentType] - the point


def test_a_rule_that_stops_without_a_best_keeps_the_weights_it_stopped_at() -> None:
    run = curve(val_loss=(math.nan, math.nan, 1.0, 2.0), test_accuracy=(0.25, 0.5, 0.75, 1.0))
    outcome = replay(run, {"rule": EarlyStopping(patience=2)})["rule"].outcomes[0]

    assert (outcome.kept, outcome.stopped, outcome.score) == (run[1], run[1], 0.5)


def test_names_that_are_not_known_are_answered_with_those_that_are() -> None:
    with pytest.raises(UnknownNameError, match=r"no stopping rule is named 'gll'\. Did you mean 'gl'"):
        replay(RUN, ["gll"])
    with pytest.raises(UnknownNameError, match="no replayed rule is named 'gk'"):
        _ = replay(RUN, ["gl"])["gk"]
    with pytest.raises(UnknownNameError, match="no metric 'train_loss'"):
        replay(RUN, ["pq"])


def test_every_rule_has_a_name() -> None:
    assert {type(make()).__name__ for make in STOPPING_RULES.values()} == {
        "EarlyStopping",
        "GL",
        "PQ",
        "UP",
        "LabelWave",
        "RandomLabelProbe",
        "DoubleDescent",
    }


def test_the_table_says_what_each_rule_keeps_and_why_it_stops() -> None:
    text = plain_text(replay(RUN, {"patience": EarlyStopping(patience=2)}), width=200, encoding="utf-8")

    assert [" ".join(line.split()) for line in text.splitlines()] == [
        "rule test_accuracy gained on the last short of the best budget used stopped because",
        "none: the last weights 0.25 +0 0.69 100%",
        "none can: the best weights 0.9375 +0.69 0 100%",
        "patience 0.875 +0.62 0.062 50% val_loss has not improved for 2 of 2 evaluations, the best being 1 at step 3",
    ]


@pytest.mark.parametrize("width", [60, 80])
def test_the_table_of_several_runs_fits_a_terminal(width: int) -> None:
    text = plain_text(replay([RUN, RUN], ["gl", "up"]), width=width, encoding="utf-8")

    assert max(map(len, text.splitlines())) <= width
    assert "2 of 2" in " ".join(text.split())


def test_the_table_is_in_vietnamese_too() -> None:
    with speaking("vi"):
        text = " ".join(plain_text(replay(RUN, ["gl"]), width=160, encoding="utf-8").split())

    assert text.startswith("luật test_accuracy hơn lần cuối kém tốt nhất phần đã dùng dừng vì")
    assert "val_loss cao hơn mức thấp nhất 100 % (giới hạn 5 %)" in text
