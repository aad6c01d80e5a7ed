"""Ridge regression of many strengths at once, for features that are more or fewer than the examples."""

from collections.abc import Sequence

import torch
from torch import Tensor

NULL = 1e-12  # eigenvalues below this share of the largest are rounding, in float64


def ridge_outputs(features: Tensor, targets: Tensor, *, others: Tensor, strengths: Sequence[float]) -> list[Tensor]:
    """Return what ridge regression answers on other rows; of strength 0 the least squares of least norm.

    outputs = G Fᵀ (F Fᵀ + λ)⁻¹ Y

    Args:
        features: F, (examples, features), in float64.
        targets: Y, (examples, outputs).
        others: G, (rows, features).
        strengths: λ, in the unit of a squared feature's sum over the features, each for answers of its own.

    Returns:
        A matrix (rows, outputs) a strength.

    Source:
        Bishop 2006, Pattern Recognition and Machine Learning, eq. 6.9.
    """
    values, vectors = torch.linalg.eigh(features @ features.T)
    across, along = others @ (features.T @ vectors), vectors.T @ targets
    is_real = values > NULL * values[-1]
    return [across @ (torch.where(is_real, 1 / (values + each), 0.0)[:, None] * along) for each in strengths]
