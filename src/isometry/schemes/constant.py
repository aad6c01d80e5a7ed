"""Schemes that do not look at the fans: one number for all, or a fixed width."""

from isometry.fills.distributions import Constant, Normal, Uniform
from isometry.schemes.table import SCHEMES
from isometry.theory.fans import Fans


@SCHEMES.add("zeros")
def zeros(_fans: Fans) -> Constant:
    """Zero for every weight; right for biases, heads and the ends of residual branches.

    Args:
        _fans: Not used.

    Returns:
        The distribution to draw from.

    Source:
        Zero-initialised branch ends: Goyal et al. 2017, arXiv:1706.02677, section 5.1.
    """
    return Constant(0.0)


@SCHEMES.add("ones")
def ones(_fans: Fans) -> Constant:
    """One for every weight; right for the scales of normalisations, wrong for matrices, whose units it makes equal.

    Args:
        _fans: Not used.

    Returns:
        The distribution to draw from.

    Source:
        Ioffe, Szegedy 2015, arXiv:1502.03167.
    """
    return Constant(1.0)


@SCHEMES.add("constant")
def constant(_fans: Fans, *, value: float = 0.0) -> Constant:
    """The same number for every weight.

    Args:
        _fans: Not used.
        value: The number, in units of the weight.

    Returns:
        The distribution to draw from.

    Source:
        MXNet 1.9, `mxnet.initializer.Constant`.
    """
    return Constant(value)


@SCHEMES.add("normal")
def normal(_fans: Fans, *, std: float = 0.01) -> Normal:
    """Gaussian weights of a fixed width.

    Args:
        _fans: Not used; a fixed width is right for one fan-in only.
        std: Standard deviation, in units of the weight.

    Returns:
        The distribution to draw from. Nothing is drawn here.

    Source:
        MXNet 1.9, `mxnet.initializer.Normal`, whose default is 0.01.
    """
    return Normal(std)


@SCHEMES.add("uniform")
def uniform(_fans: Fans, *, bound: float = 0.07) -> Uniform:
    """Evenly spread weights of a fixed width.

    Args:
        _fans: Not used; a fixed width is right for one fan-in only.
        bound: Half the width, in units of the weight.

    Returns:
        The distribution to draw from. Nothing is drawn here.

    Source:
        MXNet 1.9, `mxnet.initializer.Uniform`, whose default is 0.07.
    """
    return Uniform(-bound, bound)
