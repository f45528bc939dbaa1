"""A reward model on held-out preferences: right, and as sure as it should be?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from rlaif import metrics
from rlaif.assess.calibration import against, reliability
from rlaif.assess.length import longer_wins

__all__ = ["assess_reward_model"]


def assess_reward_model(
    scores_chosen: ArrayLike,
    scores_rejected: ArrayLike,
    z: ArrayLike,
    truths: Sequence[float | None],
    lengths_chosen: ArrayLike,
    lengths_rejected: ArrayLike,
    *,
    truth: str | None,
    temperature: float = 1.0,
    samples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Bradley-Terry's p = sigmoid((score_chosen - score_rejected) / temperature) against the truth and the judge's z.

    Args:
        scores_chosen, scores_rejected: NaN where a response could not be scored: (N,).
        z: the judge's P(chosen is preferred), in [0, 1]: (N,).
        truths: y = 1 where chosen is better by gold or label, 0, 0.5 for a tie, None where not known: N.
        lengths_chosen, lengths_rejected: in any one unit: (N,).
        truth: "gold" or "label": what `truths` come from; None where there are none. Then the judge is what accuracy
            and calibration are measured against, with its z as a soft label.
        temperature: the reward model's calibration; 1 where it has none.
        samples, seed: of the bootstrap intervals (95 %, pairs drawn with replacement).

    Returns:
        `pairs`, of them `unscored` (in no other number), `unlabelled`, `tied`, `measured`; `accuracy_by` ("gold",
        "label" or "judge"), `accuracy` (+ `_low`, `_high`), `accuracy_judge` (over the pairs with z != 0.5), `soft_nll`
        (nats, against z), `soft_nll_floor` (the entropy of z: no p can go below), `brier`, `ece` (+ `_low`, `_high`),
        `reliability`, `longer_wins` (`reward_model`, `judge`, `truth`).
    """
    d = (np.asarray(scores_chosen, dtype=np.float64) - np.asarray(scores_rejected, dtype=np.float64)) / temperature
    scored = ~np.isnan(d)
    d, targets = d[scored], np.asarray(z, dtype=np.float64)[scored]
    a, b = np.asarray(lengths_chosen)[scored], np.asarray(lengths_rejected)[scored]
    p = metrics.sigmoid(d)
    y = np.array([np.nan if t is None else t for t in truths], dtype=np.float64)[scored]
    if truth is None:
        y = targets
    use = ~np.isnan(y) & (y != 0.5)
    report: dict[str, Any] = {
        "pairs": int(scored.size),
        "unscored": int((~scored).sum()),
        "unlabelled": int(np.isnan(y).sum()),
        **against(p[~np.isnan(y)], y[~np.isnan(y)], samples=samples, seed=seed),
        "accuracy_by": truth or "judge",
    }
    if d.size:
        sided = targets != 0.5
        report |= {
            "accuracy_judge": metrics.agreement(p[sided], targets[sided]),
            "soft_nll": metrics.soft_nll(targets, p),
            "soft_nll_floor": metrics.soft_nll(targets, targets),
        }
    if use.any():
        report["reliability"] = reliability(p[use], y[use])
        sides = {"reward_model": p, "judge": targets} | ({} if truth is None else {"truth": y})
        report["longer_wins"] = {side: longer_wins(q[use], a[use], b[use]) for side, q in sides.items()}
    return report
