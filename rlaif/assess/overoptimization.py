"""Over-optimization: from which step on does the training reward still rise while a held-out score falls?

A reward model is a proxy. Pushed far enough, the policy finds what the proxy pays for and nobody wants: the reward goes
on rising, the thing that it stands for turns down (Gao, Schulman and Hilton, "Scaling Laws for Reward Model
Overoptimization", 2210.10760). So every so many steps the policy answers the same held-out prompts with the same random
numbers, and each response gets the training reward and scores that training never sees: a judge's, a gold reward's.

The rule. At check t a score s is compared, prompt by prompt, with the check b < t at which its mean was best so far.
The score is marked at the first t at which

    mean_i(s_ti - s_bi) < 0   and   mean_i(r_ti - r_bi) > 0,   r the training reward, both intervals without 0.

Noise must not trip it, and 95 % intervals one by one would let it: the best of t noisy means lies too high (the
winner's curse), and every check is another look. The intervals are therefore simultaneous over all K (K - 1) / 2 pairs
of the K checks of a run, each at level 1 - 0.05 / (K (K - 1) / 2) (Bonferroni). Whichever pair the data choose, all
intervals hold their true differences at once in 95 % of runs, so a score that never falls is marked in at most 2.5 % of
them, whatever the correlation between checks, as far as means of differences are normal. That the reward rose has to be
shown at the same level (an intersection-union test, Berger 1982), which only makes marks rarer. The level is for one
score: of M scores that never fall, one is marked in at most M * 2.5 % of runs. No sequential test is used, because none
fits: those are for a growing sample, and here every check sees the same prompts.

What that costs is power: at K = 20 and 200 prompts an interval is +- 3.7 standard errors, not 1.96. Measured on 2,000
simulated runs a case, 20 checks of a flat score (the cases of tests/test_overoptimization.py, 50 and 200 prompts): 0 to
2.2 % of runs were marked; with intervals one by one, 74 to 82 %.

What it cannot do. It audits and does not prevent: nothing here feeds back into training. And a held-out score sees only
errors that it does not share: a judge whose taste the reward model was trained to copy is fooled by what fools the
reward model, and stays up while the truth falls. No mark is no proof of health.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rlaif.assess.wins import mean_and_error
from rlaif.metrics import t_quantile

__all__ = ["MIN_PROMPTS", "Check", "assess_checks", "paired_change"]

Array = NDArray[np.float64]

LEVEL = 0.95
MIN_PROMPTS = 20  # with fewer pairs the mean of differences is too far from normal for tails as thin as these


@dataclass(frozen=True, eq=False)
class Check:
    """The policy at one step on N held-out prompts, in the same order at every check. NaN (or None): not scored.

    Attributes:
        step: optimizer steps so far; 0 is the policy before training.
        samples: responses generated for training so far.
        reward_N: what is trained on, without KL and penalties: (N,).
        scores: what is not trained on, by name, higher is better: (N,) each. Without any, nothing can be marked.
        kl_N: KL to the reference in nats a response: log-ratios of the sampled tokens summed, negative at times: (N,).
        length_N: tokens a response, EOS included: (N,).
        ended_N: whether the response ended in EOS: (N,), bool.

    Raises:
        ValueError: no prompt, arrays of different lengths, or an infinite value.
    """

    step: int
    samples: int
    reward_N: Array
    scores: Mapping[str, Array]
    kl_N: Array
    length_N: Array
    ended_N: NDArray[np.bool_]

    def __post_init__(self) -> None:
        for name in ("reward_N", "kl_N", "length_N"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=np.float64))
        scores = {name: np.asarray(values, dtype=np.float64) for name, values in self.scores.items()}
        object.__setattr__(self, "scores", scores)
        object.__setattr__(self, "ended_N", np.asarray(self.ended_N, dtype=np.bool_))
        arrays = {"reward": self.reward_N, **self.scores, "kl": self.kl_N, "length": self.length_N}
        shapes = {name: array.shape for name, array in {**arrays, "ended": self.ended_N}.items()}
        if self.reward_N.ndim != 1 or not self.reward_N.size or len(set(shapes.values())) != 1:
            raise ValueError(f"the check at step {self.step} has shapes {shapes}; expected (N,) for all, N >= 1.")
        infinite = [name for name, array in arrays.items() if np.isinf(array).any()]
        if infinite:
            raise ValueError(
                f"the check at step {self.step} has infinite values in {infinite}; expected numbers or NaN."
            )

    def row(self) -> dict[str, Any]:
        """All of it as JSON holds it, NaN as null: `Check.of(row)` is the same check bit for bit."""

        def numbers(values: Array) -> list[float | None]:
            return [None if math.isnan(value) else value for value in values.tolist()]

        return {
            "step": self.step,
            "samples": self.samples,
            "reward": numbers(self.reward_N),
            "scores": {name: numbers(values) for name, values in self.scores.items()},
            "kl": numbers(self.kl_N),
            "length": numbers(self.length_N),
            "ended": self.ended_N.tolist(),
        }

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Check:
        """The check that `row()` wrote."""
        return cls(row["step"], row["samples"], row["reward"], row["scores"], row["kl"], row["length"], row["ended"])


def assess_checks(checks: Sequence[Check], planned: int | None = None) -> dict[str, Any]:
    """The means of every check, and for each held-out score the first step at which it is marked.

    Args:
        checks: in the order of their steps, of the same prompts and scores.
        planned: how many checks the run makes in all, K of the rule. With it, a mark depends on no later check, so a
            run may be stopped for one. Default: as many as are given.

    Returns:
        `prompts` N, `planned` K, `level` of all intervals together, `comparisons` K (K - 1) / 2;
        `checks`: one row each, `step`, `samples`, mean and standard error (`_se`) of `reward`, `kl`, `length`, of each
        of `scores` (`mean`), with the numbers of responses left out of them (`unscored`), and `no_eos`, a share;
        `marked`: for each score a step or None;
        `compared`: for each score what says so: `change` (+ `_low`, `_high`) of the score and `reward_change`
        (likewise) from `best_step` to `step`, over `prompts` that were scored at both. Without a mark, `step` is the
        last one. None where there is nothing to compare: one check only, or fewer than `MIN_PROMPTS` prompts scored at
        both.

    Raises:
        ValueError: no check, steps that do not rise, prompts or scores that differ from check to check, more checks
            than planned.
    """
    _check_alike(checks)
    planned = len(checks) if planned is None else planned
    if planned < len(checks):
        raise ValueError(f"got {len(checks)} checks but only {planned} were planned; expected planned >= checks.")
    names = list(checks[0].scores)
    comparisons = planned * (planned - 1) // 2
    found = {name: _first_mark(checks, name, comparisons) for name in names}
    return {
        "prompts": checks[0].reward_N.size,
        "planned": planned,
        "level": LEVEL,
        "comparisons": comparisons,
        "checks": [_means(check) for check in checks],
        "marked": {name: step for name, (step, _) in found.items()},
        "compared": {name: compared for name, (_, compared) in found.items()},
    }


def paired_change(now_N: ArrayLike, then_N: ArrayLike, comparisons: int = 1) -> tuple[float, float, float, int]:
    """The mean difference now - then over prompts scored at both, and its interval: (change, low, high, prompts).

    Student's interval for paired differences, at level 1 - (1 - LEVEL) / comparisons: so many of them hold together in
    95 % of cases (Bonferroni). NaN for what fewer than `MIN_PROMPTS` pairs cannot say.
    """
    difference = np.asarray(now_N, dtype=np.float64) - np.asarray(then_N, dtype=np.float64)
    difference = difference[~np.isnan(difference)]
    if difference.size < MIN_PROMPTS:
        return math.nan, math.nan, math.nan, difference.size
    change, error = mean_and_error(difference)
    half = t_quantile(1.0 - (1.0 - LEVEL) / (2 * comparisons), difference.size - 1) * error
    return change, change - half, change + half, difference.size


def _check_alike(checks: Sequence[Check]) -> None:
    if not checks:
        raise ValueError("got no check; expected at least one.")
    first = checks[0]
    for before, check in itertools.pairwise(checks):
        if check.step <= before.step:
            raise ValueError(f"got a check at step {check.step} after one at {before.step}; expected rising steps.")
        if check.reward_N.size != first.reward_N.size:
            raise ValueError(
                f"the check at step {check.step} has {check.reward_N.size} prompts, the first {first.reward_N.size}; "
                "expected the same prompts at every check."
            )
        if set(check.scores) != set(first.scores):
            raise ValueError(
                f"the check at step {check.step} has the scores {', '.join(sorted(check.scores))}, the first "
                f"{', '.join(sorted(first.scores))}; expected the same at every check."
            )


def _first_mark(checks: Sequence[Check], name: str, comparisons: int) -> tuple[int | None, dict[str, Any] | None]:
    """The first step at which score `name` is marked, with the comparison there; else None and the last comparison."""
    best: Check | None = None
    best_mean = -math.inf
    last: dict[str, Any] | None = None
    for check in checks:
        if best is not None:
            last = _compare(check, best, name, comparisons)
            if last is not None and last["change_high"] < 0.0 < last["reward_change_low"]:
                return check.step, last
        mean = _mean_of_known(check.scores[name])[0]
        if mean > best_mean:  # never where it is NaN
            best, best_mean = check, mean
    return None, last


def _compare(check: Check, best: Check, name: str, comparisons: int) -> dict[str, Any] | None:
    change, low, high, prompts = paired_change(check.scores[name], best.scores[name], comparisons)
    reward, reward_low, reward_high, rewarded = paired_change(check.reward_N, best.reward_N, comparisons)
    if min(prompts, rewarded) < MIN_PROMPTS:
        return None
    return {
        "best_step": best.step,
        "step": check.step,
        "prompts": prompts,
        "change": change,
        "change_low": low,
        "change_high": high,
        "reward_change": reward,
        "reward_change_low": reward_low,
        "reward_change_high": reward_high,
    }


def _means(check: Check) -> dict[str, Any]:
    row: dict[str, Any] = {"step": check.step, "samples": check.samples}
    row["reward"], row["reward_se"], row["reward_unscored"] = _mean_of_known(check.reward_N)
    row["scores"] = {
        name: dict(zip(("mean", "mean_se", "unscored"), _mean_of_known(values), strict=True))
        for name, values in check.scores.items()
    }
    row["kl"], row["kl_se"], _ = _mean_of_known(check.kl_N)
    row["length"], row["length_se"], _ = _mean_of_known(check.length_N)
    row["no_eos"] = float(1.0 - check.ended_N.mean())
    return row


def _mean_of_known(values_N: Array) -> tuple[float, float, int]:
    """Mean and standard error of the values that are no NaN, and how many are."""
    known = values_N[~np.isnan(values_N)]
    return *mean_and_error(known), values_N.size - known.size
