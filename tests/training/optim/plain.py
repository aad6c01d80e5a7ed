"""The papers' formulas, one tensor at a time and in plain Python: what the optimisers are held against."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def lars(
    w: Tensor, gradients: Sequence[Tensor], rates: Sequence[float], *, m: float, beta: float, eta: float
) -> Tensor:
    """Algorithm 1 of arXiv:1708.03888, the rates given instead of their polynomial."""
    v = torch.zeros_like(w)
    for g, gamma in zip(gradients, rates, strict=True):
        local = eta * w.norm() / (g.norm() + beta * w.norm())
        v = m * v + gamma * local * (g + beta * w)
        w = w - v
    return w


def lamb(w: Tensor, gradients: Sequence[Tensor], rates: Sequence[float], **settings: float) -> Tensor:
    """Algorithm 2 of arXiv:1904.00962."""
    beta1, beta2 = settings["beta1"], settings["beta2"]
    m = v = torch.zeros_like(w)
    for t, (g, eta) in enumerate(zip(gradients, rates, strict=True), start=1):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        r = (m / (1 - beta1**t)) / ((v / (1 - beta2**t)).sqrt() + settings["eps"])
        u = r + settings["decay"] * w
        phi = min(max(float(w.norm()), settings.get("low", 0.0)), settings.get("high", math.inf))
        w = w - eta * phi / u.norm() * u
    return w


def momentum(w: Tensor, gradients: Sequence[Tensor], rates: Sequence[float], *, m: float) -> Tensor:
    v = torch.zeros_like(w)
    for g, gamma in zip(gradients, rates, strict=True):
        v = m * v + gamma * g
        w = w - v
    return w
