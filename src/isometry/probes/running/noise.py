"""The gradient noise scale: how large a batch is before a larger one tells little more about the gradient."""

from dataclasses import dataclass

MEMORY = 0.9  # share of the old average that stays when a reading comes


@dataclass(frozen=True, slots=True)
class NoiseEstimate:
    """Two estimates from one step; their ratio has a bias, so that they are averaged apart.

    Attributes:
        variance: tr(covariance) of the gradient of one batch, squared gradient units.
        signal: |expected gradient|^2, squared gradient units.
    """

    variance: float
    signal: float


def noise_from_parts(part: float, whole: float, *, count: int) -> NoiseEstimate:
    """Estimate the noise from a gradient of one micro-batch and that of all of them.

    signal = (n whole - part) / (n - 1),  variance of the whole = (part - whole) / (n - 1)

    Args:
        part: |gradient|^2 of one micro-batch, as if it were the whole batch.
        whole: |gradient|^2 of the mean over all micro-batches.
        count: n, micro-batches in a batch, counts from 2.

    Returns:
        Estimates for a batch of `count` micro-batches; each is unbiased and may be negative.

    Source:
        McCandlish, Kaplan, Amodei et al. 2018, arXiv:1812.06162, appendix A.1, with B_small = 1 and B_big = n.
    """
    return NoiseEstimate(variance=(part - whole) / (count - 1), signal=(count * whole - part) / (count - 1))


def noise_from_moments(square: float, mean_square: float, *, beta: float, step: float) -> NoiseEstimate:
    """Estimate the noise from a gradient and from the running mean of those before it.

    A mean with weights w_i proportional to beta^i over t gradients g_i = G + e_i keeps the share
    rho = sum w_i^2 / (sum w_i)^2 = (1 - beta) / (1 + beta) * (1 + beta^t) / (1 - beta^t)
    of their variance: E|g|^2 = |G|^2 + V and E|mean|^2 = |G|^2 + rho V, hence
    V = (|g|^2 - |mean|^2) / (1 - rho),  |G|^2 = (|mean|^2 - rho |g|^2) / (1 - rho).

    Args:
        square: |g|^2 of the present gradient.
        mean_square: |m|^2 of Adam's first moment before it takes in the present gradient, without bias correction.
        beta: Adam's beta_1, dimensionless in (0, 1).
        step: t, gradients that the moment has taken in, counts from 2.

    Returns:
        Estimates for the optimiser's batch; unbiased where the expected gradient stays the same over 1 / (1 - beta)
        steps, otherwise the variance holds its change too.

    Source:
        The variance of an exponential mean, Kingma, Ba 2015, arXiv:1412.6980, section 3, applied to the equations of
        McCandlish et al. 2018, appendix A.1.
    """
    decayed = beta**step
    kept = (1 - beta) / (1 + beta) * (1 + decayed) / (1 - decayed)
    mean = mean_square / (1 - decayed) ** 2
    return NoiseEstimate(variance=(square - mean) / (1 - kept), signal=(mean - kept * square) / (1 - kept))


class NoiseScale:
    """tr(covariance) / |gradient|^2 in batches, smoothed over readings."""

    def __init__(self) -> None:
        self._variance = 0.0
        self._signal = 0.0

    def add(self, estimate: NoiseEstimate) -> float | None:
        """Take in an estimate.

        Args:
            estimate: From one step; one that is not finite is left out.

        Returns:
            The scale, in batches of the optimiser's; None as long as the averages have no sense, as where noise hides
            the gradient altogether.
        """
        if abs(estimate.variance) + abs(estimate.signal) < float("inf"):
            self._variance += (1 - MEMORY) * (estimate.variance - self._variance)
            self._signal += (1 - MEMORY) * (estimate.signal - self._signal)
        return self._variance / self._signal if self._signal > 0 and self._variance >= 0 else None
