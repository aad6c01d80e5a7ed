"""Modules side by side that are copies of each other, too small for any of their weights to tell it alone."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from isometry.anatomy.names import canonical
from isometry.anatomy.preserve import has_numbers
from isometry.probes.evidence import Evidence

MAX_NUMBERS = 4096  # of a module, counts; larger ones have weights that tell it alone
FIRST = 2  # numbers of each parameter that modules are sorted by, before all are compared
MIN_DISTINCT = 4  # numbers, counts; so many draws are not equal by chance, and no constant has them
SAME_GRADIENT = 0.02  # of the gradient's size


def equal_siblings(model: nn.Module, evidence: Evidence) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Yield modules of one parent that hold equal numbers and get equal gradients, as clones in an ensemble do.

    Args:
        model: The model.
        evidence: A recorded step with its gradients.

    Yields:
        The paths of such modules, and the canonical names of their parameters.
    """
    for path, parent in model.named_modules():
        kinds: dict[tuple[object, ...], list[str]] = {}
        for name, child in parent.named_children():
            own = list(child.parameters())
            if own and sum(each.numel() for each in own) <= MAX_NUMBERS and all(map(has_numbers, own)):
                first = torch.cat([each.detach().flatten()[:FIRST].float() for each in own]).tolist()
                kind = (type(child), *(tuple(each.shape) for each in own), *first)
                kinds.setdefault(kind, []).append(f"{path}.{name}" if path else name)
        for paths in kinds.values():
            yield from _equal_among(model, paths, evidence)


def _equal_among(
    model: nn.Module, paths: list[str], evidence: Evidence
) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    groups: list[tuple[Tensor, Tensor, list[str]]] = []
    for path in paths if len(paths) > 1 else []:
        numbers = _numbers_of(model.get_submodule(path), path, evidence)
        if numbers is None:
            continue
        weights, steps = numbers
        for known, slope, members in groups:
            if torch.equal(known, weights) and _is_near(slope, steps):
                members.append(path)
                break
        else:
            groups.append((weights, steps, [path]))
    for *_, members in groups:
        if len(members) > 1:
            yield tuple(map(canonical, members)), tuple(name for each in members for name in _names(model, each))


def _numbers_of(module: nn.Module, path: str, evidence: Evidence) -> tuple[Tensor, Tensor] | None:
    """Return a module's parameters and their gradients, each as one vector; None if some get none."""
    weights, steps = [], []
    for inner, parameter in module.named_parameters():
        name = canonical(f"{path}.{inner}")
        gradient = next(iter(evidence.step.gradients.get(name, ())), None)  # that of a tied one has another name
        if gradient is None or gradient.shape != parameter.shape:
            return None
        weights.append(parameter.detach().flatten().float())
        steps.append(gradient.flatten().float())
    if not weights or len(torch.cat(weights).unique()) < MIN_DISTINCT:
        return None
    return torch.cat(weights), torch.cat(steps)


def _is_near(one: Tensor, other: Tensor) -> bool:
    size = torch.linalg.vector_norm(one)
    return bool(size > 0) and bool(torch.linalg.vector_norm(one - other) <= SAME_GRADIENT * size)


def _names(model: nn.Module, path: str) -> list[str]:
    return [canonical(f"{path}.{name}") for name, _ in model.get_submodule(path).named_parameters()]
