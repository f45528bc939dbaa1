"""How good a reward model's probabilities are on held-out pairs, and the baselines beside it. Pure numpy.

p = sigmoid(score(chosen) - score(rejected)) is compared with two things: the judge's z, which it was trained on, and,
where the pairs have one, an outside label (a person's, a gold reward's). Ties have no side to be right about: they are
left out of accuracy, Brier score and ECE, and counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlaif import metrics
from rlaif.assess.calibration import against
from rlaif.records import label_value

__all__ = ["label_targets", "paired_difference", "preference_report"]

Array = NDArray[np.float64]


def label_targets(labels: Sequence[str | None]) -> Array:
    """1 where the label is "chosen", 0 "rejected", 0.5 "tie", NaN where there is none: (N,)."""
    return np.array([label_value(label) for label in labels], dtype=np.float64)  # None becomes NaN


def paired_difference(p_N: Array, q_N: Array, y_N: Array) -> tuple[float, float, float]:
    """Accuracy of p less that of q on the same pairs, without ties in y, and its bootstrap 95 % interval.

    Each draw takes both answers to a pair together, so what makes a pair hard for both cancels: the interval of the
    difference is mostly much narrower than the two accuracies' own suggest.
    """
    better = metrics.accuracy(p_N, y_N) - metrics.accuracy(q_N, y_N)
    return float(better.mean()), *metrics.bootstrap(np.mean, better)


def preference_report(
    p_N: Array, z_N: Array, labels: Sequence[str | None], baselines: dict[str, Array]
) -> dict[str, Any]:
    """`against_z`, `against_label` (None without labels) and `baselines`.

    Args:
        p_N: the model's P(chosen preferred), NaN where a pair is unscored; baselines are measured on the same pairs.
        z_N: the judge's.
        labels: "chosen", "rejected", "tie" or None.
        baselines: name -> P(chosen preferred), (N,).

    Returns:
        `pairs`, of them `unscored`; `against_z` and `against_label`, each with `pairs`, what
        `rlaif.assess.calibration.against` gives, `soft_nll` (nats; ties count as 0.5) and `soft_nll_floor` (the entropy
        of the target: no p gets below). For each of `baselines` its `accuracy_z` and `accuracy_label`, and
        `difference_z`, `difference_label` (+ `_low`, `_high`): the model's accuracy less the baseline's, in pairs. They
        are None where no pair has a side.

    Raises:
        ValueError: no pair could be scored.
    """
    scored = ~np.isnan(p_N)
    if not scored.any():
        raise ValueError(
            "no held-out pair could be scored: all are longer than max_length or refused by the chat template. Raise "
            "max_length, or change the rows."
        )
    targets = {"z": z_N, "label": label_targets(labels)}
    rows = {name: scored & ~np.isnan(y_N) for name, y_N in targets.items()}

    def model(name: str) -> dict[str, Any] | None:
        p, y = p_N[rows[name]], targets[name][rows[name]]
        if not y.size:
            return None
        nll = {"soft_nll": metrics.soft_nll(y, p), "soft_nll_floor": metrics.soft_nll(y, y)}
        return {"pairs": int(y.size), **against(p, y), **nll}

    def baseline(q_N: Array) -> dict[str, float | None]:
        numbers: dict[str, float | None] = {}
        for name, y_N in targets.items():
            sided = rows[name] & (y_N != 0.5)
            measured = sided.any()
            numbers[f"accuracy_{name}"] = metrics.agreement(q_N[sided], y_N[sided]) if measured else None
            difference = paired_difference(p_N[sided], q_N[sided], y_N[sided]) if measured else (None, None, None)
            keys = (f"difference_{name}", f"difference_{name}_low", f"difference_{name}_high")
            numbers |= dict(zip(keys, difference, strict=True))
        return numbers

    return {
        "pairs": len(p_N),
        "unscored": int((~scored).sum()),
        "against_z": model("z"),
        "against_label": model("label"),
        "baselines": {name: baseline(q_N) for name, q_N in baselines.items()},
    }
