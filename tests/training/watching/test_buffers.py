import math

import pytest
import torch
from torch import nn

from isometry.training.watching.buffers import Buffers


def test_the_averages_of_a_batch_norm_go_back_to_the_last_good_step() -> None:
    model = nn.BatchNorm1d(3)
    buffers = Buffers(model)
    model(torch.randn(4, 3))
    buffers.look()
    buffers.keep()
    good = [each.tolist() for each in model.buffers()]

    model(torch.full((4, 3), math.nan))
    buffers.restore()

    assert [each.tolist() for each in model.buffers()] == good


def test_buffers_that_do_not_move_are_not_copied_again() -> None:
    model = nn.BatchNorm1d(3)
    model.register_buffer("mask", torch.ones(3))
    buffers = Buffers(model)
    model(torch.randn(4, 3))
    buffers.look()
    buffers.keep()
    model.mask.zero_()

    buffers.keep()
    buffers.restore()

    assert model.mask.tolist() == [1.0, 1.0, 1.0]


def test_a_model_without_buffers_needs_none() -> None:
    buffers = Buffers(nn.Linear(2, 2))

    buffers.look()
    buffers.keep()
    buffers.restore()

    assert list(nn.Linear(2, 2).buffers()) == []


def test_a_comparison_that_fails_is_told_once_and_ends_no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> bool:
        raise RuntimeError("a defect")

    buffers = Buffers(nn.BatchNorm1d(3))
    monkeypatch.setattr(torch, "equal", fails)

    with pytest.warns(UserWarning, match="buffers cannot be kept: RuntimeError: a defect"):
        buffers.look()
    for _ in range(2):  # a warning would be an error now
        buffers.look()
        buffers.keep()
        buffers.restore()

    assert buffers._is_given_up
