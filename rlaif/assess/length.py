"""Length: how often the longer response is preferred. A judge that does so more often than the truth pays for it."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rlaif import metrics

__all__ = ["longer", "longer_wins"]


def longer(lengths_a: ArrayLike, lengths_b: ArrayLike) -> NDArray[np.float64]:
    """What "the longer one wins" says of each pair: 1 where a is longer, 0 where b is, 0.5 where as long: (N,)."""
    return metrics.win_rate(lengths_a, lengths_b)


def longer_wins(z: ArrayLike, lengths_a: ArrayLike, lengths_b: ArrayLike) -> float:
    """Share of pairs of unequal length in which the longer response is preferred, a tie counting half.

    Args:
        z: P(a is preferred), or the truth y: (N,).
        lengths_a, lengths_b: in any one unit: (N,).

    Returns:
        The share, in [0, 1]; NaN where no two lengths differ.
    """
    p, y = np.asarray(z, dtype=np.float64), longer(lengths_a, lengths_b)
    unequal = y != 0.5
    return metrics.agreement(p[unequal], y[unequal])
