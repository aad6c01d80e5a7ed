import pytest
import torch

from isometry.lab.apparatus.random_features import relu_features


def inputs(count: int, *, seed: int) -> torch.Tensor:
    return torch.randn(count, 30, generator=torch.Generator().manual_seed(seed))


def test_all_parts_have_features_by_the_same_directions() -> None:
    train, test = inputs(7, seed=0), inputs(4, seed=1)
    apart = relu_features(train, test, count=20, seed=3)
    (joined,) = relu_features(torch.cat([train, test]), count=20, seed=3)

    torch.testing.assert_close(torch.cat(apart), joined, rtol=1e-12, atol=1e-12)
    assert joined.dtype == torch.float64


def test_a_seed_draws_its_own_directions_and_no_others_random_numbers() -> None:
    random = torch.random.get_rng_state()
    one, again, other = (relu_features(inputs(5, seed=0), count=9, seed=seed)[0] for seed in (1, 1, 2))

    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert torch.equal(torch.random.get_rng_state(), random)


def test_products_of_features_are_the_arc_cosine_kernel_in_the_mean() -> None:
    """Cho, Saul 2009, Kernel methods for deep learning, eq. 6: E φ(x) φ(y) = |x| |y| (sin θ + (π - θ) cos θ) / 2πd."""
    pair = inputs(2, seed=5).double()
    (features,) = relu_features(pair, count=200_000, seed=0)
    found = features @ features.T / features.shape[1]
    sizes = pair.norm(dim=1)
    cosine = (pair @ pair.T / torch.outer(sizes, sizes)).clamp(-1, 1)
    angle = cosine.arccos()
    expected = torch.outer(sizes, sizes) * (angle.sin() + (torch.pi - angle) * cosine) / (2 * torch.pi * pair.shape[1])

    assert found.flatten().tolist() == pytest.approx(expected.flatten().tolist(), rel=0.02)
