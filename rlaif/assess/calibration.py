"""Right, and as sure as it should be: of the pairs that were called with probability p, does a share p come out so?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rlaif import metrics
from rlaif.assess.drawn import Drawn, Ece, Mean, Statistic, interval_row, intervals, wilson

__all__ = ["against", "reliability"]


def against(
    p: ArrayLike,
    y: ArrayLike,
    keys: ArrayLike | None = None,
    *,
    baselines: Mapping[str, ArrayLike] | None = None,
    samples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """What p, a judge's or a reward model's, is worth against y. Ties in y have no side: they are in no number.

    Args:
        p: P(first is preferred): (N,).
        y: 1 where the first is better, 0 where the second is, 0.5 for a tie, or a soft label in [0, 1]: (N,).
        keys: which prompt and responses the pairs are of, `rlaif.assess.drawn.keys_of`: (N, 3). Without them every
            pair counts as drawn by itself.
        baselines: other P(first is preferred) for the same pairs, by name: (N,).
        samples, seed: of the intervals (95 %, `rlaif.assess.drawn`).

    Returns:
        `tied` and `measured`, which add up to N; of the measured ones, where there are any, `accuracy`, `brier`, `ece`
        (each + `_low`, `_high`, None where too few prompts and responses were drawn), `brier_of_half` (what p = 0.5
        throughout would get: 0.25 only where no y is soft), `drawn` (what the intervals are over), `reliability`, and
        where there are `baselines` for each its `accuracy`, and `difference`, the accuracy of p less its own (+ `_low`,
        `_high`). Each draw takes both answers to a pair together, so what makes a pair hard for both cancels: the
        interval of a difference is mostly much narrower than the two accuracies' own suggest.
    """
    q, t = np.asarray(p, dtype=np.float64), np.asarray(y)
    sided = t != 0.5
    report: dict[str, Any] = {"tied": int((~sided).sum()), "measured": int(sided.sum())}
    if report["tied"]:
        q, t = q[sided], t[sided]
    if not t.size:
        return report
    drawn = Drawn.rows(t.size) if keys is None else Drawn.pairs(np.asarray(keys)[sided])
    right = metrics.accuracy(q, t)
    statistics: dict[str, Statistic] = {
        "accuracy": Mean(right, limits=(0.0, 1.0)),
        "brier": Mean((q - t) ** 2, limits=(0.0, 1.0)),
        "ece": Ece(q, t),
    }
    rights = {
        name: metrics.accuracy(np.asarray(other, dtype=np.float64)[sided], t)
        for name, other in (baselines or {}).items()
    }
    differences = {name: Mean(right - other, limits=(-1.0, 1.0)) for name, other in rights.items()}
    ends = intervals([*statistics.values(), *differences.values()], drawn, samples=samples, seed=seed)
    for name, statistic, end in zip(statistics, statistics.values(), ends, strict=False):
        report |= interval_row(name, statistic, end)
    if baselines is not None:
        report["baselines"] = {
            name: {"accuracy": float(rights[name].mean()), **interval_row("difference", differences[name], end)}
            for name, end in zip(differences, ends[len(statistics) :], strict=True)
        }
    return report | {
        "brier_of_half": float(np.mean((t - 0.5) ** 2)),
        "drawn": drawn.row(),
        "reliability": reliability(q, t, drawn),
    }


def reliability(p: ArrayLike, y: ArrayLike, drawn: Drawn | None = None, bins: int = 10) -> list[dict[str, Any]]:
    """What a reliability plot shows: pairs in the bins of `rlaif.metrics.ece`, by the confidence max(p, 1 - p).

    Args:
        p: P(first is preferred): (N,).
        y: 1 where the first is better, 0 where not (a soft label where that is the truth): (N,).
        drawn: which pairs were drawn together; without it each was by itself.
        bins: at most so many; equal confidences share one.

    Returns:
        One row a bin, confidence rising: mean `p` in [0.5, 1] of the side that was called better, the share `y` of
        pairs in which it was, its interval `low`, `high` (Wilson's, of the bin's effective number of pairs; None where
        too few units were drawn in all), and the number `n`.
    """
    confidence, right, bin_of = metrics.confidence_bins(p, y, bins)
    rows = []
    for part in (bin_of == index for index in np.unique(bin_of)):
        share, n = float(right[part].mean()), int(part.sum())
        low, high = _share_interval(right, part, share, drawn)
        rows.append({"p": float(confidence[part].mean()), "y": share, "low": low, "high": high, "n": n})
    return rows


def _share_interval(
    right: NDArray[np.float64], part: NDArray[np.bool_], share: float, drawn: Drawn | None
) -> tuple[float | None, float | None]:
    """Wilson's interval of the share of `right` within `part`, with n over the design effect for n."""
    n = float(part.sum())
    if drawn is None:
        return wilson(share, n)
    if drawn.over is None:
        return None, None
    e = np.where(part, right - share, 0.0)
    variance = drawn.variance(e)
    # Where all are right, or none, residuals say nothing of what the pairs share: each unit then counts once.
    n = n * min(1.0, float(e @ e) / variance) if variance else min(n, drawn.units_in(part))
    return wilson(share, n)
