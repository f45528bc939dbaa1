"""Every number of the report, from the responses and the judgments on them.

report.json:

    gold, prompts, sampling, baseline, reference, seconds
                        what was compared, on what; `reference` is null where no policy is local
    policies            by name: `path`, `kind` (local, endpoint, responses), `gold_reward`, `reward`, `kl`, `length`
                        (in tokens) and `characters`, each with its `_se`; `no_eos`; `thoughts`, how many responses
                        hold one; where a number cannot be had, why not, as `kl_missing`, `length_missing`,
                        `no_eos_missing`; of an endpoint its `usage`
      win_rate          the share of prompts won over the baseline, ties half, by what `win_rate_by` says; by gold also
                        `lc_win_rate`, that at equal length
      judge             `win_rate`, the share of prompts with z above 1/2; `mean_z`, the mean of z, which AlpacaEval
                        calls the win rate; `lc_mean_z`, its length-controlled win rate; or `lc_missing`, why not
    comparisons         of each pair `policy`, `other`, and `policy` - `other` of the numbers above; `judge` where the
                        pair was judged, else `judge_over_baseline`: the difference of both policies' z over the
                        baseline. A test's p is called after its number (`gold_reward_p`, `wins_p`, `mean_z_p`), and
                        `_p_holm` is adjusted over all pairs
    tests               how the p-values come about
    trained_on          by policy, and of the reward model and a local judge: how many of the `prompts` were `found` in
                        its training, whether that is `complete`, and the `stages`, the unknown ones with why they are
    judge, reward_model, ledgers

Each mean is that of a column of responses.jsonl: `gold`, `reward`, `kl`, `tokens`, `characters`, `ended`; z over the
baseline is in `z`, over another policy that was named before in `z_over`; it is 0.5 where both responses are the same
text, which are not judged.
A mean or a share has `_low` and `_high`, its 95 % interval, null where prompts are too few (`rlaif.assess.drawn`); a
mean also `_se`, its standard error.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rlaif import metrics
from rlaif.assess.agreement import assess_judgments
from rlaif.assess.comparisons import adjusted, compare_policies, wins_by_gold, wins_by_judge
from rlaif.assess.drawn import PairKeys
from rlaif.assess.policies import assess_policy
from rlaif.assess.responses import Responses
from rlaif.assess.rewards import assess_reward_model
from rlaif.evaluating.judged import Judged
from rlaif.evaluating.plan import FAILED, NO_RESPONSE, TOO_LONG, Plan, Prompts
from rlaif.evaluating.trained import TrainedOn
from rlaif.files.manifest import elapsed
from rlaif.judging.unscorable import say_refused
from rlaif.models.spelling import REFUSED

if TYPE_CHECKING:
    from rlaif.models.reward_model import RewardModel

__all__ = ["measure"]

Array = NDArray[np.float64]


def measure(
    plan: Plan,
    prompts: Prompts,
    responses: Mapping[str, Responses],
    judged: Judged,
    trained_on: TrainedOn | None,
) -> dict[str, Any]:
    """The report. Gold rewards and the reward model's scores are filled into `responses` on the way."""
    config = plan.config
    reward_model = _load_reward_model(plan)
    of_preferences = _score(plan, prompts, responses, reward_model)
    report: dict[str, Any] = {
        "gold": config.gold,
        "prompts": {
            "source": config.prompts,
            "split": config.split,
            "count": len(prompts),
            "too_long": prompts.left_out[TOO_LONG],
            "refused": prompts.left_out[REFUSED],
            "failed": prompts.left_out[FAILED],
            "no_response": prompts.left_out[NO_RESPONSE],
            "repeated": prompts.left_out["prompt stood before"],
        },
        "sampling": {
            "temperature": config.policy_temperature,
            "top_p": config.policy_top_p,
            "max_new_tokens": config.max_new_tokens,
            "seed": config.seed,
        },
        "baseline": plan.baseline,
        "reference": plan.reference and plan.reference.name,
        **_of_policies(plan, responses, judged),
    }
    if trained_on is not None:
        report["trained_on"] = trained_on.report(prompts.texts)
    if reward_model is not None and reward_model.assumed:
        report["reward_rendering_assumed"] = reward_model.assumed
    if plan.judgments:
        report["judge"] = assess_judgments(plan.judgments, plan.gold, **plan.bootstrap)
    if reward_model is not None and of_preferences is not None:
        report["reward_model"] = _reward_model_report(plan, reward_model, of_preferences)
    report["ledgers"] = plan.ledgers(prompts)
    report["seconds"] = {**plan.seconds, "evaluate": round(elapsed(), 1)}
    return report


# Policies -------------------------------------------------------------------------------------------------------------


def _of_policies(plan: Plan, responses: Mapping[str, Responses], judged: Judged) -> dict[str, Any]:
    """What is said of each policy, and of each two of them."""
    names, baseline, bootstrap = list(plan.policies), plan.baseline, plan.bootstrap
    pairs = [(name, other) for other, name in itertools.combinations(names, 2)]
    by_gold: dict[tuple[str, str], dict[str, Any]] = {}
    by_judge: dict[tuple[str, str], dict[str, Any]] = {}
    for name, other in ((baseline, baseline), *pairs):
        ours, theirs = responses[name], responses[other]
        by_gold[name, other] = wins_by_gold(ours, theirs, **bootstrap)
        judgments = judged.get((name, other))
        by_judge[name, other] = {} if judgments is None else wins_by_judge(ours, theirs, judgments, **bootstrap)
    policies = {
        name: {
            **plan.policies[name].about,
            **assess_policy(
                responses[name],
                by_gold[name, baseline],
                by_judge[name, baseline],
                judged.get((name, baseline), ()),
                plan.gold,
                **bootstrap,
            ),
        }
        for name in names
    }
    found: dict[str, Any] = {"policies": policies}
    if judged:
        found["judge_pairs"] = plan.config.judge_pairs
    if pairs:
        found["comparisons"] = [
            {
                "policy": name,
                "other": other,
                **compare_policies(
                    responses[name],
                    responses[other],
                    by_gold[name, other],
                    by_judge[name, other],
                    judged.get((name, other), ()),
                    (judged[name, baseline], judged[other, baseline]) if judged else None,
                    seed=plan.config.seed,
                ),
            }
            for name, other in pairs
        ]
        found["tests"] = adjusted(found["comparisons"])
    return found


# The reward model -----------------------------------------------------------------------------------------------------


def _load_reward_model(plan: Plan) -> RewardModel | None:
    if not plan.config.reward_model:
        return None
    from rlaif.models.reward_model import RewardModel

    return RewardModel.load(plan.config.reward_model, trust_remote_code=bool(plan.config.trust_remote_code))


@dataclass(frozen=True)
class _Scored:
    """The reward model's scores of preferences, (N,) each, and why it refuses some of them, by number."""

    chosen: Array
    rejected: Array
    refused: dict[int, str]


def _score(
    plan: Plan, prompts: Prompts, responses: Mapping[str, Responses], reward_model: RewardModel | None
) -> _Scored | None:
    """Gold rewards and reward-model scores (less the zero point) of all responses; the scores of the preferences.

    The reward model is called once for all of them: what several policies say, and preferences hold, is scored once.
    """
    for policy in responses.values():
        if plan.gold is not None:
            policy.gold = np.array([plan.gold(p, text) for p, text in zip(prompts.texts, policy.texts, strict=True)])
    if reward_model is None:
        return None
    asked = prompts.texts * len(responses)
    texts = [text for policy in responses.values() for text in policy.texts]
    begin, rows = len(asked), plan.preferences.rows
    if rows is not None:
        asked += [*rows["prompt"], *rows["prompt"]]
        texts += [*rows["chosen"], *rows["rejected"]]
    scores = reward_model.score(asked, texts)
    of_policies = scores[:begin].reshape(len(responses), len(prompts))
    for policy, scores_of_policy in zip(responses.values(), of_policies, strict=True):
        policy.reward = scores_of_policy - reward_model.zero
    if rows is None:
        return None
    refused = {(at - begin) % len(rows): why for at, why in reversed(reward_model.refused.items()) if at >= begin}
    chosen, rejected = scores[begin:].reshape(2, len(rows))
    return _Scored(chosen, rejected, refused)


def _reward_model_report(plan: Plan, reward_model: RewardModel, scored: _Scored) -> dict[str, Any]:
    rows = plan.preferences.rows
    prompts, chosen, rejected = (list(rows[column]) for column in ("prompt", "chosen", "rejected"))
    gold = None
    if plan.gold is not None:
        reward = plan.gold
        gold = metrics.win_rate(
            *([reward(p, t) for p, t in zip(prompts, side, strict=True)] for side in (chosen, rejected))
        )
    say_refused(
        scored.refused,
        len(prompts),
        f"rows of {plan.config.preferences} cannot be scored",
        plan.preferences.places.__getitem__,
        "they are left out (`unscored`)",
    )
    return {
        "path": plan.config.reward_model,
        "preferences": plan.config.preferences,
        "split": plan.config.preferences_split,
        **assess_reward_model(
            metrics.sigmoid((scored.chosen - scored.rejected) / (reward_model.card.temperature or 1.0)),
            list(rows["z"]),
            list(rows["label"]),
            PairKeys.of(prompts, chosen, rejected).array,
            [len(text) for text in chosen],
            [len(text) for text in rejected],
            gold=gold,
            refused=len(scored.refused),
            samples=plan.config.bootstrap_samples,
            seed=plan.config.seed,
        ),
    }
