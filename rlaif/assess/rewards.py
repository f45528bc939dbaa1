"""A reward model on preferences: right, and as sure as it should be? One report, wherever it is reported.

p = sigmoid((score(chosen) - score(rejected)) / temperature) is held against up to three references, which are never
mixed under one name: the judge's z, which it was trained on; an outside label (people's); a gold reward. Ties of a
reference have no side to be right about: they are left out of accuracy, Brier score and ECE, and counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rlaif import metrics
from rlaif.assess.calibration import against
from rlaif.assess.drawn import Drawn, Mean, interval_row, intervals
from rlaif.assess.length import longer, longer_wins
from rlaif.records import label_value

__all__ = ["REFERENCES", "assess_reward_model", "label_targets"]

Array = NDArray[np.float64]

REFERENCES = ("z", "label", "gold")


def label_targets(labels: Sequence[str | None]) -> Array:
    """1 where the label is "chosen", 0 "rejected", 0.5 "tie", NaN where there is none: (N,)."""
    return np.array([label_value(label) for label in labels], dtype=np.float64)  # None becomes NaN


def assess_reward_model(
    p: ArrayLike,
    z: ArrayLike,
    labels: Sequence[str | None],
    keys: ArrayLike | None,
    lengths_chosen: ArrayLike,
    lengths_rejected: ArrayLike,
    *,
    gold: ArrayLike | None = None,
    baselines: Mapping[str, ArrayLike] | None = None,
    refused: int = 0,
    samples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """What `reward_models/bradley_terry.py` reports as `held_out` and `rlaif evaluate` as `reward_model`.

    Args:
        p: the model's P(chosen is preferred), NaN where a pair could not be scored: (N,).
        z: the judge's, in [0, 1]: (N,).
        labels: "chosen", "rejected", "tie" or None: N.
        keys: which prompt and responses the pairs are of (`rlaif.assess.drawn.keys_of`): (N, 3).
        lengths_chosen, lengths_rejected: in any one unit: (N,).
        gold: y = 1 where chosen is better by a gold reward, 0, 0.5 for a tie: (N,). None without one.
        baselines: name -> P(chosen is preferred): (N,). "The longer one wins" is always among them.
        refused: how many pairs the chat template refuses; they are unscored too.
        samples, seed: of the intervals (95 %, `rlaif.assess.drawn`).

    Returns:
        `pairs`, of them `unscored` (in no other number) and of these `refused`; `against_z`, `against_label` and
        `against_gold` (None where no scored pair has such a reference), each with

            pairs           scored and with a reference; of them `tied` and `measured`
            accuracy, brier, brier_of_half, ece, drawn, reliability, baselines     what
                            `rlaif.assess.calibration.against` gives
            soft_nll        mean of -[y log p + (1 - y) log(1 - p)] in nats (+ `_low`, `_high`), a tie as y = 0.5;
                            `soft_nll_floor`: the entropy of y, below which no p gets
            longer_wins     how often the longer response wins: by the `model`, by the `reference`
    """
    p_N, z_N = np.asarray(p, dtype=np.float64), np.asarray(z, dtype=np.float64)
    keys_N3 = None if keys is None else np.asarray(keys)
    a_N, b_N = np.asarray(lengths_chosen), np.asarray(lengths_rejected)
    scored = ~np.isnan(p_N)
    rivals = {"longer_wins": longer(a_N, b_N)}
    rivals |= {name: np.asarray(q, dtype=np.float64) for name, q in (baselines or {}).items()}
    draws = {"samples": samples, "seed": seed}

    def held_against(y_N: Array) -> dict[str, Any] | None:
        known = scored & ~np.isnan(y_N)
        if not known.any():
            return None
        p, y = p_N[known], y_N[known]
        nll = Mean(metrics.soft_nll_each(y, p), limits=(0.0, np.inf))
        of = None if keys_N3 is None else keys_N3[known]
        drawn = Drawn.rows(y.size) if of is None else Drawn.pairs(of)
        others = {name: q[known] for name, q in rivals.items()}
        section: dict[str, Any] = {"pairs": int(y.size), **against(p, y, of, baselines=others, **draws)}
        section |= interval_row("soft_nll", nll, intervals([nll], drawn, **draws)[0])
        section["soft_nll_floor"] = metrics.soft_nll(y, y)
        sided = known & (y_N != 0.5)
        if not sided.any():
            return section
        sides = {"model": p_N, "reference": y_N}
        section["longer_wins"] = {name: longer_wins(q[sided], a_N[sided], b_N[sided]) for name, q in sides.items()}
        return section

    return {
        "pairs": int(p_N.size),
        "unscored": int((~scored).sum()),
        "refused": refused,
        "against_z": held_against(z_N),
        "against_label": held_against(label_targets(labels)),
        "against_gold": None if gold is None else held_against(np.asarray(gold, dtype=np.float64)),
    }
