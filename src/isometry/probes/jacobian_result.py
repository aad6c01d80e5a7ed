"""The value JacobianResult: singular values of a network's Jacobians beside what mean-field theory predicts."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Spectrum:
    """Singular values of one Jacobian, output change per input change, dimensionless.

    Attributes:
        name: What it leads to: a layer's name, or "output".
        largest: The largest singular value.
        smallest: The smallest of the min(inputs, outputs) singular values; None where it could not be had.
        mean_square: Mean squared singular value, over the inputs.
        values: All singular values where they were computed densely, falling; else empty.
        density: Points (squared singular value, density) of the stochastic Lanczos estimate where they were not.
    """

    name: str
    largest: float
    smallest: float | None
    mean_square: float
    values: tuple[float, ...] = ()
    density: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanField:
    """What mean-field theory says of a plain network of this depth, activation and variances.

    Attributes:
        activation: The activation's name.
        weight_variance: Variance of a weight times its fan-in, dimensionless.
        bias_variance: Variance of a bias, in squared units of the signal.
        length: Fixed point of the length map, the mean square of a pre-activation.
        slope: chi, by what a layer multiplies the mean squared gradient, dimensionless.
        depth_scale: Layers over which the correlation of two inputs comes within 1/e of its fixed point; infinite
            at the edge of chaos.
        mean_square: Predicted mean squared singular value of the input-output Jacobian.
        phase: `ordered`, `critical` or `chaotic`.
    """

    activation: str
    weight_variance: float
    bias_variance: float
    length: float
    slope: float
    depth_scale: float
    mean_square: float
    phase: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JacobianResult:
    """The input-output Jacobian, those of single layers, and theory beside them.

    Attributes:
        whole: From the model's floating-point input to its output.
        layers: From each layer to the next, in the order of execution.
        theory: What mean-field theory predicts; None where the network is no plain stack, with `why_no_theory`.
        why_no_theory: The reason in a sentence; empty if there is a prediction.
        mode: How products were taken: `forward and reverse` or `reverse`, with a reason in the second case.
    """

    whole: Spectrum
    layers: tuple[Spectrum, ...]
    theory: MeanField | None
    why_no_theory: str
    mode: str
