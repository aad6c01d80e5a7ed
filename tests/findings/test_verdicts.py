import pytest
import torch

from isometry.checking.check import check, diagnose
from isometry.findings import AUDIT_RULES, RULES, WATCH_RULES
from isometry.report.catalogue import MESSAGES
from tests.findings import (
    broken_arithmetic,
    broken_outputs,
    broken_signal,
    broken_weights,
    sound,
    sound_losses,
    sound_others,
    sound_signal,
    sound_weights,
)
from tests.findings.broken import BROKEN
from tests.findings.networks import SOUND

FROM_TRANSFORMERS = {"gpt2-of-four-layers", "llama-of-four-layers", "mixtral-with-idle-experts"}
assert all(
    (
        broken_arithmetic,
        broken_outputs,
        broken_signal,
        broken_weights,
        sound,
        sound_losses,
        sound_others,
        sound_signal,
        sound_weights,
    )
)  # importing them fills the tables
QUICK = [name for name in SOUND if name not in FROM_TRANSFORMERS]


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", QUICK)
def test_a_network_that_trains_gets_no_error_and_no_warning(name: str, seed: int) -> None:
    torch.manual_seed(seed)
    diagnosis = diagnose(SOUND[name](), seed=seed)

    assert not [finding for finding in diagnosis.findings if finding.severity != "note"]
    assert diagnosis.verdict == "healthy"


@pytest.mark.parametrize("name", sorted(FROM_TRANSFORMERS))
@pytest.mark.filterwarnings("ignore")  # of transformers' own
def test_a_language_model_that_trains_is_healthy(name: str) -> None:
    pytest.importorskip("transformers", reason="the models come from transformers")
    torch.manual_seed(0)

    assert diagnose(SOUND[name]()).verdict == "healthy"


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", BROKEN)
def test_a_network_that_does_not_train_is_broken_by_its_cause(name: str, seed: int) -> None:
    leading, build = BROKEN[name]
    torch.manual_seed(seed)
    findings = diagnose(build(), seed=seed).findings
    roots = [finding for finding in findings if finding.because is None and finding.severity != "note"]

    assert [finding.name for finding in roots if finding.severity == "error"] == [leading]
    assert {finding.because for finding in findings} - {None} <= {finding.code for finding in roots}
    assert findings[0] is roots[0]


def test_equal_units_are_explained_by_constant_weights() -> None:
    torch.manual_seed(0)
    findings = {f.name: f for f in diagnose(BROKEN["all-weights-a-twentieth"][1]()).findings}

    assert findings["constant-weights"].because is None
    assert findings["symmetric-units"].because == "INI101"


def test_every_message_is_filled_in() -> None:
    torch.manual_seed(0)
    findings = [finding for _, build in BROKEN.values() for finding in diagnose(build()).findings]

    assert {finding.code for finding in findings} == set(RULES)
    assert not [finding.message for finding in findings if "?" in finding.message or "{" in finding.message]


def test_every_rule_has_a_message_and_every_message_a_rule() -> None:
    assert set(MESSAGES) == {*RULES, *AUDIT_RULES, *WATCH_RULES}


def test_a_model_in_eval_mode_is_measured_as_it_is_with_a_warning() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1)).eval()

    assert "eval mode" in check(model, torch.randn(32, 4)).warnings[0]


def test_rules_without_their_measurement_are_skipped_with_a_reason() -> None:
    diagnosis = check(torch.nn.Linear(4, 1), torch.randn(32, 4))
    skipped = {each.code: each.reason for each in diagnosis.skipped}

    assert {"BWD101", "FWD101", "FWD103", "LOS101"} <= set(skipped)
    assert all(skipped.values())


def test_nothing_of_the_model_or_the_random_state_changes() -> None:
    torch.manual_seed(0)
    task = SOUND["dropout-and-batch-norm"]()
    before = {name: tensor.clone() for name, tensor in task.model.state_dict().items()}
    state = torch.random.get_rng_state()
    diagnose(task)

    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in task.model.state_dict().items())
    assert all(parameter.grad is None for parameter in task.model.parameters())
