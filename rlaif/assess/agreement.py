"""How a judge agrees with the truth and with itself in the other order, from its judgments alone."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from rlaif.assess.calibration import against
from rlaif.assess.drawn import PairKeys
from rlaif.assess.truth import GoldReward, truth_of
from rlaif.records import Judgment

__all__ = ["OTHER_REASONS", "JudgeNumbers", "assess_judgments", "truth_name"]

OTHER_REASONS = "other reasons"
_REASONS_KEPT = 1000


def truth_name(judgments: Iterable[Judgment], gold: GoldReward | None = None) -> str | None:
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
        samples, seed: of the intervals (95 %, over prompts, or over responses that stand in many pairs:
            `rlaif.assess.drawn`).

    Returns:
        Counts `pairs`, `unjudged` (with `reasons`), `unlabelled`, `tied`, `measured`; whatever can be measured of
        `truth`, `agreement` (+ `_low`, `_high`), `agreement_single_order` (each order alone, then the mean of the
        two), `position_consistency` (same winner in both orders; for one more version also under its old name,
        `order_consistency`), `first_rate` (mean P(the response shown first is preferred): 0.5 without position bias),
        `brier`, `ece` (each + `_low`, `_high`, None where too few prompts and responses were drawn), `brier_of_half`
        (what z = 0.5 throughout would get), `drawn` (what the intervals are over), `reliability` (the points of its
        plot) and `longer_wins` (`judge` against `truth`, by characters). What cannot be measured is left out. `reasons`
        has the first 1,000 different ones; the pairs with any other (a reason may quote a text, and so be unlike all
        before it) count as "other reasons".
    """
    numbers = JudgeNumbers(gold)
    for judgment in judgments:
        numbers.add(judgment)
    return numbers.report(samples=samples, seed=seed)


class JudgeNumbers:
    """The numbers of `assess_judgments` from judgments that come one at a time and are not kept.

        numbers = JudgeNumbers(gold)
        for judgment in judgments:
            numbers.add(judgment)
        report = numbers.report()

    What stays of a measured pair is z, the side that is better, and which prompt and responses it is of, 33 bytes: the
    intervals draw these. All else is counts, and sums of values in [0, 1], whose rounding after n of them is at most
    n 1e-16 of the mean.
    """

    def __init__(self, gold: GoldReward | None = None) -> None:
        self.gold = gold
        self._pairs = self._judged = self._unlabelled = self._tied = 0
        self._labelled = False
        self._reasons: Counter[str] = Counter()
        self._z, self._y, self._keys = array("d"), array("b"), PairKeys()
        self._same_winner, self._first = _Mean(), _Mean()
        self._right_ab, self._right_ba = _Mean(), _Mean()
        self._longer_by_judge, self._longer_by_truth = _Mean(), _Mean()

    def add(self, judgment: Judgment) -> None:
        """Count one judgment."""
        pair, z, z_ab, z_ba = judgment.pair, judgment.z, judgment.z_ab, judgment.z_ba
        y = None if z is None else truth_of(pair, self.gold)
        self._pairs += 1
        self._labelled = self._labelled or pair.label is not None
        if z is None:
            assert judgment.reason is not None
            kept = judgment.reason in self._reasons or len(self._reasons) < _REASONS_KEPT
            self._reasons[judgment.reason if kept else OTHER_REASONS] += 1
            return

        self._judged += 1
        if z_ab is not None and z_ba is not None:
            self._same_winner.add(_side(z_ab) == _side(z_ba))
        if z_ab is not None:
            self._first.add(z_ab)
        if z_ba is not None:
            self._first.add(1.0 - z_ba)
        longer = len(pair.response_a) - len(pair.response_b)
        if longer:
            self._longer_by_judge.add(_right(z, longer > 0))

        if y is None:
            self._unlabelled += 1
        elif y == 0.5:
            self._tied += 1
        else:
            self._z.append(z)
            self._y.append(int(y))
            self._keys.add(pair.prompt, pair.response_a, pair.response_b)
            if z_ab is not None:
                self._right_ab.add(_right(z_ab, y))
            if z_ba is not None:
                self._right_ba.add(_right(z_ba, y))
            if longer:
                self._longer_by_truth.add(_right(y, longer > 0))

    def report(self, samples: int = 1000, seed: int = 0) -> dict[str, Any]:
        """The numbers of the judgments so far, as `assess_judgments` names them. More may be added afterwards."""
        report: dict[str, Any] = {
            "pairs": self._pairs,
            "unjudged": self._pairs - self._judged,
            "reasons": dict(self._reasons.most_common()),
            "unlabelled": self._unlabelled,
            "tied": self._tied,
            "measured": len(self._z),
            "truth": "gold" if self.gold is not None else "label" if self._labelled else None,
        }
        if self._same_winner.number:
            report["position_consistency"] = report["order_consistency"] = self._same_winner.value
        if self._first.number:
            report["first_rate"] = self._first.value
        if self._z:
            z, y = np.frombuffer(self._z, dtype=np.float64), np.frombuffer(self._y, dtype=np.int8)
            numbers = against(z, y, self._keys.array, samples=samples, seed=seed)
            report |= {
                name.replace("accuracy", "agreement"): value for name, value in numbers.items() if name != "tied"
            }
            single = [share.value for share in (self._right_ab, self._right_ba) if share.number]
            if single:
                report["agreement_single_order"] = sum(single) / len(single)
        if self._judged:
            report["longer_wins"] = {"judge": self._longer_by_judge.value}
            if self._z:
                report["longer_wins"]["truth"] = self._longer_by_truth.value
        return report


class _Mean:
    """The mean of values that come one at a time: their sum and their number."""

    __slots__ = ("number", "total")

    def __init__(self) -> None:
        self.number, self.total = 0, 0.0

    def add(self, value: float) -> None:
        self.number += 1
        self.total += value

    @property
    def value(self) -> float:
        return self.total / self.number if self.number else math.nan


def _side(z: float) -> int:
    """Which response z prefers: 1 for a, -1 for b, 0 for neither."""
    return (z > 0.5) - (z < 0.5)


def _right(z: float, y: float) -> float:
    """`rlaif.metrics.accuracy` of one pair: 1 where z prefers the better side, 0 where the other, 0.5 where neither."""
    return 0.5 * (1 + _side(z) * _side(y))
