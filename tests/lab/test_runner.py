"""Studies: what is run, what is recorded and judged, and what is not run again."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from isometry._errors import BuilderError, LabError, UnknownNameError
from isometry.lab.engine.executors import SerialExecutor
from isometry.lab.engine.records import read_records
from isometry.lab.experiment import EXPERIMENTS, ON_TASK
from isometry.lab.outcome import Outcome
from isometry.lab.runner import (
    chosen_studies,
    find_experiment,
    load_experiments,
    recorded_outcomes,
    run_studies,
)
from isometry.lab.showing.words import setting_words
from isometry.lab.study import Study, own_model
from tests.lab.invented import MODEL, only_invented


@pytest.fixture
def _invented() -> Iterator[None]:
    with only_invented():
        yield


def ran(root: Path, *studies: Study, seeds: int = 2) -> list[Outcome]:
    """Run studies in this process, each in the folder of its name."""
    shares: dict[Path, list[float]] = {}
    found = run_studies(
        {root / study.name: study for study in studies},
        range(seeds),
        executor=SerialExecutor(),
        watcher=lambda path, share: shares.setdefault(path, []).append(share),
    )
    outcomes = [outcome for _, outcome in found]

    assert all(told == sorted(told) and told[-1] == 1.0 for told in shares.values())
    return outcomes


def states(root: Path) -> list[str]:
    return sorted(record.state for record in read_records(root))


def model_file(folder: Path, outputs: int = 2) -> Path:
    path = folder / "net.py"
    path.write_text(MODEL.format(outputs=outputs), encoding="utf-8")
    return path


def test_every_experiment_on_a_model_belongs_to_an_experiment() -> None:
    load_experiments()

    assert set(ON_TASK) <= set(EXPERIMENTS)
    assert {find_experiment(name).name for name in EXPERIMENTS} == set(EXPERIMENTS)


@pytest.mark.usefixtures("_invented")
def test_a_study_has_a_record_a_seed_and_claims_over_all(tmp_path: Path) -> None:
    (outcome,) = ran(tmp_path, *chosen_studies("first"), seeds=3)

    assert [record.result for record in outcome.records] == [{"value": 2.0}, {"value": 4.0}, {"value": 6.0}]
    assert [(claim.measured, claim.is_held) for claim in outcome.claims] == [(2.0, True), (6.0, True)]
    assert outcome.is_held
    assert not outcome.is_refused


@pytest.mark.usefixtures("_invented")
def test_a_claim_that_does_not_hold_is_told(tmp_path: Path) -> None:
    (outcome,) = ran(tmp_path, *chosen_studies("first", assignments=["factor=7"]))

    assert [claim.is_held for claim in outcome.claims] == [True, False]
    assert not outcome.is_held


@pytest.mark.usefixtures("_invented")
def test_what_is_recorded_is_not_run_again_and_more_seeds_are_added(tmp_path: Path) -> None:
    (first,) = ran(tmp_path, *chosen_studies("first"))
    (more,) = ran(tmp_path, *chosen_studies("first"), seeds=3)

    assert more.records[:2] == first.records
    assert len(more.records) == 3


@pytest.mark.usefixtures("_invented")
def test_a_seed_that_fails_is_left_out_told_and_tried_again(tmp_path: Path) -> None:
    study = chosen_studies("first", assignments=["broken=1"])
    (outcome,) = ran(tmp_path, *study)
    before = {record.id: record.started for record in outcome.records}
    (again,) = ran(tmp_path, *study)

    assert [record.state for record in outcome.records] == ["finished", "failed"]
    assert "ArithmeticError: seed 1 is broken" in outcome.records[1].error
    assert [claim.measured for claim in outcome.claims] == [2.0, 2.0]
    assert not outcome.is_held
    assert not outcome.is_refused
    assert [record.started > before[record.id] for record in again.records] == [False, True]


@pytest.mark.usefixtures("_invented")
def test_where_every_seed_fails_nothing_is_judged(tmp_path: Path) -> None:
    (outcome,) = ran(tmp_path, *chosen_studies("first", assignments=["broken=0,1"]))

    assert (outcome.claims, outcome.figures) == ((), ())
    assert not outcome.is_held


@pytest.mark.usefixtures("_invented")
def test_a_judge_that_raises_spoils_no_other_outcome_and_is_told(tmp_path: Path) -> None:
    ran(tmp_path, *chosen_studies("all"))
    spoilt = next(record for record in read_records(tmp_path / "first") if record.trial.config["seed"] == 1)
    summary = spoilt.folder / "summary.json"
    summary.write_text(json.dumps(json.loads(summary.read_text()) | {"result": {"worth": 4.0}}))
    first, second = recorded_outcomes(tmp_path)

    assert (first.claims, first.figures, first.is_held, first.is_refused) == ((), (), False, False)
    assert first.error.endswith("KeyError: 'value'\n")
    assert "What was measured could not be judged." in str(first)
    assert "✗ judging and drawing\nTraceback" in str(first)
    assert second.is_held


@pytest.mark.usefixtures("_invented")
def test_what_another_version_measured_says_so_and_comes_after(tmp_path: Path) -> None:
    (study,) = chosen_studies("first")
    ran(tmp_path, replace(study, version="0.0.1"))
    ran(tmp_path, study)
    found = recorded_outcomes(tmp_path)

    assert [setting_words(outcome.study) for outcome in found] == ["", "(isometry 0.0.1)"]
    assert [len(outcome.records) for outcome in found] == [2, 2]


@pytest.mark.usefixtures("_invented")
def test_what_another_state_of_a_models_file_gave_says_so(tmp_path: Path) -> None:
    before, _ = own_model(f"{model_file(tmp_path)}:build")
    ran(tmp_path / "records", *chosen_studies("first", model=before), seeds=1)
    now, _ = own_model(f"{model_file(tmp_path, outputs=5)}:build")
    ran(tmp_path / "records", *chosen_studies("first", model=now), seeds=1)
    words = {setting_words(outcome.study) for outcome in recorded_outcomes(tmp_path / "records")}

    assert words == {"--model net.py:build", f"--model net.py:build (the file as it was: {before.code[:8]})"}
    (tmp_path / "net.py").unlink()
    assert {setting_words(outcome.study) for outcome in recorded_outcomes(tmp_path / "records")} == {
        "--model net.py:build"
    }


@pytest.mark.usefixtures("_invented")
def test_a_record_that_this_version_cannot_read_is_named(tmp_path: Path) -> None:
    ran(tmp_path, *chosen_studies("first"), seeds=1)
    (record,) = read_records(tmp_path)
    trial = record.folder / "trial.json"
    trial.write_text(trial.read_text().replace('"width"', '"breadth"'))

    with pytest.raises(LabError, match=rf"{record.id}' cannot be read by this version.*Delete it or move it away"):
        recorded_outcomes(tmp_path)


@pytest.mark.usefixtures("_invented")
def test_all_experiments_run_side_by_side_and_are_found_again(tmp_path: Path) -> None:
    outcomes = ran(tmp_path, *chosen_studies("all"))

    assert [outcome.study.name for outcome in outcomes] == ["first", "second"]
    assert recorded_outcomes(tmp_path) == outcomes
    assert recorded_outcomes(tmp_path / "second") == outcomes[1:]


@pytest.mark.usefixtures("_invented")
def test_other_settings_are_outcomes_of_their_own_the_usual_first(tmp_path: Path) -> None:
    words: list[list[str]] = [["factor=3", "hidden=4;8"], [], ["width=300"]]
    for assignments in words:
        ran(tmp_path, *chosen_studies("first", assignments=assignments))
    found = recorded_outcomes(tmp_path)

    assert [outcome.study.changes for outcome in found] == [(), ("width=300",), ("factor=3.0", "hidden=4;8")]
    assert [outcome.study.label for outcome in found][:2] == ["", "paper"]
    assert len({outcome.study.label for outcome in found}) == 3


@pytest.mark.usefixtures("_invented")
def test_a_model_of_ones_own_is_measured_and_measured_anew_when_its_file_changes(tmp_path: Path) -> None:
    records = tmp_path / "records"
    values: list[Any] = []
    for outputs in (2, 2, 5):
        model, task = own_model(f"{model_file(tmp_path, outputs)}:build")
        (outcome,) = ran(records, *chosen_studies("first", model=model), seeds=1)
        values.append(outcome.claims[0].measured)
        assert task.model(task.batch.inputs).shape == (4, outputs)

    assert values == [0.08, 0.08, 0.2]
    assert states(records) == ["finished"] * 2
    assert {str(outcome.study.question) for outcome in recorded_outcomes(records)} == {"How large is this network?"}
    assert {outcome.study.model.name for outcome in recorded_outcomes(records) if outcome.study.model} == {
        "net.py:build"
    }


@pytest.mark.usefixtures("_invented")
def test_a_model_that_changes_under_way_is_told(tmp_path: Path) -> None:
    model, _ = own_model(f"{model_file(tmp_path)}:build")
    model_file(tmp_path, outputs=5)
    (outcome,) = ran(tmp_path / "records", *chosen_studies("first", model=model), seeds=1)

    assert "was changed while it was measured" in outcome.records[0].error
    assert outcome.is_refused


@pytest.mark.usefixtures("_invented")
def test_a_model_of_an_importable_module_is_found_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model_file(tmp_path).rename(tmp_path / "a_net_of_the_tests.py")
    monkeypatch.syspath_prepend(str(tmp_path))
    model, _ = own_model("a_net_of_the_tests:build")
    (outcome,) = ran(tmp_path / "records", *chosen_studies("all", model=model), seeds=1)

    assert outcome.claims[0].measured == 0.08
    assert (model.name, outcome.study.name) == ("a_net_of_the_tests:build", "first")


def test_a_word_that_leads_to_no_model_is_told_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(BuilderError, match="no file"):
        own_model(f"{tmp_path / 'net.py'}:build")


@pytest.mark.usefixtures("_invented")
@pytest.mark.parametrize(
    ("name", "more", "told"),
    [
        ("second", {}, "second runs on the lab's own networks alone. On a model of yours run: first."),
        ("first", {"preset": "paper"}, "With --model use --set"),
        ("first", {"assignments": ["x=1"]}, "--set 'x=1' names no setting of first on a model."),
    ],
)
def test_what_cannot_be_run_on_a_model_is_told(name: str, more: dict[str, Any], told: str, tmp_path: Path) -> None:
    model, _ = own_model(f"{model_file(tmp_path)}:build")
    with pytest.raises(LabError, match=told):
        chosen_studies(name, model=model, **more)


@pytest.mark.usefixtures("_invented")
def test_names_that_are_none_are_told() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'first'"):
        chosen_studies("frist")
    with pytest.raises(LabError, match="Choose one of: quick, paper"):
        chosen_studies("first", preset="slow")


def test_a_folder_without_records_is_told(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="Run one first: isometry lab run NAME"):
        recorded_outcomes(tmp_path)
