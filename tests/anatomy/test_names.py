"""Canonical names, and the way back from a name to what holds it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrizations

from isometry.anatomy.names import WRAPPERS, canonical, is_writable, names_of, owner_of

PARTS = st.lists(st.sampled_from(["encoder", "0", "weight", "layers", *WRAPPERS]), min_size=1, max_size=6)


@given(parts=PARTS)
def test_a_canonical_name_is_its_own_canonical_name(parts: list[str]) -> None:
    name = canonical(".".join(parts))

    assert canonical(name) == name
    assert not set(name.split(".")) & set(WRAPPERS)


class Wrapper(nn.Module):
    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module


MODELS: dict[str, Any] = {
    "plain": lambda: nn.Sequential(nn.Linear(2, 2), nn.LSTM(2, 3)),
    "wrapped": lambda: Wrapper(nn.Sequential(nn.Linear(2, 2), Wrapper(nn.Linear(2, 2)))),
    "weight norm": lambda: nn.Sequential(parametrizations.weight_norm(nn.Linear(2, 2))),
    "orthogonal": lambda: Wrapper(nn.Sequential(parametrizations.orthogonal(nn.Linear(2, 2)))),
}


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS.keys())
def test_every_name_leads_back_to_what_holds_it(make: Any) -> None:
    model = make()
    names = names_of(model)

    for name, tensors in names.parameters.items():
        module, attribute = owner_of(model, name)
        held = getattr(module, attribute)
        assert name in names.parametrised or held is tensors[0]
        assert names.of_tensor[id(tensors[0])] == name


def test_every_parameter_has_one_name() -> None:
    model = nn.Sequential(nn.Linear(2, 2), parametrizations.weight_norm(nn.Linear(2, 2)))
    named = [tensor for tensors in names_of(model).parameters.values() for tensor in tensors]

    assert {id(tensor) for tensor in named} == {id(parameter) for parameter in model.parameters()}
    assert len(named) == len({id(tensor) for tensor in named})


def test_a_name_that_no_parameter_has_is_an_error() -> None:
    with pytest.raises(LookupError):
        owner_of(nn.Linear(2, 2), "heavy")


@pytest.mark.parametrize(
    ("wrap", "writable"),
    [
        (parametrizations.weight_norm, True),
        (parametrizations.spectral_norm, False),
        (parametrizations.orthogonal, False),
        (lambda layer: layer, True),
    ],
)
def test_a_weight_is_writable_if_its_parametrisation_keeps_what_is_written(wrap: Any, writable: bool) -> None:
    assert is_writable(nn.Sequential(wrap(nn.Linear(2, 2))), "0.weight") == writable
