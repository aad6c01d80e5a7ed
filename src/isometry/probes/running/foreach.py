"""Torch's operations on whole lists of tensors, which it keeps underlined although its own optimisers stand on them."""

from typing import Any, cast

import torch

FOREACH = cast(Any, torch)  # one cast, where each use would need a suppression
