"""Best of n: what choosing the best of n responses by a reward gives, for every n <= N, from N responses to a prompt.

One subset of n candidates would do for one n. All C(N, n) of them have the same expectation and the least variance (a
U-statistic), and need no drawing. Sorted by reward, i = 1 the lowest, candidate i is the best of a subset exactly where
the n - 1 others are among the i - 1 below it, so that the mean over all subsets of a score s of the best is

    sum_i w_i s_i,    w_i = C(i - 1, n - 1) / C(N, n)

(Nakano et al., 2112.09332, appendix I; used by Gao et al., 2210.10760). It is unbiased whatever s is: the reward, a
gold reward, the length.

Ties. Candidates of equal reward share the weight of their ranks equally, as if each subset drew one of its best by lot:
the order of the candidates says nothing.

Unscored candidates (reward NaN) count among the N drawn and rank below all others, since that is what choosing does: of
n responses drawn it takes the best one that could be scored. Subsets without any have no best; the weights of the rest
are divided by the share of subsets that have one. So every prompt with a scored candidate is in the mean of every n,
and means at different n are of the same prompts.

KL. Choosing the best of n moves the policy by at most log n - (n - 1) / n nats (`kl_bound`), whatever the reward.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rlaif.assess.wins import mean_and_error

__all__ = ["assess_best_of_n", "best_of_n_values", "choice_weights", "kl_bound", "sizes", "subset_weights"]

Array = NDArray[np.float64]


def kl_bound(n: int) -> float:
    """log n - (n - 1) / n: an upper bound of KL(best of n || policy), in nats a response.

    It is the KL itself where no two draws ever tie in reward, whatever the reward is (Stiennon et al., 2009.01325,
    appendix G.3). Where they may, as any two equal responses do, the KL is smaller (Beirami et al., 2401.01879). Of a
    policy with unscored responses it bounds the KL to that policy's scored ones.
    """
    return math.log(n) - (n - 1) / n


def sizes(candidates: int) -> list[int]:
    """1, 2, 4, ... below N, and N itself: the n that are reported of N candidates."""
    return [*(2**k for k in range((candidates - 1).bit_length())), candidates]


def subset_weights(candidates: int, n: int) -> Array:
    """w_i = C(i - 1, n - 1) / C(N, n) for i = 1 ... N: how often the i-th lowest of N is the best of n drawn: (N,).

    Computed from the top, w_N = n / N and w_(i-1) = w_i (i - n) / (i - 1): no factor is above 1, so nothing overflows.

    Args:
        candidates: N.
        n: of them drawn without replacement, 1 ... N.
    """
    assert 1 <= n <= candidates
    i = np.arange(candidates, n, -1.0)
    weights_N = np.zeros(candidates)
    weights_N[n - 1 :] = (n / candidates * np.cumprod([1.0, *((i - n) / (i - 1.0))]))[::-1]
    return weights_N


def choice_weights(rewards_N: ArrayLike, n: int) -> Array:
    """How often each of N candidates is the best of n drawn, given that one of the n is scored: (N,), of sum 1.

    Args:
        rewards_N: NaN where a candidate is unscored, which then has weight 0. At least one is not.
        n: 1 ... N.
    """
    rewards_N = np.asarray(rewards_N, dtype=np.float64)
    scored_N = ~np.isnan(rewards_N)
    assert scored_N.any()
    ordered_N = np.sort(np.where(scored_N, rewards_N, -np.inf))
    # Of the ranks a + 1 ... b the candidates that tie share the weight: (C(b, n) - C(a, n)) / C(N, n) / (b - a) each.
    a_M, b_M = (np.searchsorted(ordered_N, rewards_N[scored_N], side) for side in ("left", "right"))
    up_to = np.concatenate([[0.0], np.cumsum(subset_weights(rewards_N.size, n))])  # C(k, n) / C(N, n), k = 0 ... N
    weights_N = np.zeros(rewards_N.size)
    weights_N[scored_N] = (up_to[b_M] - up_to[a_M]) / (b_M - a_M)
    return np.asarray(weights_N / weights_N.sum())


def best_of_n_values(weights_PN: ArrayLike, values_PN: ArrayLike) -> tuple[Array, Array]:
    """The mean of a score of the best of n, prompt by prompt.

    Args:
        weights_PN: `choice_weights` of each of P prompts.
        values_PN: the score of each candidate, NaN where it has none.

    Returns:
        The mean over the choices that have the score, NaN where none has: (P,); and the share of those that have not:
        (P,).
    """
    weights_PN, values_PN = np.asarray(weights_PN), np.asarray(values_PN, dtype=np.float64)
    known_PN = np.where(np.isnan(values_PN), 0.0, weights_PN)
    known_P = known_PN.sum(axis=1)
    with np.errstate(invalid="ignore"):  # 0 / 0 is the NaN of a prompt without a known choice
        values_P = (known_PN * np.nan_to_num(values_PN)).sum(axis=1) / known_P
    return values_P, np.clip(1.0 - known_P, 0.0, 1.0)


def assess_best_of_n(
    rewards_PN: ArrayLike, scores: Mapping[str, ArrayLike], lengths_PN: ArrayLike, ended_PN: ArrayLike
) -> list[dict[str, Any]]:
    """What the best of n has on average, for n = 1, 2, 4, ... and N.

    Args:
        rewards_PN: by which is chosen, of N candidates to each of P prompts; NaN where unscored, not in a whole row.
        scores: by which is not chosen, by name: (P, N) each, NaN where unscored.
        lengths_PN: tokens of each candidate, EOS included.
        ended_PN: whether it ended in EOS.

    Returns:
        For each n a row: `n`; `kl_bound` in nats a response; means over prompts, with standard errors over prompts
        (`_se`), of `reward` and `length`, and of each of `scores` as `mean`, with the share of choices that lack the
        score (`unscored`, in no mean); `no_eos`, the share of choices that did not end.
    """
    rewards_PN, rows = np.asarray(rewards_PN, dtype=np.float64), []
    for n in sizes(rewards_PN.shape[1]):
        weights_PN = np.stack([choice_weights(rewards_N, n) for rewards_N in rewards_PN])
        row: dict[str, Any] = {"n": n, "kl_bound": kl_bound(n)}
        for name, values_PN in (("reward", rewards_PN), ("length", lengths_PN)):
            row[name], row[f"{name}_se"] = mean_and_error(best_of_n_values(weights_PN, values_PN)[0])
        row["no_eos"] = float(1.0 - best_of_n_values(weights_PN, ended_PN)[0].mean())
        row["scores"] = {}
        for name, values_PN in scores.items():
            values_P, unscored_P = best_of_n_values(weights_PN, values_PN)
            mean, error = mean_and_error(values_P[~np.isnan(values_P)])
            row["scores"][name] = {"mean": mean, "mean_se": error, "unscored": float(unscored_P.mean())}
        rows.append(row)
    return rows
