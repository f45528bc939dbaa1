"""How good a reward model's probabilities are on held-out pairs, and the baselines beside it. Pure numpy.

p = sigmoid(score(chosen) - score(rejected)) is compared with two things: the judge's z, which it was trained on, and,
where the pairs have one, an outside label (a person's, a gold reward's). Ties have no side to be right about: they are
left out of accuracies, and counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlaif import metrics

__all__ = ["against", "label_targets", "preference_report"]

Array = NDArray[np.float64]


def label_targets(labels: Sequence[str | None]) -> Array:
    """1 where the label is "chosen", 0 "rejected", 0.5 "tie", NaN where there is none: (N,)."""
    return np.array([{"chosen": 1.0, "rejected": 0.0, "tie": 0.5}.get(label or "", np.nan) for label in labels])


def against(p_N: Array, y_N: Array) -> dict[str, Any]:
    """Accuracy, soft NLL, Brier score and ECE of p against y in [0, 1], the ECE and accuracy with 95 % intervals.

    `nll_floor` is the entropy of y: no model can get below it, so the NLL's distance to it is what can be learned.
    """
    sided = y_N != 0.5
    correct = metrics.accuracy(p_N[sided], y_N[sided])
    low, high = metrics.bootstrap(lambda c: float(c.mean()), correct)
    ece_low, ece_high = metrics.bootstrap(metrics.ece, p_N, y_N)
    return {
        "pairs": int(y_N.size),
        "ties": int((~sided).sum()),
        "accuracy": float(correct.mean()) if correct.size else float("nan"),
        "accuracy_low": low,
        "accuracy_high": high,
        "soft_nll": metrics.soft_nll(y_N, p_N),
        "nll_floor": metrics.soft_nll(y_N, y_N),
        "brier": metrics.brier(p_N, y_N),
        "ece": metrics.ece(p_N, y_N),
        "ece_low": ece_low,
        "ece_high": ece_high,
    }


def preference_report(
    p_N: Array, z_N: Array, labels: Sequence[str | None], baselines: dict[str, Array]
) -> dict[str, Any]:
    """`against_z`, `against_label` (None without labels) and, for each baseline, its accuracy against both.

    Args:
        p_N: the model's P(chosen preferred), NaN where a pair is unscored; baselines are measured on the same pairs.
        z_N: the judge's.
        labels: "chosen", "rejected", "tie" or None.
        baselines: name -> P(chosen preferred), (N,).
    """
    scored = ~np.isnan(p_N)
    if not scored.any():
        raise ValueError("no held-out pair could be scored: all are longer than max_length. Raise max_length.")
    y_N = label_targets(labels)
    labelled = scored & ~np.isnan(y_N)

    def accuracy(p: Array, y: Array, rows: NDArray[np.bool_]) -> float | None:
        rows = rows & (y != 0.5)
        return metrics.agreement(p[rows], y[rows]) if rows.any() else None

    return {
        "pairs": len(p_N),
        "unscored": int((~scored).sum()),
        "against_z": against(p_N[scored], z_N[scored]),
        "against_label": against(p_N[labelled], y_N[labelled]) if labelled.any() else None,
        "baselines": {
            name: {"accuracy_z": accuracy(p, z_N, scored), "accuracy_label": accuracy(p, y_N, labelled)}
            for name, p in baselines.items()
        },
    }
