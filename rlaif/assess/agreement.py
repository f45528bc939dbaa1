"""How a judge agrees with the truth and with itself in the other order, from its judgments alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from rlaif import metrics
from rlaif.assess.calibration import against, reliability
from rlaif.assess.length import longer_wins
from rlaif.assess.truth import GoldReward, truth_of
from rlaif.records import Judgment

__all__ = ["assess_judgments", "truth_name"]


def truth_name(judgments: Sequence[Judgment], gold: GoldReward | None = None) -> str | None:
    """What the judgments can be held against: "gold", "label", or None."""
    if gold is not None:
        return "gold"
    return "label" if any(j.pair.label is not None for j in judgments) else None


def assess_judgments(
    judgments: Sequence[Judgment], gold: GoldReward | None = None, *, samples: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """Every number about a judge that its judgments (and the truth, where it is known) can give.

    Of N pairs, `unjudged` have no z and enter no other number; of the judged ones `unlabelled` have no truth and `tied`
    are ties by it; the rest carry `agreement`, `agreement_single_order`, `brier` and `ece`.

    Args:
        judgments: z = P(response_a is preferred), orders averaged; `z_ab`, `z_ba` in each order alone.
        gold: the truth; the pairs' labels where it is not given.
        samples, seed: of the bootstrap intervals (95 %, pairs drawn with replacement).

    Returns:
        Counts `pairs`, `unjudged` (with `reasons`), `unlabelled`, `tied`, `measured`; whatever can be measured of
        `truth`, `agreement` (+ `_low`, `_high`), `agreement_single_order` (each order alone, then the mean of the
        two), `order_consistency` (same winner in both orders), `first_rate` (mean P(the response shown first is
        preferred): 0.5 without position bias), `brier`, `ece` (+ `_low`, `_high`), `reliability` (the points of its
        plot) and `longer_wins` (`judge` against `truth`, by characters). What cannot be measured is left out.
    """
    judged = [j for j in judgments if j.z is not None]
    truths = [truth_of(j.pair, gold) for j in judged]
    known = [(j, y) for j, y in zip(judged, truths, strict=True) if y is not None]
    untied = [(j, y) for j, y in known if y != 0.5]
    report: dict[str, Any] = {
        "pairs": len(judgments),
        "unjudged": len(judgments) - len(judged),
        "reasons": dict(Counter(j.reason for j in judgments if j.z is None).most_common()),
        "unlabelled": len(judged) - len(known),
        "tied": len(known) - len(untied),
        "measured": len(untied),
        "truth": truth_name(judgments, gold),
    }
    report |= _orders(judged)
    if untied:
        z, y = np.array([j.z for j, _ in untied], dtype=np.float64), np.array([y for _, y in untied])
        numbers = against(z, y, samples=samples, seed=seed)
        report |= {name.replace("accuracy", "agreement"): value for name, value in numbers.items() if name != "tied"}
        single = [_agreement_in(order, untied) for order in ("z_ab", "z_ba")]
        if any(share is not None for share in single):
            report["agreement_single_order"] = float(np.mean([share for share in single if share is not None]))
        report["reliability"] = reliability(z, y)
    if judged:
        z_all = [j.z for j in judged if j.z is not None]
        report["longer_wins"] = {"judge": longer_wins(z_all, *_lengths(judged))}
        if untied:
            report["longer_wins"]["truth"] = longer_wins([y for _, y in untied], *_lengths([j for j, _ in untied]))
    return report


def _orders(judged: Sequence[Judgment]) -> dict[str, float]:
    """What the two orders say about each other."""
    both = [(j.z_ab, j.z_ba) for j in judged if j.z_ab is not None and j.z_ba is not None]
    first = [j.z_ab for j in judged if j.z_ab is not None] + [1.0 - j.z_ba for j in judged if j.z_ba is not None]
    numbers = {}
    if both:
        z_ab, z_ba = np.array(both, dtype=np.float64).T
        numbers["order_consistency"] = metrics.order_consistency(z_ab, z_ba)
    if first:
        numbers["first_rate"] = float(np.mean(first))
    return numbers


def _agreement_in(order: str, untied: Sequence[tuple[Judgment, float]]) -> float | None:
    """Agreement of one order alone, over the pairs that were judged in it; None where none was."""
    rows = [(getattr(j, order), y) for j, y in untied if getattr(j, order) is not None]
    return metrics.agreement([z for z, _ in rows], [y for _, y in rows]) if rows else None


def _lengths(judgments: Sequence[Judgment]) -> tuple[list[int], list[int]]:
    return [len(j.pair.response_a) for j in judgments], [len(j.pair.response_b) for j in judgments]
