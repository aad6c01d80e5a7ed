"""Schemes that work by choosing the variance of independent weights."""

import math

from isometry.fills.distributions import Normal, Uniform
from isometry.schemes.table import SCHEMES
from isometry.theory.fans import Fans


@SCHEMES.add("he-normal")
def he_normal(fans: Fans, *, gain: float = math.sqrt(2)) -> Normal:
    """Weights that keep the forward second moment through a ReLU layer.

    std = gain / sqrt(fan_in)

    Args:
        fans: Connections of one unit, in counts.
        gain: Output over input root mean square of the layer before its activation, dimensionless. The
            default makes up for the half that ReLU removes.

    Returns:
        The distribution to draw from. Nothing is drawn here.

    Source:
        He, Zhang, Ren, Sun 2015, arXiv:1502.01852, eq. 10.
    """
    return Normal(std=gain / math.sqrt(fans.into))


@SCHEMES.add("he-uniform")
def he_uniform(fans: Fans, *, gain: float = math.sqrt(2)) -> Uniform:
    """Evenly spread weights with the variance of `he-normal`.

    U(±gain · sqrt(3 / fan_in))

    Args:
        fans: Connections of one unit, in counts.
        gain: Output over input root mean square of the layer before its activation, dimensionless. The
            default makes up for the half that ReLU removes.

    Returns:
        The distribution to draw from. Nothing is drawn here.

    Source:
        He, Zhang, Ren, Sun 2015, arXiv:1502.01852, eq. 10; a uniform variable has variance bound² / 3.
    """
    return _centred(gain / math.sqrt(fans.into))


@SCHEMES.add("glorot-normal")
def glorot_normal(fans: Fans, *, gain: float = 1.0) -> Normal:
    """Weights that balance the signal forward and the gradient backward in a layer of unequal fans.

    std = gain · sqrt(2 / (fan_in + fan_out))

    Args:
        fans: Connections of one unit, in counts.
        gain: Output over input root mean square of the layer before its activation, dimensionless.

    Returns:
        The distribution to draw from. Nothing is drawn here.

    Source:
        Glorot, Bengio 2010, AISTATS, PMLR 9:249-256, eq. 12.
    """
    return Normal(std=gain / math.sqrt(fans.average))


@SCHEMES.add("glorot-uniform")
def glorot_uniform(fans: Fans, *, gain: float = 1.0) -> Uniform:
    """Evenly spread weights with the variance of `glorot-normal`.

    U(±gain · sqrt(6 / (fan_in + fan_out)))

    Args:
        fans: Connections of one unit, in counts.
        gain: Output over input root mean square of the layer before its activation, dimensionless.

    Returns:
        The distribution to draw from. Nothing is drawn here.

    Source:
        Glorot, Bengio 2010, AISTATS, PMLR 9:249-256, eq. 16.
    """
    return _centred(gain / math.sqrt(fans.average))


@SCHEMES.add("lecun-normal")
def lecun_normal(fans: Fans, *, gain: float = 1.0) -> Normal:
    """Weights that keep the forward second moment of a layer without activation.

    std = gain / sqrt(fan_in)

    Args:
        fans: Connections of one unit, in counts.
        gain: Output over input root mean square of the layer before its activation, dimensionless.

    Returns:
        The distribution to draw from. Nothing is drawn here.

    Source:
        LeCun, Bottou, Orr, Müller 1998, "Efficient BackProp", eq. 16.
    """
    return Normal(std=gain / math.sqrt(fans.into))


@SCHEMES.add("lecun-uniform")
def lecun_uniform(fans: Fans, *, gain: float = 1.0) -> Uniform:
    """Evenly spread weights with the variance of `lecun-normal`.

    U(±gain · sqrt(3 / fan_in))

    Args:
        fans: Connections of one unit, in counts.
        gain: Output over input root mean square of the layer before its activation, dimensionless.

    Returns:
        The distribution to draw from. Nothing is drawn here.

    Source:
        LeCun, Bottou, Orr, Müller 1998, "Efficient BackProp", eq. 16; a uniform variable has variance bound² / 3.
    """
    return _centred(gain / math.sqrt(fans.into))


@SCHEMES.add("torch-default")
def torch_default(fans: Fans, *, gain: float = 1 / math.sqrt(3)) -> Uniform:
    """Weights as PyTorch draws them for linear layers and convolutions unless told otherwise.

    U(±gain · sqrt(3 / fan_in)), at the default gain U(±1 / sqrt(fan_in))

    Args:
        fans: Connections of one unit, in counts.
        gain: Output over input root mean square of the layer before its activation, dimensionless. The
            default shrinks a plain ReLU stack by sqrt(6) per layer.

    Returns:
        The distribution to draw from. Nothing is drawn here.

    Source:
        PyTorch 2.13, `torch.nn.Linear.reset_parameters`: `kaiming_uniform_(a=sqrt(5))`.
    """
    return _centred(gain / math.sqrt(fans.into))


def _centred(std: float) -> Uniform:
    bound = std * math.sqrt(3)
    return Uniform(-bound, bound)
