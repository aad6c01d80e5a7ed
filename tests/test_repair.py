import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from safetensors.torch import load_model
from torch import Tensor, nn

from isometry._errors import OutputError
from isometry.anatomy.task import Task, make_task
from isometry.checking.settings import Settings
from isometry.planning.weights_file import save_weights
from isometry.repair import Repair, fix, plan
from tests.findings import sound, sound_losses, sound_others
from tests.findings.broken import BROKEN
from tests.findings.networks import SOUND, Residual, classify, he, stack

assert all((sound, sound_losses, sound_others))  # importing them fills the table
FROM_TRANSFORMERS = {"gpt2-of-four-layers", "llama-of-four-layers", "mixtral-with-idle-experts"}
BY_WEIGHTS = {
    *("vanishing-gradient", "exploding-gradient", "dying-relu", "saturated-activation"),
    *("constant-weights", "symmetric-units", "uninitialised-memory", "outlier-weights", "wrong-fan"),
}
# What new weights do not cure, or what fix does not draw, as experts in a list.
NOT_CURED = {
    *("batch-norm-without-residuals-60", "experts-cloned-and-averaged"),
    *("tanh-recurrence-of-150-steps", "attention-on-one-key"),
}
SLOW = {"sigmoid-200", "residual-100-unscaled"}
CURED = [
    pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW))
    for name, (leading, _) in BROKEN.items()
    if leading in BY_WEIGHTS and name not in NOT_CURED
]
NOT_BY_WEIGHTS = [name for name, (leading, _) in BROKEN.items() if leading not in BY_WEIGHTS]


def state(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def changed(model: nn.Module, before: dict[str, Tensor]) -> set[str]:
    return {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}


def fixed(task: Task) -> tuple[Repair, set[str]]:
    before = state(task.model)
    repair = fix(task)
    return repair, changed(task.model, before)


@pytest.mark.parametrize("name", [name for name in SOUND if name not in FROM_TRANSFORMERS])
def test_a_healthy_model_is_left_as_it_is_to_the_bit(name: str) -> None:
    torch.manual_seed(0)
    repair, touched = fixed(SOUND[name]())

    assert not touched
    assert not repair.plan.changes
    assert repair.summary.startswith("Nothing to repair")


@pytest.mark.parametrize("name", sorted(FROM_TRANSFORMERS))
@pytest.mark.filterwarnings("ignore")  # of transformers' own
def test_a_healthy_language_model_is_left_as_it_is_to_the_bit(name: str) -> None:
    pytest.importorskip("transformers", reason="the models come from transformers")
    torch.manual_seed(0)

    assert not fixed(SOUND[name]())[1]


@pytest.mark.filterwarnings("ignore")  # of transformers' own
def test_the_state_space_parameters_of_mamba_are_left_alone_even_if_all_its_layers_are_in_trouble() -> None:
    transformers = pytest.importorskip("transformers", reason="the model comes from transformers")
    torch.manual_seed(0)
    config = transformers.MambaConfig(vocab_size=64, hidden_size=32, num_hidden_layers=3, state_size=8)
    tokens = torch.randint(64, (2, 16))
    task = make_task(transformers.MambaForCausalLM(config), {"input_ids": tokens, "labels": tokens})
    _, touched = fixed(task)
    written = {entry.parameter for entry in plan(task).changes}

    assert not touched
    assert not [name for name in written if name.endswith(("A_log", ".D", "dt_proj.weight", "dt_proj.bias"))]


@pytest.mark.parametrize("name", CURED)
def test_what_initialisation_has_broken_is_healthy_after_the_repair(name: str) -> None:
    torch.manual_seed(0)
    repair, touched = fixed(BROKEN[name][1]())

    assert repair.before.verdict == "broken"
    assert repair.after.verdict == "healthy"
    assert not repair.left
    assert {finding.code for finding in repair.solved} >= {repair.before.findings[0].code}
    assert touched
    assert touched <= {entry.parameter for entry in repair.plan.changes}


@pytest.mark.parametrize("name", NOT_BY_WEIGHTS)
def test_what_initialisation_has_not_broken_is_named_and_nothing_is_changed(name: str) -> None:
    if name == "nan-in-a-parameter":
        pytest.skip("a NaN in a parameter is cured by writing it again")
    torch.manual_seed(0)
    task = BROKEN[name][1]()
    repair = fix(task)

    assert not repair.plan.changes
    assert repair.summary.startswith("Nothing was changed: initialisation is not the cause.")
    assert repair.before.findings[0].remedy.text in repair.summary


def test_a_nan_in_a_parameter_is_written_over() -> None:
    torch.manual_seed(0)
    repair, touched = fixed(BROKEN["nan-in-a-parameter"][1]())

    assert touched == {"2.weight", "2.bias"}
    assert repair.after.verdict == "healthy"


def test_of_one_constant_layer_among_sound_ones_only_that_is_written() -> None:
    torch.manual_seed(0)
    model = stack(16, 64, 64, 64, 10)
    nn.init.constant_(model[2].weight, 0.05)
    nn.init.zeros_(model[2].bias)
    model[4].weight.data[:] = model[4].weight.data[:, :1]
    repair, touched = fixed(classify(model))

    assert "constant-weights" in {finding.name for finding in repair.before.findings}
    assert touched <= {"2.weight", "2.bias", "4.weight", "4.bias"}
    assert repair.after.verdict == "healthy"


def test_of_a_start_loss_only_the_head_is_written() -> None:
    torch.manual_seed(0)
    model = he(stack(16, 64, 64, 10))
    model[4].weight.data *= 40
    repair, touched = fixed(classify(model))

    assert [finding.name for finding in repair.solved] == ["start-loss"]
    assert touched <= {"4.weight", "4.bias"}
    assert repair.after.verdict == "healthy"


def test_a_regression_far_from_zero_gets_its_targets_mean() -> None:
    torch.manual_seed(0)
    model = stack(8, 64, 64, 1)
    task = make_task(model, torch.randn(256, 8), 50 + torch.randn(256, 1), loss=F.mse_loss)
    repair, touched = fixed(task)

    assert touched == {"4.weight", "4.bias"}
    assert float(model[4].bias.detach()) == pytest.approx(50, abs=1)
    assert repair.after.verdict == "healthy"


def test_one_bad_layer_of_a_deep_stack_does_not_cost_the_others_their_weights() -> None:
    torch.manual_seed(0)
    model = he(stack(16, *[64] * 12, 10))
    nn.init.constant_(model[12].bias, -50.0)
    _, touched = fixed(classify(model))

    assert "12.weight" in touched
    assert not touched & {"2.weight", "6.weight", "10.weight"}


def test_a_repair_of_the_same_model_with_the_same_seed_is_the_same() -> None:
    made = []
    for _ in range(2):
        torch.manual_seed(0)
        task = BROKEN["tanh-40"][1]()
        fix(task, seed=7)
        made.append(state(task.model))

    assert all(torch.equal(made[0][name], made[1][name]) for name in made[0])


def forbid(change: dict[str, object]) -> Callable[[Task], Task]:
    return lambda task: replace(task, **change)


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        pytest.param(forbid({"protected": ("*",)}), "protected", id="protected"),
        pytest.param(forbid({"is_fresh": False}), "pretrained", id="pretrained"),
    ],
)
def test_what_may_not_be_written_is_not_and_the_summary_says_so(prepare: Callable[[Task], Task], words: str) -> None:
    torch.manual_seed(0)
    repair, touched = fixed(prepare(BROKEN["all-weights-a-twentieth"][1]()))

    assert not touched
    assert "initialisation is not the cause" not in repair.summary
    assert words in repair.summary


def test_what_new_weights_cannot_cure_is_left_as_it_is_and_said_without_advising_new_weights() -> None:
    torch.manual_seed(0)
    repair, touched = fixed(BROKEN["batch-norm-without-residuals-60"][1]())

    assert not touched
    assert repair.after.verdict == "broken"
    assert repair.summary.startswith("Nothing was changed")
    assert "New weights do not cure" in repair.summary
    assert "isometry fix" not in repair.summary


def test_a_change_to_the_code_is_printed_and_not_made() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 10), nn.Softmax(dim=1))
    inputs = torch.randn(64, 16)
    repair, touched = fixed(make_task(model, inputs, inputs[:, :10].argmax(1), loss=F.cross_entropy))

    assert not touched
    assert repair.before.findings[0].name == "wrong-output-activation"
    assert repair.suggestions == ("nn.CrossEntropyLoss takes logits: leave out the softmax (module '3')",)
    assert repair.suggestions[0] in repair.summary
    assert json.loads(repair.to_json())["suggestions"] == list(repair.suggestions)


def test_what_an_ignored_rule_would_blame_is_left_alone() -> None:
    torch.manual_seed(0)
    task = BROKEN["sigmoid-30"][1]()
    before = state(task.model)
    families = ("BWD", "FWD", "INI", "LOS", "TRN")
    repair = fix(task, settings=Settings(ignore=families, steps=0))

    assert not [each for each in (*repair.before.findings, *repair.after.findings) if each.code.startswith(families)]
    assert not changed(task.model, before)


def test_a_repair_judges_by_one_selected_rule_and_its_threshold() -> None:
    torch.manual_seed(0)
    task = BROKEN["sigmoid-30"][1]()
    lenient = Settings(select=("BWD101",), steps=0, thresholds={"BWD101": {"max-decay": 1e3, "safe-decay": 1e3}})

    assert fix(task, settings=lenient).summary.startswith("Nothing to repair")
    assert [each.code for each in fix(task, settings=Settings(select=("BWD101",))).solved] == ["BWD101"]


def test_a_repair_tries_the_users_own_optimiser() -> None:
    torch.manual_seed(0)
    inputs = torch.randn(64, 4)
    repair = fix(
        stack(4, 16, 1),
        inputs,
        inputs[:, :1],
        loss=F.mse_loss,
        optimizer_factory=lambda parameters: torch.optim.SGD(parameters, lr=0.05),
    )

    assert repair.before.trial is not None
    assert repair.before.trial.is_given


def test_a_plan_leaves_what_passes_the_signal_on_alone() -> None:
    torch.manual_seed(0)
    model = he(stack(16, *[64] * 6, 10))

    assert not plan(model, torch.randn(256, 16), torch.randint(10, (256,)), loss=F.cross_entropy).changes


def test_a_plan_writes_nothing() -> None:
    torch.manual_seed(0)
    task = BROKEN["sigmoid-30"][1]()
    before = state(task.model)

    assert plan(task).changes
    assert not changed(task.model, before)


def test_a_plan_does_not_write_what_initialisation_has_not_broken() -> None:
    torch.manual_seed(0)

    assert not plan(BROKEN["detached-body"][1]()).changes


def test_an_unscaled_residual_network_gets_its_branch_ends_scaled() -> None:
    torch.manual_seed(0)
    blocks = [Residual(he(stack(32, 32, 32))) for _ in range(50)]
    model = nn.Sequential(nn.Linear(16, 32), *blocks, nn.Linear(32, 10))
    repair, _ = fixed(classify(model))

    assert (repair.before.verdict, repair.after.verdict) == ("broken", "healthy")


@pytest.mark.parametrize("name", ["sigmoid-30", "detached-body", "he-relu-30"])
def test_the_document_of_a_repair_is_json(name: str) -> None:
    torch.manual_seed(0)
    document = json.loads(fix((SOUND | {key: build for key, (_, build) in BROKEN.items()})[name]()).to_json())

    assert set(document) == {"schema", "summary", "before", "plan", "after", "race", "suggestions"}
    assert document["schema"] == 1


def test_the_report_of_a_repair_is_one_file(tmp_path: Path) -> None:
    torch.manual_seed(0)
    fix(BROKEN["relu-30"][1]()).save_html(tmp_path / "report.html")

    assert "vanishing-gradient" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_saved_weights_are_read_back_also_where_they_are_tied(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 4))
    model[2].weight = model[0].weight
    other = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 4))
    other[2].weight = other[0].weight
    save_weights(model, tmp_path / "weights.safetensors")
    load_model(other, tmp_path / "weights.safetensors")

    assert not changed(other, state(model))


def test_weights_that_cannot_be_written_leave_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        save_weights(nn.Linear(2, 2), tmp_path / "missing" / "weights.safetensors")

    assert not list(tmp_path.iterdir())
