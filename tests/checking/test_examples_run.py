"""How much of a data set was run is said, and nothing is said where all of it was."""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention

from isometry.checking.check import check
from tests.findings.networks import stack


@pytest.mark.parametrize(("count", "said"), [(2000, True), (257, True), (256, False), (64, False)])
def test_how_much_of_a_data_set_was_run_is_said(count: int, *, said: bool) -> None:
    torch.manual_seed(0)
    inputs = torch.randn(count, 8)
    warnings = check(stack(8, 16, 3), inputs, inputs[:, :3].argmax(1), loss=F.cross_entropy).warnings

    assert (f"256 of the {count} examples of the data set were run." in warnings) is said
    assert any("examples of the data set" in each for each in warnings) is said
