"""Policies side by side: what is said of each, from their responses to the same prompts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rlaif.assess.agreement import assess_judgments
from rlaif.assess.responses import Responses
from rlaif.assess.truth import GoldReward
from rlaif.assess.wins import mean_row
from rlaif.records import Judgment

__all__ = ["assess_policy"]

_OF_WINS = ("win_rate", "win_rate_low", "win_rate_high", "wins", "ties", "losses")
_OF_JUDGE = (
    "reasons", "agreement", "agreement_low", "agreement_high", "drawn", "position_consistency", "order_consistency",
    "first_rate",
)  # fmt: skip


def assess_policy(
    policy: Responses,
    by_gold: dict[str, Any],
    by_judge: dict[str, Any],
    judgments: Sequence[Judgment | None],
    gold: GoldReward | None,
    **bootstrap: int,
) -> dict[str, Any]:
    """The means of a policy's numbers with their errors and intervals, and its win rate over the baseline.

    Args:
        policy: its responses.
        by_gold, by_judge: `wins_by_gold` and `wins_by_judge` of the policy and the baseline; {} without.
        judgments: that the latter was made of; () without a judge.
        gold: the truth that the judge is held against.
        bootstrap: `samples` and `seed` of the intervals.
    """
    row: dict[str, Any] = {}
    if policy.gold is not None:
        row |= mean_row("gold_reward", policy.gold)
    if policy.reward is not None:
        scored = ~np.isnan(policy.reward)
        row |= mean_row("reward", policy.reward[scored])
        row["reward_unscored"] = int((~scored).sum())
    if by_judge:
        asked = [j for j in judgments if j is not None]
        row["judge"] = {
            **by_judge,
            **{k: v for k, v in assess_judgments(asked, gold, **bootstrap).items() if k in _OF_JUDGE},
        }
    if by_gold:
        row |= {**by_gold, "win_rate_by": "gold"}
    elif "judge" in row:
        row |= {k: row["judge"][k] for k in _OF_WINS if k in row["judge"]}
        row["win_rate_by"] = "judge"
    row |= mean_row("characters", policy.characters)
    row["thoughts"] = policy.thoughts
    if policy.tokens is not None:
        row |= mean_row("length", policy.tokens)
    else:
        row["length_missing"] = policy.length_missing
    if policy.ended is not None:
        row["no_eos"] = float(np.mean(np.logical_not(policy.ended)))
    else:
        row["no_eos_missing"] = policy.no_eos_missing
    if policy.kl is not None:
        row |= mean_row("kl", policy.kl)
        row["kl_retokenized"] = policy.retokenized
    else:
        row["kl_missing"] = policy.kl_missing
    if policy.usage is not None:
        row["usage"] = policy.usage
    return row
