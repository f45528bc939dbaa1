"""Policies side by side: what is said of each, and of two of them, from their responses to the same prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlaif.assess.agreement import assess_judgments
from rlaif.assess.truth import GoldReward
from rlaif.assess.wins import mean_and_error, win_rate_by_judge, win_rate_by_reward
from rlaif.records import Judgment

__all__ = ["Responses", "assess_policy", "compare_policies"]

Array = NDArray[np.float64]

_OF_WINS = ("win_rate", "win_rate_low", "win_rate_high", "wins", "ties", "losses")
_OF_JUDGE = (
    "reasons", "agreement", "agreement_low", "agreement_high", "position_consistency", "order_consistency", "first_rate"
)  # fmt: skip


@dataclass
class Responses:
    """A policy's responses to all prompts, and what was measured on each; NaN where it could not be: N each.

    `tokens` counts what was generated, EOS included; `ended` is False where a response was cut at `max_new_tokens`;
    `retokenized` counts the responses whose text is encoded to another number of tokens than was generated, so that
    their KL is summed over other prefixes than the policy's own.
    """

    texts: list[str]
    tokens: list[int]
    ended: list[bool]
    kl: Array | None
    kl_missing: str | None
    retokenized: int = 0
    gold: Array | None = None
    reward: Array | None = None


def assess_policy(
    policy: Responses,
    baseline: Responses,
    judgments: Sequence[Judgment | None] | None,
    gold: GoldReward | None,
    **bootstrap: int,
) -> dict[str, Any]:
    """The means of a policy's numbers with their standard errors, and its win rate over the baseline.

    Args:
        policy, baseline: on the same prompts.
        judgments: of (policy, baseline), None where both said the same; None without a judge.
        gold: the truth that the judge is held against.
        bootstrap: `samples` and `seed` of the intervals.
    """
    row: dict[str, Any] = {}
    if policy.gold is not None:
        row["gold_reward"], row["gold_reward_se"] = mean_and_error(policy.gold)
    if policy.reward is not None:
        scored = ~np.isnan(policy.reward)
        row["reward"], row["reward_se"] = mean_and_error(policy.reward[scored])
        row["reward_unscored"] = int((~scored).sum())
    if judgments is not None:
        asked = [j for j in judgments if j is not None]
        row["judge"] = {
            **win_rate_by_judge(
                [None if j is None else j.z for j in judgments], [j is None for j in judgments], **bootstrap
            ),
            **{k: v for k, v in assess_judgments(asked, gold, **bootstrap).items() if k in _OF_JUDGE},
        }
    if policy.gold is not None and baseline.gold is not None:
        row |= {**win_rate_by_reward(policy.gold, baseline.gold, **bootstrap), "win_rate_by": "gold"}
    elif judgments is not None:
        row |= {k: row["judge"][k] for k in _OF_WINS if k in row["judge"]}
        row["win_rate_by"] = "judge"
    row["length"], row["length_se"] = mean_and_error(policy.tokens)
    row["no_eos"] = float(np.mean(np.logical_not(policy.ended)))
    if policy.kl is not None:
        row["kl"], row["kl_se"] = mean_and_error(policy.kl)
        row["kl_retokenized"] = policy.retokenized
    else:
        row["kl_missing"] = policy.kl_missing
    return row


def compare_policies(ours: Responses, theirs: Responses, **bootstrap: int) -> dict[str, Any]:
    """Two policies that are both no baseline: mean differences ours - theirs, prompt by prompt, and wins by gold.

    Their two intervals in the table of policies cannot say which is better: what makes prompts easy is in both.
    """
    row: dict[str, Any] = {}
    measures = [
        ("gold_reward", ours.gold, theirs.gold),
        ("reward", ours.reward, theirs.reward),
        ("kl", ours.kl, theirs.kl),
        ("length", np.array(ours.tokens, dtype=np.float64), np.array(theirs.tokens, dtype=np.float64)),
    ]
    for measure, first, second in measures:
        if first is not None and second is not None:
            difference = first - second
            row[measure], row[f"{measure}_se"] = mean_and_error(difference[~np.isnan(difference)])
    if ours.gold is not None and theirs.gold is not None:
        row |= win_rate_by_reward(ours.gold, theirs.gold, **bootstrap)
    return row
