"""The judge's verdicts on pairs of policies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from rlaif.assess.responses import Responses
from rlaif.config import warn
from rlaif.evaluating.plan import Plan, Prompts
from rlaif.judging.pairwise import judge_pairs
from rlaif.records import Judgment, Pair

__all__ = ["Judged", "judge_policies"]

# By (policy, other): the judgments on both, with the policy's response as a; None where both said the same: N each.
Judged = Mapping[tuple[str, str], list[Judgment | None]]


def judge_policies(plan: Plan, prompts: Prompts, responses: Mapping[str, Responses]) -> Judged:
    """The judgments on every pair of policies that is to be judged; of the baseline and itself too, all None.

    Nothing is asked where both responses are the same text. What stands in the store is not asked again, so a run with
    all pairs pays nothing for those with the baseline that an earlier one had judged.
    """
    if plan.judge is None:
        return {}
    pairs = {}
    for name, other in plan.judged_pairs:
        rows = zip(prompts.texts, responses[name].texts, responses[other].texts, strict=True)
        for index, (prompt, ours, theirs) in enumerate(rows):
            if ours != theirs:
                identity = f"{name}:{index}" if other == plan.baseline else f"{name}:{other}:{index}"
                pairs[name, other, index] = Pair(prompt, ours, theirs, id=identity, model_a=name, model_b=other)
    found = judge_pairs(list(pairs.values()), plan.judge, plan.output, label="judging policies").judgments
    by_place = dict(zip(pairs, found, strict=True))
    judged: dict[tuple[str, str], list[Judgment | None]] = {
        (name, other): [by_place.get((name, other, index)) for index in range(len(prompts))]
        for name, other in plan.judged_pairs
    }
    _say_unjudged(judged)
    return {(plan.baseline, plan.baseline): [None] * len(prompts), **judged}


def _say_unjudged(judged: Judged) -> None:
    """Says where there is no verdict, and why: what is in no rate does not count against a policy either."""
    missing = {pair: [j for j in found if j is not None and j.z is None] for pair, found in judged.items()}
    reasons = Counter(str(j.reason) for without in missing.values() for j in without)
    if not reasons:
        return
    shown = "; ".join(f"{name} and {other}: {len(without)}" for (name, other), without in missing.items() if without)
    (reason, times), *_ = reasons.most_common(1)
    empty = any(reason.endswith(" is empty") for reason in reasons)
    silent = " An empty response is not judged, so it is no loss." if empty else ""
    warn(
        f"{reasons.total()} of {sum(map(len, judged.values()))} comparisons of two responses have no verdict and are "
        f"in no rate ({shown:.300}); the most frequent reason, {times} times: {reason:.200}.{silent}"
    )
