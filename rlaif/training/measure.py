"""What a training program reports of held-out rows, from what `rlaif.training.by_row` keeps of each. Pure numpy.

A reward model's report is `rlaif.assess.rewards.assess_reward_model`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rlaif import metrics
from rlaif.assess.drawn import Drawn, Mean, interval_row, intervals, prompt_key
from rlaif.records import Prompt

__all__ = ["completion_report", "implicit_reward_report", "prompt_keys", "rollout_report"]

Array = NDArray[np.float64]


def implicit_reward_report(
    rows: Mapping[str, Array], keys_N3: ArrayLike, loss_is_of_rows: bool = True
) -> dict[str, Any]:
    """DPO on N held-out pairs, each counted once.

    Args:
        rows: `loss`, `z`, `rewards/margins` of each pair: (N,).
        keys_N3: which prompt and responses the pairs are of (`rlaif.assess.drawn.keys_of`).
        loss_is_of_rows: False where the loss is of a batch, and so has no interval.

    Returns:
        `pairs`; `loss`, `margin` (the mean difference of implicit rewards beta log(pi / pi_ref), chosen less rejected)
        and `accuracy` (the share of pairs whose difference is on the side of z: of the `measured` ones, without those
        `tied` at z = 0.5), each + `_low`, `_high`, None where too few prompts and responses were drawn; `drawn`.
    """
    margin, z = rows["rewards/margins"], rows["z"]
    sided = z != 0.5
    drawn = Drawn.pairs(keys_N3)
    right = np.zeros(z.size)  # a tie adds nothing to the sum of the right ones, and nothing to their number
    right[sided] = metrics.accuracy(metrics.sigmoid(margin[sided]), z[sided])
    numbers = {"loss": Mean(rows["loss"]), "margin": Mean(margin)}
    if sided.any():
        numbers["accuracy"] = Mean(right, size=sided, limits=(0.0, 1.0))
    ends = dict(zip(numbers, intervals([*numbers.values()], drawn), strict=True))
    if not loss_is_of_rows:
        ends["loss"] = (None, None)
    report: dict[str, Any] = {"pairs": int(z.size), "tied": int((~sided).sum()), "measured": int(sided.sum())}
    for name, number in numbers.items():
        report |= interval_row(name, number, ends[name])
    return report | {"drawn": drawn.row()}


def completion_report(rows: Mapping[str, Array], keys_N: ArrayLike) -> dict[str, Any]:
    """SFT on N held-out rows.

    Args:
        rows: `loss` (-log p of the completion, in nats), `tokens` and `right` (tokens that are the likeliest) of each
            row: (N,).
        keys_N: numbers that tell prompts apart (`prompt_keys`): rows of a prompt are drawn together.

    Returns:
        `rows`; `tokens`, of the completions with their ends; `loss`, nats a token over all tokens of all rows;
        `perplexity`, its exponential; `token_accuracy`, the share of tokens that are the likeliest; each of the three
        + `_low`, `_high`, None where too few prompts were drawn; `drawn`.
    """
    tokens, drawn = rows["tokens"], Drawn.clusters(keys_N)
    loss = Mean(rows["loss"], size=tokens, limits=(0.0, math.inf))
    right = Mean(rows["right"], size=tokens, limits=(0.0, 1.0))
    of_loss, of_right = intervals([loss, right], drawn)
    low, high = (None if end is None else math.exp(end) for end in of_loss)
    return {
        "rows": int(tokens.size),
        "tokens": int(tokens.sum()),
        **interval_row("loss", loss, of_loss),
        "perplexity": math.exp(loss.value),
        "perplexity_low": low,
        "perplexity_high": high,
        **interval_row("token_accuracy", right, of_right),
        "drawn": drawn.row(),
    }


def prompt_keys(prompts: Iterable[Prompt | None], texts: Iterable[str]) -> list[int]:
    """A number for each row, equal where the prompts are; a row without one (plain text) is known by its text."""
    return [prompt_key(text if prompt is None else prompt) for prompt, text in zip(prompts, texts, strict=True)]


def rollout_report(rollout: Mapping[str, Sequence[Any]] | None) -> dict[str, Any] | None:
    """PPO's newest rollout, over its responses; None where there was none.

    Args:
        rollout: `PPOTrainer.last_rollout`.

    Returns:
        `responses`, of them `unscored`; means of `reward` (of the scored ones, before shaping), `kl` (nats a response,
        by the log-ratio of the sampled tokens; only where a reference is held to) and `length` (tokens), and `no_eos`,
        the share that was cut off; each + `_low`, `_high`, None where too few prompts were drawn; `drawn`.
    """
    if rollout is None:
        return None
    columns = {name: np.array(rollout[name], dtype=np.float64) for name in ("reward", "kl", "length", "ended")}
    drawn, scored = Drawn.clusters(rollout["prompt"]), ~np.isnan(columns["reward"])
    means = {
        "reward": Mean(np.nan_to_num(columns["reward"]), size=scored),
        "kl": Mean(columns["kl"]),
        "length": Mean(columns["length"]),
        "no_eos": Mean(1.0 - columns["ended"], limits=(0.0, 1.0)),
    }
    if np.isnan(columns["kl"]).any():
        del means["kl"]
    report: dict[str, Any] = {"responses": int(scored.size), "unscored": int((~scored).sum())}
    for name, mean, ends in zip(means, means.values(), intervals([*means.values()], drawn), strict=True):
        report |= interval_row(name, mean, ends)
    return report | {"drawn": drawn.row()}
