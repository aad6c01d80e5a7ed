import pytest
import torch
from torch import nn

from isometry.checking.check import check, diagnose
from isometry.findings import RULES
from isometry.probes.nonfinite import NonFiniteOrigin
from tests.findings.broken import BROKEN


@pytest.mark.parametrize(
    ("origin", "kinds"),
    [
        pytest.param(NonFiniteOrigin(None), [], id="finite"),
        pytest.param(NonFiniteOrigin("batch", "inputs", "", 3, 100), ["data"], id="in the batch"),
        pytest.param(NonFiniteOrigin("parameter", "0.weight", "", 3, 100), ["init"], id="in a parameter"),
        pytest.param(NonFiniteOrigin("forward", "1", "log", 3, 100, 0.5), ["model"], id="made going forward"),
        pytest.param(NonFiniteOrigin("backward", "1", "sqrt", 3, 100), ["model"], id="made going back"),
    ],
)
def test_the_remedy_follows_from_where_the_number_came_from(origin: NonFiniteOrigin, kinds: list[str]) -> None:
    assert [draft.remedy.kind for draft in RULES["NUM101"](origin)] == kinds


@pytest.mark.parametrize(
    ("name", "where", "words"),
    [
        pytest.param("nan-in-the-batch", "inputs", "one of 512 numbers", id="batch"),
        pytest.param("nan-in-a-parameter", "2.weight", "one of 320 numbers", id="parameter"),
        pytest.param("log-of-a-negative-number", "1", "log in '1' is the first", id="forward"),
        pytest.param("root-at-zero", "sqrt (operation 7)", "in the backward pass", id="backward"),
    ],
)
def test_the_first_operation_that_made_one_is_named(name: str, where: str, words: str) -> None:
    torch.manual_seed(0)
    finding = diagnose(BROKEN[name][1]()).findings[0]

    assert finding.where[0] == where
    assert words in finding.cause
    assert finding.measured


def test_a_mask_of_minus_infinity_before_a_softmax_is_meant() -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    mask = nn.Transformer.generate_square_subsequent_mask(6)

    assert check(layer, {"src": torch.randn(8, 6, 16), "src_mask": mask}).verdict == "healthy"
