"""After which steps, or at which layers, a course is noted: often where much happens, and later ever less often."""

import numpy as np


def doubling(last: int) -> list[int]:
    """Return 0, the powers of 2 below the last place, and that place."""
    powers = [2**power for power in range(last.bit_length())]
    return sorted({0, *(power for power in powers if power < last), last})


def spreading(last: int, most: int) -> list[int]:
    """Return places from 0 to the last one, the distances between which grow as the places do.

    Args:
        last: The last place, counts from 0.
        most: Places, counts from 2; fewer where that many would be less than 1 apart.
    """
    return sorted({round(place) - 1 for place in np.geomspace(1, last + 1, most)})
