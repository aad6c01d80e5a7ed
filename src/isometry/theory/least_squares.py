"""The risk of least squares on Gaussian features: of the solution of least norm, of ridge, and of gradient descent.

Examples are y = x·β + ε with x ~ N(0, I), |β|² the signal and ε of variance σ², the noise. The risk is the mean square
of what a new example is predicted wrong by, its own noise included, and everything depends on the aspect γ, features
over examples. At infinite size the eigenvalues of XᵀX/n follow the law of Marchenko and Pastur.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isometry._errors import DomainError

FloatArray = NDArray[np.float64]

NUM_NODES = 4000  # of the quadrature, at least, which converges geometrically away from aspect 1
NODES_TO_EDGE = 20  # of them within the distance 1 - √γ that sets how fast
MAX_NODES = 60_000  # enough for aspects that are 0.0007 or more away from 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearProblem:
    """What is to be learnt.

    Attributes:
        signal: |β|², variance of the part of the targets that the features tell, in targets squared.
        noise: σ², variance of the rest, likewise.
    """

    signal: float
    noise: float

    def __post_init__(self) -> None:
        if not (0 <= self.signal < math.inf and 0 <= self.noise < math.inf):
            raise DomainError(f"signal={self.signal!r}, noise={self.noise!r}: variances are finite and at least 0.")


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoScales:
    """Gradient descent on two groups of features, one of them so small that it is learnt long after the other.

    Attributes:
        num_examples: n, counts.
        num_fast: Features of scale 1, counts, fewer than examples.
        num_slow: Features of the small scale, counts, at most as many as examples less fast ones.
        scale: Standard deviation of the slow features.
        fast: Variance of the targets that the fast group tells.
        slow: Likewise of the slow group, its scale included.
        noise: Variance of the rest.
        step: η, of descent on half of the mean square.
    """

    num_examples: int
    num_fast: int
    num_slow: int
    scale: float
    fast: float
    slow: float
    noise: float
    step: float

    def __post_init__(self) -> None:
        if not (self.num_fast >= 1 and self.num_slow >= 1 and self.num_fast + self.num_slow <= self.num_examples):
            raise DomainError(
                f"num_fast={self.num_fast}, num_slow={self.num_slow}, num_examples={self.num_examples}: there is at "
                "least one feature of either kind, and at most as many as examples together."
            )
        variances = {"fast": self.fast, "slow": self.slow, "noise": self.noise}
        if not all(0 <= each < math.inf for each in variances.values()):
            raise DomainError(f"{variances}: variances are finite and at least 0.")


def marchenko_pastur(aspect: float, num_nodes: int | None = None) -> tuple[FloatArray, FloatArray]:
    """Return places and weights that stand for the law of the eigenvalues of XᵀX/n of standard normal X.

    dμ = 2 sin²φ / (π λ) dφ at λ = 1 + γ + 2√γ cos φ, and a mass 1 - 1/γ at 0 if γ > 1

    Args:
        aspect: γ, columns over rows, dimensionless, positive.
        num_nodes: Places, counts; None takes as many as an integral of 1/λ needs, unless the aspect is within 0.0007
            of 1.

    Returns:
        Eigenvalues and their probabilities; of a mass at 0 there is a place more.

    Raises:
        DomainError: If the aspect is not positive.

    Source:
        Marchenko, Pastur 1967, Mathematics of the USSR-Sbornik 1(4), with λ = 1 + γ + 2√γ cos φ put in.
    """
    if not 0 < aspect < math.inf:
        raise DomainError(f"aspect={aspect!r}: features over examples is positive and finite.")
    if num_nodes is None:
        num_nodes = round(min(max(NODES_TO_EDGE / max(abs(1 - math.sqrt(aspect)), 1e-9), NUM_NODES), MAX_NODES))
    angles = (np.arange(num_nodes) + 0.5) * (math.pi / num_nodes)
    places = 1 + aspect + 2 * math.sqrt(aspect) * np.cos(angles)
    weights = 2 * np.sin(angles) ** 2 / (num_nodes * places)
    if aspect > 1:
        places, weights = np.append(places, 0.0), np.append(weights, 1 - 1 / aspect)
    return places, weights


def least_norm_risk(num_examples: int, num_features: int, problem: LinearProblem) -> float:
    """Return the mean risk of the least squares of least norm; infinite where examples are within one of the features.

    n > d + 1: σ² (1 + d/(n - d - 1));   n < d - 1: |β|² (1 - n/d) + σ² (1 + n/(d - n - 1))

    Args:
        num_examples: n, counts.
        num_features: d, counts.
        problem: Signal and noise.

    Returns:
        The mean over all draws, exact at any size, in targets squared.

    Raises:
        DomainError: If a count is below 0.

    Source:
        Nakkiran 2019, arXiv:1912.07242; the means are those of the inverse of a Wishart matrix.
    """
    if num_examples < 0 or num_features < 0:
        raise DomainError(f"num_examples={num_examples}, num_features={num_features}: counts are at least 0.")
    if num_features == 0:
        return problem.signal + problem.noise
    more, signal, noise = num_examples - num_features, problem.signal, problem.noise
    if more > 1:
        return noise * (1 + num_features / (more - 1))
    if more < -1:
        return signal * (1 - num_examples / num_features) + noise * (1 + num_examples / (-more - 1))
    return math.inf


def tuned_ridge_risk(aspect: float, problem: LinearProblem) -> float:
    """Return the risk of ridge regression at its best penalty, at infinite size.

    σ² (1 + γ ∫ dμ(λ) / (λ + γ σ²/|β|²)), with the penalty d σ²/|β|² on |b|² beside the sum of squares; without noise
    that of the least norm

    Args:
        aspect: γ, features over examples, dimensionless, positive.
        problem: Signal and noise.

    Returns:
        The risk, in targets squared.

    Source:
        Dobriban, Wager 2018, arXiv:1507.03003, for features of one scale.
    """
    if problem.signal == 0:
        return problem.noise
    places, weights = marchenko_pastur(aspect)
    if problem.noise == 0:
        return problem.signal * max(0.0, 1 - 1 / aspect)
    penalty = aspect * problem.noise / problem.signal
    return problem.noise * (1 + aspect * float(weights @ (1 / (places + penalty))))


def descent_risk(aspect: float, problem: LinearProblem, *, step: float, times: Sequence[float]) -> FloatArray:
    """Return the risk after steps of gradient descent from zero on half of the mean square, at infinite size.

    |β|² ∫ (1 - ηλ)^2t dμ + σ² (1 + γ ∫ (1 - (1 - ηλ)^t)² / λ dμ)

    Args:
        aspect: γ, features over examples, dimensionless, positive.
        problem: Signal and noise.
        step: η.
        times: Steps t, whole numbers from 0.

    Returns:
        A risk a time, in targets squared.

    Raises:
        DomainError: If the step is so large that descent diverges, or a time is no number of steps.

    Source:
        Ali, Kolter, Tibshirani 2019, arXiv:1810.10082, there for continuous time.
    """
    missed, fitted = _descent(aspect, step, times)
    return problem.signal * missed + problem.noise * (1 + fitted)


def two_scale_risk(groups: TwoScales, times: Sequence[float]) -> FloatArray:
    """Return the risk of gradient descent from zero on two groups of features of different scale.

    While the fast group learns, the slow one is noise to it. After that the slow one learns on what the fast one leaves
    of the examples, n - d_fast dimensions of n, and the fast one keeps up with it. So the risk is that of the fast
    group alone with the noise σ² + e(t), where e(t) is the risk of the slow group on n - d_fast examples, less σ².

    Args:
        groups: The two groups.
        times: Steps, whole numbers from 0.

    Returns:
        A risk a time, in targets squared, at infinite size and for speeds that lie far apart.

    Raises:
        DomainError: If the step is so large that descent diverges, or a time is no number of steps.

    Source:
        The model is that of Heckel, Yilmaz 2021, arXiv:2007.10099, whose law is for features far fewer than examples;
        here `descent_risk` of both groups is put together.
    """
    left = groups.num_examples - groups.num_fast
    step = groups.step * groups.scale**2 * left / groups.num_examples
    missed, fitted = _descent(groups.num_slow / left, step, times)
    slow = groups.slow * missed + groups.noise * fitted
    missed, fitted = _descent(groups.num_fast / groups.num_examples, groups.step, times)
    return groups.fast * missed + (groups.noise + slow) * (1 + fitted)


def _descent(aspect: float, step: float, times: Sequence[float]) -> tuple[FloatArray, FloatArray]:
    """Return the share of the signal that is missed, and the share of the noise that is fitted, at each time."""
    places, weights = marchenko_pastur(aspect)
    factors = 1 - step * places
    if not step > 0 or bool((np.abs(factors) > 1).any()):
        raise DomainError(
            f"step={step!r}: descent on eigenvalues up to {places.max():.3g} needs one between 0 and "
            f"{2 / places.max():.3g}."
        )
    if not all(time >= 0 and float(time).is_integer() for time in times):
        raise DomainError(f"times={tuple(times)!r}: steps are counted in whole numbers from 0.")
    left = np.sign(factors) ** np.asarray(times)[:, None] * np.abs(factors) ** np.asarray(times)[:, None]
    is_seen = places > 0
    fitted = (1 - left[:, is_seen]) ** 2 @ (weights[is_seen] / places[is_seen])
    return left**2 @ weights, aspect * fitted
