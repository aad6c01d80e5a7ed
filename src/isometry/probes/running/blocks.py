"""Which tensors are blocks of numbers in this process's memory."""

import torch
from torch import Tensor

from isometry._memory import has_memory


def local_part(tensor: Tensor) -> Tensor:
    """Return this process's part of a tensor that is spread over several."""
    return getattr(tensor, "_local_tensor", tensor)


def is_measured(tensor: Tensor) -> bool:
    """Say whether a tensor is a block of floating-point numbers."""
    if type(tensor) is Tensor and tensor.layout == torch.strided and tensor.device.type == "cpu":
        return tensor.is_floating_point() and tensor.numel() > 0  # most of them, in less time
    return tensor.is_floating_point() and tensor.numel() > 0 and has_memory(tensor)
