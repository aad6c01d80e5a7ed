"""Random ReLU features: the hidden layer of a network that is drawn and never trained."""

import torch
from torch import Tensor


def relu_features(*parts: Tensor, count: int, seed: int) -> list[Tensor]:
    """Return the features of several sets of inputs, all by the same random directions.

    φ_j(x) = relu(w_j · x), w_ij ~ N(0, 1/d)

    Args:
        parts: Inputs, (examples, d) each.
        count: Features, counts; the first of more are not those of fewer.
        seed: Of the directions; global random state is not touched.

    Returns:
        A matrix (examples, features) for each, in float64.

    Source:
        Rahimi, Recht 2008, Weighted sums of random kitchen sinks, section 2; with ReLU Belkin et al. 2019,
        arXiv:1812.11118.
    """
    size = parts[0].shape[1]
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(size, count, generator=generator, dtype=torch.float64) * size**-0.5
    return [(each.double() @ directions).relu() for each in parts]
