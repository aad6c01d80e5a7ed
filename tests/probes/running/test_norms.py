import pytest
import torch

from isometry.probes.running.norms import Norms


def sizes(*tensors: torch.Tensor) -> list[float]:
    """Return the root mean squares of one tensor that changes from step to step."""
    norms, found = Norms(), list[float]()
    for tensor in tensors:
        measured = norms.measure({"0": tensor})["0"].double().item() / tensor.numel() ** 0.5
        norms.learn({"0": measured})
        found.append(measured)
    return found


def test_zeros_that_become_very_small_numbers_are_seen_a_step_later() -> None:
    found = sizes(*[torch.zeros(9)] * 3, *[torch.full((9,), 1e-30)] * 3)

    assert found[-1] == pytest.approx(1e-30, rel=1e-5, abs=0.0)


def test_after_an_overflow_the_size_is_known_a_step_later() -> None:
    found = sizes(torch.ones(9), torch.ones(9), torch.full((9,), 1e30), torch.full((9,), 1e30))

    assert found[2] == float("inf")
    assert found[3] == pytest.approx(1e30, rel=1e-5)
