import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import nn

from isometry._errors import SettingsError
from isometry.checking.settings import Settings
from isometry.checking.trainable import assert_trainable


def deep(depth: int) -> nn.Sequential:
    torch.manual_seed(0)
    layers = [layer for _ in range(depth) for layer in (nn.Linear(16, 16), nn.Sigmoid())]
    return nn.Sequential(*layers, nn.Linear(16, 3))


def test_a_sound_network_passes_and_its_diagnosis_comes_back() -> None:
    x, y = torch.randn(64, 16), torch.randint(3, (64,))

    assert assert_trainable(deep(1), x, y, loss=F.cross_entropy).verdict == "healthy"


def test_a_broken_network_fails_with_the_report_as_the_message() -> None:
    with pytest.raises(AssertionError, match="BWD101 vanishing-gradient") as error:
        assert_trainable(deep(20), torch.randn(64, 16), torch.randint(3, (64,)), loss=F.cross_entropy)

    assert "remedy" in str(error.value)
    assert "\x1b" not in str(error.value)


def test_a_rule_that_is_ignored_fails_no_test() -> None:
    assert_trainable(
        deep(20),
        torch.randn(64, 16),
        torch.randint(3, (64,)),
        loss=F.cross_entropy,
        settings=Settings(select=("NUM101",), steps=0),
    )


def test_a_warning_passes_unless_health_is_asked_for() -> None:
    settings = Settings(
        select=("BWD101",), thresholds={"BWD101": {"max-decay": 1000.0, "safe-decay": 3.0}}, steps=0, proofs=0
    )
    network, x, y = deep(20), torch.randn(64, 16), torch.randint(3, (64,))

    assert assert_trainable(network, x, y, loss=F.cross_entropy, settings=settings).verdict == "at-risk"
    with pytest.raises(AssertionError, match="at-risk"):
        assert_trainable(network, x, y, loss=F.cross_entropy, settings=settings, worst="healthy")


def test_a_verdict_that_is_none_is_told() -> None:
    with pytest.raises(SettingsError, match="'fine' is no verdict"):
        assert_trainable(deep(1), torch.randn(64, 16), worst="fine")  # pyright: ignore[reportArgumentType] - the point
