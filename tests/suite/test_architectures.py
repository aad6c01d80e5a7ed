import importlib.util

import pytest
import torch

from isometry.repair import fix
from tests.suite import architectures_graph, architectures_text, architectures_vision
from tests.suite.architecture import ARCHITECTURES
from tests.suite.known import ALARMED, TRULY_ALARMED
from tests.suite.measuring import Verdict, verdict_of

MISSING = [name for name in ("transformers", "torch_geometric") if importlib.util.find_spec(name) is None]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # of the packages' own
    pytest.mark.skipif(bool(MISSING), reason=f"the models come from packages that are not installed: {MISSING}"),
]

TABLES = (architectures_graph, architectures_text, architectures_vision)  # reading them has filled the table

UNTOUCHED = (
    "BertForMaskedLM",
    "GPTNeoXForCausalLM",
    "MistralForCausalLM",
    "Qwen2ForCausalLM",
    "GemmaForCausalLM",
    "MambaForCausalLM",
    "T5ForConditionalGeneration",
    "ViTForImageClassification",
    "ConvNextForImageClassification",
    "ResNetForImageClassification",
    "SwinForImageClassification",
    "MobileNetV2ForImageClassification",
)


def cases() -> list[object]:
    return [
        pytest.param(name, marks=pytest.mark.xfail(reason=ALARMED[name])) if name in ALARMED else name
        for name in ARCHITECTURES
        if name not in TRULY_ALARMED
    ]


@pytest.mark.parametrize("name", cases())
def test_a_real_architecture_at_its_own_start_gets_no_alarm(name: str) -> None:
    verdict = verdict_of(ARCHITECTURES[name], seed=0)

    assert verdict == Verdict()


@pytest.mark.parametrize(("name", "true"), TRULY_ALARMED.items())
def test_one_that_does_not_learn_from_its_own_start_gets_no_other_alarm_than_that(name: str, true: str) -> None:
    verdict = verdict_of(ARCHITECTURES[name], seed=0)

    assert {said.name for said in verdict.said} <= {true}


@pytest.mark.parametrize("name", UNTOUCHED)
def test_a_repair_leaves_a_real_architecture_as_it_is(name: str) -> None:
    torch.manual_seed(0)
    repair = fix(ARCHITECTURES[name]())

    assert repair.before.verdict == "healthy"
    assert not repair.plan.changes
