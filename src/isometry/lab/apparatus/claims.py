"""Claims on how far two accuracies are apart."""

import math

from isometry._phrases import Phrase
from isometry.lab.experiment import Claim


def claim_in_points(text: Phrase, measured: float, *, low: float = -math.inf, high: float = math.inf) -> Claim:
    """Return a claim on a difference of shares.

    Args:
        text: The claim in a sentence.
        measured: The difference, percentage points.
        low: Least value that holds it up, likewise.
        high: Largest value that does.

    Returns:
        The claim, with its unit.
    """
    return Claim(text=text, measured=measured, low=low, high=high, unit="points")
