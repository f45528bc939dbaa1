"""Win rates of one policy against another on the same prompts, ties counting half."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from rlaif import metrics
from rlaif.assess.drawn import MIN_UNITS, Drawn, Mean, errors_to_end, interval_row, intervals

__all__ = ["mean_and_error", "mean_row", "win_rate_by_judge", "win_rate_by_reward"]


def mean_and_error(values: ArrayLike) -> tuple[float, float]:
    """The mean of (N,) values and its standard error, s / sqrt(N); NaN for the error of a single value."""
    v = np.asarray(values, dtype=np.float64)
    if not v.size:
        return float("nan"), float("nan")
    error = float(v.std(ddof=1) / np.sqrt(v.size)) if v.size > 1 else float("nan")
    return float(v.mean()), error


def mean_row(name: str, values: ArrayLike) -> dict[str, float | None]:
    """The mean of (N,) values as a report has it: `name`, `name`_se, and its 95 % interval, `name`_low and `name`_high.

    The interval is Student's, t standard errors to both sides with N - 1 degrees of freedom. Of fewer than `MIN_UNITS`
    values there is none (None), as there is none of a share: the spread of so few says little of others, and that of a
    few equal ones, 0, nothing.
    """
    v = np.asarray(values, dtype=np.float64)
    mean, error = mean_and_error(v)
    half = errors_to_end(v.size) * error if v.size >= MIN_UNITS else None
    low, high = (None, None) if half is None else (mean - half, mean + half)
    return {name: mean, f"{name}_se": error, f"{name}_low": low, f"{name}_high": high}


def win_rate_by_reward(
    rewards: ArrayLike, baseline: ArrayLike, *, samples: int = 1000, seed: int = 0
) -> dict[str, float | None]:
    """The share of prompts on which `rewards` (N,) exceed the baseline's (N,), equal ones counting half.

    Returns `win_rate`, `win_rate_low`, `win_rate_high` and the counts that they come from: `wins`, `ties`, `losses`.
    The interval draws prompts, so both policies' responses to a prompt stay together: a paired comparison. Its ends are
    None where there are too few of them (`rlaif.assess.drawn.MIN_UNITS`).
    """
    return _rate(metrics.win_rate(rewards, baseline), samples, seed)


def win_rate_by_judge(
    z: Sequence[float | None], identical: Sequence[bool], *, samples: int = 1000, seed: int = 0
) -> Mapping[str, Any]:
    """The share of prompts that a judge gives to the policy.

    Args:
        z: P(the policy's response is preferred), both orders averaged; None where it is unjudged: N values. Above 0.5
            is a win, 0.5 half of one.
        identical: where both responses are the same text. No judge is needed to call that a tie.

    Returns:
        `win_rate`, `win_rate_low`, `win_rate_high` and the counts `wins`, `ties`, `losses` over the prompts that were
        judged or identical, and the counts `judged`, `identical`, `unjudged`. An unjudged prompt is in the last count
        and in no rate.
    """
    wins = [
        0.5 if same else 0.5 * (np.sign(p - 0.5) + 1.0) if p is not None else None
        for p, same in zip(z, identical, strict=True)
    ]
    known = np.array([w for w in wins if w is not None], dtype=np.float64)
    same = int(sum(identical))
    return {
        **_rate(known, samples, seed),
        "judged": known.size - same,
        "identical": same,
        "unjudged": len(wins) - known.size,
    }


def _rate(wins: Any, samples: int, seed: int) -> dict[str, float | None]:
    if not len(wins):
        return {}
    share = Mean(wins, limits=(0.0, 1.0))
    (ends,) = intervals([share], Drawn.rows(len(wins)), samples=samples, seed=seed)
    counts = {name: int(np.sum(wins == value)) for name, value in (("wins", 1.0), ("ties", 0.5), ("losses", 0.0))}
    return interval_row("win_rate", share, ends) | counts
