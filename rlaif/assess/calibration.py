"""Right, and as sure as it should be: of the pairs that were called with probability p, does a share p come out so?"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from rlaif import metrics

__all__ = ["against", "reliability", "wilson"]


def against(p: ArrayLike, y: ArrayLike, *, samples: int = 1000, seed: int = 0) -> dict[str, Any]:
    """What p, a judge's or a reward model's, is worth against y. Ties in y have no side: they are in no number.

    Args:
        p: P(first is preferred): (N,).
        y: 1 where the first is better, 0 where the second is, 0.5 for a tie (or a soft label): (N,).
        samples, seed: of the bootstrap intervals (95 %, pairs drawn with replacement).

    Returns:
        `tied` and `measured`, which add up to N; of the measured ones, where there are any, `accuracy` (+ `_low`,
        `_high`), `brier`, `ece` (+ `_low`, `_high`).
    """
    q, t = np.asarray(p, dtype=np.float64), np.asarray(y)
    sided = t != 0.5
    report: dict[str, Any] = {"tied": int((~sided).sum()), "measured": int(sided.sum())}
    if report["tied"]:
        q, t = q[sided], t[sided]
    if not t.size:
        return report
    right = metrics.accuracy(q, t)
    share = float(right.mean())
    low, high = metrics.bootstrap(np.mean, right, samples=samples, seed=seed)
    del right  # of a million pairs each array is 8 MB, and the next lines need five
    ece_low, ece_high = metrics.ece_interval(q, t, samples=samples, seed=seed)
    return report | {
        "accuracy": share,
        "accuracy_low": low,
        "accuracy_high": high,
        "brier": metrics.brier(q, t),
        "ece": metrics.ece(q, t),
        "ece_low": ece_low,
        "ece_high": ece_high,
    }


def wilson(share: float, n: int, quantile: float = 1.959963984540054) -> tuple[float, float]:
    """The 95 % interval of a share of n (Wilson 1927): unlike the normal one, right for a share of 0 or 1 too."""
    if n == 0:
        return float("nan"), float("nan")
    q2 = quantile * quantile
    centre = (share + q2 / (2 * n)) / (1 + q2 / n)
    half = quantile / (1 + q2 / n) * math.sqrt(share * (1 - share) / n + q2 / (4 * n * n))
    # Rounding may leave the end of a share of 0 or 1 a hair inside of it.
    return max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))


def reliability(p: ArrayLike, y: ArrayLike, bins: int = 10) -> list[dict[str, Any]]:
    """The points of a reliability diagram, in the bins of `rlaif.metrics.ece`.

    Args:
        p: P(first is preferred): (N,).
        y: 1 where the first is better, 0 where not (a soft label where that is the truth): (N,).
        bins: at most so many; equal confidences share one.

    Returns:
        One row a bin, confidence rising: mean `p` in [0.5, 1] of the side that was called better, the share `y` of
        pairs in which it was, its interval `low`, `high`, and the number `n`.
    """
    confidence, right, bin_of = metrics.confidence_bins(p, y, bins)
    rows = []
    for part in (bin_of == index for index in np.unique(bin_of)):
        share, n = float(right[part].mean()), int(part.sum())
        low, high = wilson(share, n)
        rows.append({"p": float(confidence[part].mean()), "y": share, "low": low, "high": high, "n": n})
    return rows
