import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_model
from torch import nn

from isometry.anatomy.builders import load_task, seed_everything
from isometry.checking.check import diagnose
from isometry.planning.weights_file import save_weights
from tests.cli.builders import Tied, deep_sigmoid, stack
from tests.cli.running import built, invoke


def model_of(name: str) -> nn.Module:
    """Return what a builder builds under the command's own seed."""
    with torch.random.fork_rng():
        seed_everything(0)
        return load_task(built(name)).model


def test_a_repaired_network_ends_with_zero_and_says_what_was_done() -> None:
    result = invoke("fix", built("deep_sigmoid"))

    assert result.exit_code == 0
    assert "the verdict went from broken to healthy" in result.stdout


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        pytest.param("detached", "Let the gradient through detach", id="a cut graph"),
        pytest.param("nan_in_the_batch", "Clean the inputs", id="bad data"),
    ],
)
def test_what_initialisation_cannot_repair_ends_with_one_and_its_name(name: str, cause: str) -> None:
    result = invoke("fix", built(name))
    said = " ".join(result.stdout.split())

    assert result.exit_code == 1
    assert "Nothing was changed: initialisation is not the cause." in said
    assert cause in said


def test_nothing_is_changed_on_a_healthy_network(tmp_path: Path) -> None:
    place = tmp_path / "weights"
    result = invoke("fix", built("quadruple"), "--out", place)
    before, saved = model_of("quadruple").state_dict(), stack()
    load_model(saved, str(place))

    assert result.exit_code == 0
    assert "Nothing to repair" in result.stdout
    assert all(torch.equal(tensor, before[name]) for name, tensor in saved.state_dict().items())


def test_what_is_written_is_named_in_the_language_that_is_asked_for(tmp_path: Path) -> None:
    weights, report = tmp_path / "weights.safetensors", tmp_path / "report.html"
    result = invoke("fix", built("pair"), "--out", weights, "--html", report, "--lang", "vi")

    assert result.exit_code == 0, result.stderr
    assert result.stdout.endswith(f"trọng số: {weights}\nbáo cáo: {report}\n")


def test_out_loads_into_a_new_model_that_is_healthy(tmp_path: Path) -> None:
    place = tmp_path / "weights.safetensors"
    result = invoke("fix", built("deep_sigmoid"), "--out", place)
    task = load_task(built("deep_sigmoid"))
    load_model(task.model, str(place))

    assert str(place) in result.stdout.replace("\n", "")
    assert diagnose(task).verdict == "healthy"


def test_out_keeps_tied_weights_tied(tmp_path: Path) -> None:
    place = tmp_path / "weights.safetensors"
    result = invoke("fix", built("tied"), "--out", place)
    model = Tied()
    missing, unexpected = load_model(model, str(place))

    assert result.exit_code == 0, result.output
    assert not missing
    assert not unexpected
    assert model.head.weight is model.embedding.weight


def weights(place: Path, *words: str) -> dict[str, torch.Tensor]:
    assert invoke("fix", built("deep_sigmoid"), "--out", place, *words).exit_code == 0
    model = deep_sigmoid()[0]
    load_model(model, str(place))
    return dict(model.state_dict())


def test_a_race_writes_the_repaired_weights_and_not_the_trained_ones(tmp_path: Path) -> None:
    alone = weights(tmp_path / "alone")
    raced = weights(tmp_path / "raced", "--race", "--race-steps", "3")

    assert all(torch.equal(alone[name], raced[name]) for name in alone)


def test_the_seed_chooses_the_weights(tmp_path: Path) -> None:
    first, again, other = (weights(tmp_path / str(run), "--seed", seed) for run, seed in enumerate("334"))

    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["2.weight"], other["2.weight"])


def test_the_settings_of_the_project_hold_for_a_repair(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text('[tool.isometry]\nselect = ["NUM101"]\nsteps = 0', encoding="utf-8")
    read = invoke("fix", built("deep_sigmoid"), "--config", path)
    told = invoke("fix", built("deep_sigmoid"), "--isolated", "--select", "NUM", "--steps", "0")

    assert "Nothing to repair" in read.stdout
    assert "Nothing to repair" in told.stdout


def test_protected_parameters_stay(tmp_path: Path) -> None:
    before = model_of("deep_sigmoid").state_dict()
    place = tmp_path / "weights"
    invoke("fix", built("deep_sigmoid"), "--out", place, "--protect", "0.*", "--protect", "60.weight")
    model = deep_sigmoid()[0]
    load_model(model, str(place))
    same = {name for name, tensor in model.state_dict().items() if torch.equal(tensor, before[name])}

    assert same == {"0.weight", "0.bias", "60.weight"}


def test_json_holds_both_diagnoses_the_plan_and_the_race() -> None:
    result = invoke("fix", built("deep_sigmoid"), "--race", "--race-steps", "3", "--json")
    document: dict[str, Any] = json.loads(result.stdout)

    assert (document["before"]["verdict"], document["after"]["verdict"]) == ("broken", "healthy")
    assert document["plan"][0]["parameter"] == "0.weight"
    assert document["race"]["steps"] == 3
    assert len(document["race"]["first"]["losses"]) == 3


def test_a_race_is_printed_and_drawn(tmp_path: Path) -> None:
    place = tmp_path / "report.html"
    result = invoke("fix", built("deep_sigmoid"), "--race", "--race-steps", "3", "--html", place)

    assert result.exit_code == 0
    assert "Race:" in result.stdout
    assert "Race" in place.read_text(encoding="utf-8")


def test_weights_that_safetensors_cannot_hold_are_told(tmp_path: Path) -> None:
    place = tmp_path / "weights"
    with pytest.raises(OSError, match=r"the weights of Linear cannot be written as safetensors: .* torch\.save"):
        save_weights(nn.Linear(2, 2, device="meta"), place)

    assert list(tmp_path.iterdir()) == []


def test_weights_go_through_a_device_and_leave_it_one() -> None:
    save_weights(nn.Linear(2, 2), "/dev/null")

    assert Path("/dev/null").is_char_device()
