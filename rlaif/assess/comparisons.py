"""Two policies on the same prompts: differences prompt by prompt, wins by gold and by judge, and a test of each.

    measure                           test
    gold_reward, reward, characters   sign flips of the differences (`rlaif.assess.paired`)
    wins by gold, wins by judge       the exact sign test, ties left out
    mean_z (judged with each other)   sign flips of z - 1/2
    z over the baseline (not judged   sign flips of the difference of both policies' z over it
    with each other)

p-values are adjusted by Holm over all pairs of policies of a report that have one, each measure by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlaif import metrics
from rlaif.assess.drawn import Drawn, Mean, interval_row, intervals
from rlaif.assess.length_controlled import length_controlled
from rlaif.assess.paired import EXACT, FLIPS, holm, sign_flip_test, sign_test
from rlaif.assess.responses import Responses
from rlaif.assess.wins import mean_row, win_rate_by_judge, win_rate_by_reward
from rlaif.records import Judgment

__all__ = ["adjusted", "compare_policies", "judged_wins", "wins_by_gold", "wins_by_judge"]

Array = NDArray[np.float64]
Judgments = Sequence[Judgment | None]

# Where the p-values of one measure stand in a comparison: each pair has one of them.
_FAMILIES = (
    (("gold_reward",),),
    (("reward",),),
    (("characters",),),
    (("wins",),),
    (("judge", "wins"),),
    (("judge", "mean_z"), ("judge_over_baseline", "z")),
)


def judged_wins(judgments: Judgments) -> Array:
    """z of each prompt, 0.5 where both responses are the same (None), NaN where it is unjudged: (N,)."""
    return np.array([0.5 if j is None else np.nan if j.z is None else j.z for j in judgments], dtype=np.float64)


def wins_by_judge(ours: Responses, theirs: Responses, judgments: Judgments, **bootstrap: int) -> dict[str, Any]:
    """The win rate by a judge, the mean of its z, and that mean at equal length.

    Args:
        ours, theirs: on the same N prompts.
        judgments: of (ours, theirs), None where both said the same: N.
        bootstrap: `samples` and `seed` of the intervals.

    Returns:
        What `win_rate_by_judge` gives (the share of prompts won), `mean_z` (what AlpacaEval calls the win rate) and
        `lc_mean_z` (its length-controlled win rate), each with `_low` and `_high`; or `lc_missing`, why there is none.
        An unjudged prompt is in none of them.
    """
    row = dict(
        win_rate_by_judge([None if j is None else j.z for j in judgments], [j is None for j in judgments], **bootstrap)
    )
    z = judged_wins(judgments)
    known = ~np.isnan(z)
    if known.any():
        mean = Mean(z[known], limits=(0.0, 1.0))
        row |= interval_row("mean_z", mean, intervals([mean], Drawn.rows(len(mean.values)), **bootstrap)[0])
    return row | _at_equal_length("lc_mean_z", z, ours, theirs, **bootstrap)


def wins_by_gold(ours: Responses, theirs: Responses, **bootstrap: int) -> dict[str, Any]:
    """The win rate by gold and, as `lc_win_rate`, that at equal length; {} without gold rewards."""
    if ours.gold is None or theirs.gold is None:
        return {}
    return {
        **win_rate_by_reward(ours.gold, theirs.gold, **bootstrap),
        **_at_equal_length("lc_win_rate", metrics.win_rate(ours.gold, theirs.gold), ours, theirs, **bootstrap),
    }


def _at_equal_length(
    name: str, wins: Array, ours: Responses, theirs: Responses, **bootstrap: int
) -> dict[str, float | str]:
    if ours is theirs:
        return {name: 0.5, f"{name}_low": 0.5, f"{name}_high": 0.5}  # by construction
    known = ~np.isnan(wins)
    found = length_controlled(wins[known], ours.characters[known], theirs.characters[known], **bootstrap)
    if isinstance(found, str):
        return {"lc_missing": found}
    return dict(zip((name, f"{name}_low", f"{name}_high"), found, strict=True))


def compare_policies(
    ours: Responses,
    theirs: Responses,
    by_gold: dict[str, Any],
    by_judge: dict[str, Any],
    judgments: Judgments = (),
    over_baseline: tuple[Judgments, Judgments] | None = None,
    *,
    seed: int = 0,
) -> dict[str, Any]:
    """Mean differences ours - theirs, prompt by prompt, and wins, each with the p-value of its test.

    The intervals of two policies in a table cannot say which is better: what makes prompts easy is in both.

    Args:
        ours, theirs: on the same N prompts.
        by_gold: `wins_by_gold` of both; {} without gold.
        by_judge: `wins_by_judge` of both; {} where they were not judged with each other.
        judgments: that it was made of.
        over_baseline: else, where both were judged with the baseline, these judgments of each.
        seed: of the flips.
    """
    row: dict[str, Any] = {}

    def difference(name: str, values: Array, test: bool = True) -> None:
        known = values[~np.isnan(values)]
        row.update(mean_row(name, known))
        if test:
            row[f"{name}_p"] = sign_flip_test(known, seed=seed)

    if ours.gold is not None and theirs.gold is not None:
        difference("gold_reward", ours.gold - theirs.gold)
    if by_gold:
        row |= {**by_gold, "win_rate_by": "gold", "wins_p": sign_test(by_gold["wins"], by_gold["losses"])}
    if ours.reward is not None and theirs.reward is not None:
        difference("reward", ours.reward - theirs.reward)
    if ours.kl is not None and theirs.kl is not None:
        difference("kl", ours.kl - theirs.kl, test=False)
    difference("characters", ours.characters - theirs.characters)
    if ours.tokens is not None and theirs.tokens is not None and ours.tokenizer == theirs.tokenizer:
        difference("length", np.array(ours.tokens, dtype=np.float64) - np.array(theirs.tokens), test=False)
    if by_judge:
        row["judge"] = {
            **by_judge,
            "wins_p": sign_test(by_judge.get("wins", 0), by_judge.get("losses", 0)),
            "mean_z_p": sign_flip_test(judged_wins(judgments) - 0.5, seed=seed),
        }
    elif over_baseline is not None:
        d = judged_wins(over_baseline[0]) - judged_wins(over_baseline[1])
        d = d[~np.isnan(d)]
        row["judge_over_baseline"] = {"prompts": d.size, **mean_row("z", d), "z_p": sign_flip_test(d, seed=seed)}
    return row


def adjusted(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Adds to each p of some comparisons, as `..._p_holm`, what it is worth among all of them.

    Returns:
        How many pairs they are, and by what their p-values are adjusted and come about, a report's `tests`: all sign
        flips of up to `all_flips_up_to` differences other than 0, else `flips` random ones.
    """
    for family in _FAMILIES:
        places = [_place(row, family) for row in rows]
        values = holm([None if place is None else place[0][f"{place[1]}_p"] for place in places])
        for place, value in zip(places, values, strict=True):
            if place is not None:
                section, name = place
                section[f"{name}_p_holm"] = value
    return {
        "pairs": len(rows),
        "adjusted": "Holm, over the pairs of policies that have a p-value, each measure by itself",
        "flips": FLIPS,
        "all_flips_up_to": EXACT,
    }


def _place(row: dict[str, Any], family: Sequence[tuple[str, ...]]) -> tuple[dict[str, Any], str] | None:
    for *above, name in family:
        section = row
        for part in above:
            section = section.get(part, {})
        if f"{name}_p" in section:
            return section, name
    return None
