"""Ridge in its dual form against the normal equations and against least squares by another method."""

import pytest
import torch

from isometry.lab.apparatus.ridge import ridge_outputs

CASES = [pytest.param(7, id="fewer features"), pytest.param(20, id="as many"), pytest.param(50, id="more features")]


def drawn(num_features: int, *, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = ((20, num_features), (20, 3), (9, num_features))
    features, targets, others = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
    return features, targets, others


@pytest.mark.parametrize("num_features", CASES)
def test_every_strength_solves_the_normal_equations(num_features: int) -> None:
    features, targets, others = drawn(num_features)
    strengths = (0.5, 40.0)
    answers = ridge_outputs(features, targets, others=others, strengths=strengths)
    for strength, answer in zip(strengths, answers, strict=True):
        square = features.T @ features + strength * torch.eye(num_features, dtype=torch.float64)
        expected = others @ torch.linalg.solve(square, features.T @ targets)

        torch.testing.assert_close(answer, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("num_features", CASES)
def test_strength_0_is_the_least_squares_of_least_norm(num_features: int) -> None:
    features, targets, others = drawn(num_features, seed=1)
    (answer,) = ridge_outputs(features, targets, others=others, strengths=(0.0,))
    expected = others @ torch.linalg.lstsq(features, targets, driver="gelsd").solution

    torch.testing.assert_close(answer, expected, rtol=1e-6, atol=1e-6)


def test_features_that_repeat_others_change_nothing_but_their_scale() -> None:
    features, targets, others = drawn(6)
    once = ridge_outputs(features, targets, others=others, strengths=(0.0, 2.0))
    twice = ridge_outputs(features.repeat(1, 2), targets, others=others.repeat(1, 2), strengths=(0.0, 4.0))

    torch.testing.assert_close(once, twice, rtol=1e-9, atol=1e-9)
