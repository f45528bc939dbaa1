"""Length: how often the longer response is preferred. A judge that does so more often than the truth pays for it."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["longer_wins"]


def longer_wins(z: ArrayLike, lengths_a: ArrayLike, lengths_b: ArrayLike) -> float:
    """Share of pairs of unequal length in which the longer response is preferred, a tie counting half.

    Args:
        z: P(a is preferred), or the truth y: (N,).
        lengths_a, lengths_b: in any one unit: (N,).

    Returns:
        The share, in [0, 1]; NaN where no two lengths differ.
    """
    p, a, b = (np.asarray(v, dtype=np.float64) for v in (z, lengths_a, lengths_b))
    unequal = a != b
    if not unequal.any():
        return float("nan")
    # +1 where the preferred one is the longer, -1 where it is the shorter, 0 where z is a tie.
    return float(np.mean(0.5 * (1.0 + np.sign(p - 0.5) * np.sign(a - b))[unequal]))
