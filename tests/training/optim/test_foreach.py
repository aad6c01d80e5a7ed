import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from isometry.training.optim.foreach import buckets, norms_of, whole
from tests.training.optim.driven import drawn

ROOT = Path(__file__).parents[3]


def test_tensors_share_a_bucket_only_with_their_equals() -> None:
    wide, narrow = torch.zeros(2, dtype=torch.float64), nn.Parameter(torch.zeros(3))
    found = buckets([(wide, 1), (narrow, 1), (torch.ones(1), 1), (torch.ones(4), 2)])

    assert [[tuple(each.shape) for each in alike] for alike in found.values()] == [[(2,)], [(3,), (1,)], [(4,)]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_norms_are_those_of_float64_at_the_precision_of_the_numbers(dtype: torch.dtype) -> None:
    tensors = [1e4 * drawn(40, 30, seed=1, dtype=dtype), drawn(seed=2, dtype=dtype), torch.zeros(0, dtype=dtype)]

    found = norms_of(tensors)

    assert found.dtype == torch.promote_types(dtype, torch.float32)
    torch.testing.assert_close(
        found.double(), torch.stack([each.double().norm() for each in tensors]), rtol=1e-5, atol=0
    )


def test_a_tensor_that_one_process_holds_is_whole() -> None:
    tensor = torch.ones(2)

    assert whole(tensor) is tensor


@pytest.mark.slow
def test_tensors_of_which_two_processes_hold_a_half_each_are_treated_as_wholes(tmp_path: Path) -> None:
    address = f"file://{tmp_path / 'meeting'}"
    command = [sys.executable, "-m", "tests.training.optim.sharded", address]
    processes = [
        subprocess.Popen([*command, str(rank)], cwd=ROOT, text=True, stderr=subprocess.PIPE) for rank in range(2)
    ]
    try:
        told = [process.communicate(timeout=600)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()

    assert [process.returncode for process in processes] == [0, 0], "\n".join(told)
