"""What parameters are for as far as their shapes and the classes of torch tell, where no batch shows what they do."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import cast

from torch import Tensor, nn
from torch.nn.utils import parametrize

from isometry._phrases import Phrase
from isometry.planning import roles

NORMS = (
    *(nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm),
    *(nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d),
)
TABLES = (nn.Embedding, nn.EmbeddingBag)
LAYERS = (
    *(nn.Linear, nn.Bilinear, nn.RNNBase, nn.RNNCellBase, nn.MultiheadAttention),
    *(nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
)
MATRIX, STACK = 2, 3  # axes of a matrix, and of matrices one after the other

VECTOR = Phrase("it is one vector, as gains and biases are")
LINE = Phrase("it has the shape of one vector; a batch would show what it does")
SPREAD = Phrase("its first axis has length 1: it is spread over the samples, not multiplied by them")
STACKED = Phrase("it is as wide as the matrices stacked beside it: a bias for each")
SHAPED = Phrase("it has the shape of a matrix; a batch would show what it does")

Reading = tuple[str, Phrase | None]  # a role, and why, where the role alone does not say it


@dataclass(frozen=True, slots=True)
class _Home:
    """A module that holds a parameter, and under which attribute."""

    module: nn.Module
    attribute: str


def by_structure(model: nn.Module) -> Callable[[nn.Parameter], Reading]:
    """Return a function that reads the role of a parameter of this model from its shape and its modules."""
    homes: dict[int, list[_Home]] = {}
    for module in model.modules():
        for attribute, parameter in _own(module):
            homes.setdefault(id(parameter), []).append(_Home(module, attribute))
    return lambda parameter: _read(parameter, homes[id(parameter)])


def is_vector(tensor: Tensor) -> bool:
    """Say whether at most one axis is longer than 1."""
    return tensor.numel() == max(tensor.shape, default=1)


def _own(module: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Yield a module's own parameters; those behind a parametrisation are those of the module that it serves."""
    if isinstance(module, parametrize.ParametrizationList):
        return
    yield from module.named_parameters(recurse=False)
    if parametrize.is_parametrized(module):
        yield from cast("nn.ModuleDict", module.parametrizations).named_parameters()


def _read(parameter: nn.Parameter, homes: list[_Home]) -> Reading:
    if any(isinstance(home.module, TABLES) for home in homes):
        return roles.EMBEDDING, None
    for home in homes:
        if isinstance(home.module, NORMS):
            return (roles.NORM_SHIFT if home.attribute == "bias" else roles.NORM_SCALE), None
        if isinstance(home.module, LAYERS):
            return _of_layer(parameter, home.attribute)
    return _of_no_class(parameter, homes)


def _of_no_class(parameter: nn.Parameter, homes: list[_Home]) -> Reading:
    if is_vector(parameter):  # a gain along channels, or a matrix of one row
        return roles.OTHER, VECTOR if parameter.ndim < MATRIX else LINE
    if parameter.ndim >= STACK and parameter.shape[0] == 1:
        return roles.POSITION, SPREAD
    if any(_is_stacked_bias(parameter, home.module) for home in homes):
        return roles.BIAS, STACKED
    return roles.HIDDEN, SHAPED


def _of_layer(parameter: nn.Parameter, attribute: str) -> Reading:
    if parameter.ndim < MATRIX:
        return roles.BIAS, None
    is_gain = is_vector(parameter) and attribute != "weight"  # the magnitudes of weight norm; (1, n) is a matrix
    return (roles.OTHER, VECTOR) if is_gain else (roles.HIDDEN, None)


def _is_stacked_bias(parameter: nn.Parameter, module: nn.Module) -> bool:
    """Say whether a parameter has one row for each of the matrices that its module holds one after the other."""
    if parameter.ndim != MATRIX:
        return False
    count, width = parameter.shape
    stacks = (tuple(each.shape) for _, each in module.named_parameters(recurse=False) if each.ndim == STACK)
    return any(count == first and width in rest for first, *rest in stacks)
