"""The value JacobianResult: singular values of a network's Jacobians beside what mean-field theory predicts."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Spectrum:
    """Singular values of one Jacobian, output change per input change.

    Attributes:
        name: From where to where it leads: names of layers, `input` or `output`.
        largest: The largest singular value; a lower bound where it is no dense computation.
        smallest: The smallest of the min(inputs, outputs) singular values; None where only products were taken.
        mean_square: Mean over the outputs of the squared singular values, missing ones counted as 0.
        spread: Variance of the squared singular values over their squared mean, on the smaller side; mean over samples
            where each has a Jacobian of its own. Dimensionless.
        values: All singular values where they were computed densely, falling; else empty.
        density: Points (squared singular value, share) of the stochastic Lanczos estimate where they were not.
    """

    name: str
    largest: float
    smallest: float | None
    mean_square: float
    spread: float
    values: tuple[float, ...] = ()
    density: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanField:
    """What mean-field theory says of a plain network of this depth, activation and variances.

    Attributes:
        activation: The activation's name.
        weight_variance: Variance of a weight times its fan-in, geometric mean over the hidden layers but the first;
            dimensionless.
        bias_variance: Variance of a bias, mean over these layers, in squared units of the signal.
        length: Mean square at which pre-activations settle; 0 if they die out, infinite if they grow without end.
        slope: chi, by what a layer multiplies the mean squared gradient there, dimensionless.
        depth_scale: Layers over which two signals come nearer to their last correlation by a factor e; infinite at
            the edge of chaos. Where the length is 0 or infinite: layers over which the mean square of signal and
            gradient changes by a factor e.
        phase: `vanishing`, `ordered`, `critical`, `chaotic` or `exploding`.
        mean_square: Predicted for the whole network, from each layer's own variances.
        hidden_mean_square: The like from the first hidden layer to the last; None unless they are of one width.
        hidden_spread: Predicted spread of that Jacobian; None like it.
        edge: Points (weight variance, bias variance) of the line between order and chaos, for a picture.
    """

    activation: str
    weight_variance: float
    bias_variance: float
    length: float
    slope: float
    depth_scale: float
    phase: str
    mean_square: float
    hidden_mean_square: float | None
    hidden_spread: float | None
    edge: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class JacobianResult:
    """The input-output Jacobian, those of single layers, and theory beside them.

    Attributes:
        whole: From the model's floating-point input, or the embedding of its tokens, to its output.
        hidden: From the first hidden layer to the last, where theory speaks of it; else None.
        layers: From one layer or residual sum to the next, in the order of execution.
        theory: What mean-field theory predicts; None where the network is no plain stack.
        why_no_theory: Then the reason in a sentence; empty if there is a prediction.
        num_samples: Samples whose Jacobians were taken, counts; 0 if they influence one another, as under batch norm,
            and the batch was taken as one.
    """

    whole: Spectrum
    hidden: Spectrum | None
    layers: tuple[Spectrum, ...]
    theory: MeanField | None
    why_no_theory: str
    num_samples: int
