from pathlib import Path

import pytest

import isometry as iso
from isometry._errors import LabError, UnknownNameError
from isometry.lab import run_experiment

OWN = "{}:build"


def test_an_experiment_runs_from_python_and_prints_itself(tmp_path: Path) -> None:
    outcome = iso.lab.run_experiment("sigmoid-slope", seeds=2, settings={"num_layers": 20}, root=tmp_path)
    words = str(outcome)

    assert outcome.is_held
    assert outcome.study.settings.num_layers == 20
    assert "sigmoid-slope" in words
    assert f"{len(outcome.claims)} of {len(outcome.claims)} claims held" in words


def test_what_is_recorded_is_not_run_again(tmp_path: Path) -> None:
    first = run_experiment("sigmoid-slope", seeds=1, root=tmp_path)
    both = run_experiment("sigmoid-slope", seeds=(0, 3), root=tmp_path)

    assert both.records[0] == first.records[0]
    assert [record.trial.config["seed"] for record in both.records] == [0, 3]


def test_it_runs_on_a_model_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "import torch\nfrom torch import nn\n\n\ndef build():\n"
        "    layers = [layer for _ in range(12) for layer in (nn.Linear(16, 16), nn.Sigmoid())]\n"
        "    return nn.Sequential(*layers, nn.Linear(16, 3)), torch.randn(64, 16), torch.randint(3, (64,))\n",
        encoding="utf-8",
    )
    outcome = run_experiment("vanishing", seeds=1, model=OWN.format(file), root=tmp_path / "records")

    assert not outcome.is_held
    assert outcome.records[0].state == "finished"


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        pytest.param({"name": "sigmoid"}, UnknownNameError, "sigmoid-slope", id="a name that is none"),
        pytest.param({"name": "all"}, LabError, "isometry lab run all", id="all"),
        pytest.param({"name": "xavier", "settings": {"wdth": 3}}, LabError, "has no setting 'wdth'", id="a setting"),
        pytest.param(
            {"name": "xavier", "settings": {"depth": 0}}, LabError, "must be at least 1", id="a count of none"
        ),
        pytest.param({"name": "xavier", "on": "mars"}, LabError, "serial, local, ray", id="a place"),
        pytest.param({"name": "xavier", "model": "nowhere.py:build"}, iso.IsometryError, "nowhere.py", id="a model"),
    ],
)
def test_what_cannot_be_run_is_told(
    arguments: dict[str, str], error: type[Exception], words: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=words):
        run_experiment(**arguments, root=tmp_path)  # pyright: ignore[reportArgumentType] - wrong on purpose
