"""`rlaif evaluate`: policies side by side on the same prompts, the judge and the reward model against the truth.

    policies        one response a prompt from each: gold reward, reward-model score, win rate over the first policy by
                    gold and by judge, KL to the reference, length
    judge           judgments that `rlaif judge` wrote, against gold rewards or labels
    reward model    its accuracy and calibration on the held-out split of a preference dataset
    seconds         what each stage took, from the start of its process

Every section is there when its inputs are. Into the output folder go report.json, report.md and its plots,
responses.jsonl (every response with its numbers, so that each mean can be checked, and the place and the other columns
of its prompt), and replies/: what was sampled and judged, which a later run finds and does not pay for again.

Under `accelerate launch -m rlaif evaluate ...` sampling, KL and judging are split over the processes; the main process
does the rest and writes.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rlaif.assess.agreement import assess_judgments, truth_name
from rlaif.assess.policies import Responses, assess_policy, compare_policies
from rlaif.assess.rewards import assess_reward_model
from rlaif.assess.truth import GoldReward, load_gold
from rlaif.config import UsageError, named_values
from rlaif.files.bad_rows import BAD_ROWS_FILE, BadRows, on_bad_row
from rlaif.files.manifest import elapsed
from rlaif.files.ownership import claim
from rlaif.files.pairs import joined
from rlaif.files.reads import Rows
from rlaif.files.sources import distinct_placed, placed_prompt_rows, read_judgments, say_differing, write_jsonl
from rlaif.files.swap import move_into, staging
from rlaif.judging.pairwise import Pairwise, judge_pairs
from rlaif.judging.sampling import Completion, Sampling, complete, local_policy
from rlaif.judging.settings import JudgeConfig, JudgeSettings, judge_settings, load_judge
from rlaif.judging.unscorable import say_of_models, say_refused
from rlaif.models.base import served_by
from rlaif.models.parallel import is_main, wait_for_everyone
from rlaif.models.rendering import Rendering
from rlaif.models.spelling import REFUSED
from rlaif.records import Judgment, Pair, Prompt, label_value

if TYPE_CHECKING:
    from rlaif.models.reward_model import RewardModel

__all__ = ["SETTINGS", "EvaluateConfig", "evaluate"]

READS = {
    "prompts": "rows",
    "policies": "named",
    "reference": "model",
    "gold": "function",
    "judgments": "folder",
    "reward_model": "model",
    "preferences": "rows",
    "judge": "judge",
    "judge_model": "judge",
    "template": "judge",
}
MEASURES = (
    Rows("prompts", "split", "config_name"),
    Rows("preferences", "preferences_split", "preferences_config_name"),
)

Array = NDArray[np.float64]


@dataclass
class EvaluateConfig(JudgeConfig):
    """What is compared, on what, by whom. Settings of the judge are those of `rlaif judge`."""

    output: str | None = field(
        default=None, metadata={"help": "Folder for report.json, report.md, plots, responses.jsonl, replies/."}
    )
    policies: list[str] = field(
        default_factory=list,
        metadata={
            "help": "name=path, one for each policy: a folder or Hub id. The first is the baseline of win rates."
        },
    )
    reference: str | None = field(
        default=None,
        metadata={"help": "Reference of the KL: a policy's name, a folder or a Hub id. Default: the first."},
    )
    prompts: str | None = field(
        default=None, metadata={"help": "Rows with a prompt: .jsonl, .parquet, a datasets folder or a Hub id."}
    )
    split: str | None = field(
        default=None,
        metadata={"help": "Split of the prompts, where they have several; of a file, what its column `split` says."},
    )
    config_name: str | None = field(default=None, metadata={"help": "Config of the prompts, where they have several."})
    limit: int | None = field(default=None, metadata={"help": "Use only the first so many distinct prompts."})
    on_bad_row: str = on_bad_row()
    policy_temperature: float = field(
        default=1.0,
        metadata={
            "help": "Sampling temperature of the policies; 0 is greedy. 1, as in training, is the policy itself."
        },
    )
    policy_top_p: float = field(default=1.0, metadata={"help": "Nucleus sampling: the probability mass that is kept."})
    max_new_tokens: int = field(default=512, metadata={"help": "Longest response, in tokens."})
    batch_tokens: int = field(
        default=32768, metadata={"help": "Tokens generated at once, prompts and responses; halved on out-of-memory."}
    )
    seed: int = field(default=0, metadata={"help": "Of sampling and of the bootstrap."})
    dtype: str = field(
        default="auto",
        metadata={
            "help": "Precision of the policies; auto: as stored.",
            "choices": ["auto", "float32", "bfloat16", "float16"],
        },
    )
    load_in_4bit: bool = field(default=False, metadata={"help": "Policies and reference: quantize (NF4)."})
    gold: str | None = field(
        default=None,
        metadata={
            "help": "The true reward, where there is one: module:function taking (prompt, response), as in "
            "rlaif.sandbox:gold_reward."
        },
    )
    reward_model: str | None = field(
        default=None, metadata={"help": "A reward model's folder or Hub id, as reward_models/bradley_terry.py writes."}
    )
    preferences: str | None = field(
        default=None, metadata={"help": "Preference dataset that the reward model is measured on. Needs reward_model."}
    )
    preferences_split: str = field(
        default="test", metadata={"help": "Its held-out split; of a file, what its column `split` says, if it has one."}
    )
    preferences_config_name: str | None = field(default=None, metadata={"help": "Its config, where it has several."})
    judgments: str | None = field(
        default=None, metadata={"help": "Folder that `rlaif judge` wrote, to hold the judge against gold or labels."}
    )
    stages: list[str] = field(
        default_factory=list,
        metadata={"help": "name=folder: a stage whose report.json or manifest.json holds `seconds`, to be copied."},
    )
    bootstrap_samples: int = field(default=1000, metadata={"help": "Draws behind each bootstrap interval."})
    examples: int = field(default=5, metadata={"help": "Prompts shown with every policy's response in report.md."})


SETTINGS = (EvaluateConfig,)


def evaluate(config: EvaluateConfig) -> dict[str, Any]:
    """Runs `rlaif evaluate`, writes `config.output`, and returns what report.json holds ({} but in the main process).

    Raises:
        ValueError: a setting, a source or a gold reward is not as expected. Whatever can be known before the first
            model is loaded is checked before.
    """
    plan = _Plan.of(config)
    with claim(plan.output, "rlaif evaluate", plan.reads):
        sampled = _sample_policies(plan)
        judgments = _judge_policies(plan, sampled)
        report = _measure(plan, sampled, judgments) if is_main() else {}
        wait_for_everyone()
    return report


def _measure(plan: _Plan, sampled: dict[str, Responses], judgments: dict[str, list[Judgment | None]]) -> dict[str, Any]:
    """Everything after sampling and judging: scores, numbers, files. Returns the report."""
    config = plan.config
    reward_model = _load_reward_model(config)
    of_preferences = _score(plan, sampled, reward_model)
    report: dict[str, Any] = {
        "gold": config.gold,
        "prompts": {
            "source": config.prompts,
            "split": config.split,
            "count": len(plan.prompts),
            "too_long": plan.too_long,
            "refused": plan.refused,
            "repeated": plan.repeated,
        },
        "sampling": {
            "temperature": config.policy_temperature,
            "top_p": config.policy_top_p,
            "max_new_tokens": config.max_new_tokens,
            "seed": config.seed,
        },
        "baseline": plan.baseline,
        "reference": plan.reference,
        "policies": {
            name: {
                "path": path,
                **assess_policy(
                    sampled[name], sampled[plan.baseline], judgments.get(name), plan.gold, **plan.bootstrap
                ),
            }
            for name, path in plan.policies.items()
        },
    }
    trained = list(plan.policies)[1:]
    if len(trained) > 1:
        report["comparisons"] = [
            {"policy": name, "other": other, **compare_policies(sampled[name], sampled[other], **plan.bootstrap)}
            for other, name in itertools.combinations(trained, 2)
        ]
    if reward_model is not None and reward_model.assumed:
        report["reward_rendering_assumed"] = reward_model.assumed
    if plan.judgments:
        report["judge"] = assess_judgments(plan.judgments, plan.gold, **plan.bootstrap)
    if reward_model is not None and of_preferences is not None:
        report["reward_model"] = _reward_model_report(plan, reward_model, of_preferences)
    report["ledgers"] = plan.ledgers()
    report["seconds"] = {**plan.seconds, "evaluate": round(elapsed(), 1)}
    _write(plan, report, sampled, judgments)
    return report


# Checks ---------------------------------------------------------------------------------------------------------------


@dataclass
class _Plan:
    """The settings, checked and read. `prompts` are what every policy has answered, once `_sample_policies` is done.

    `bad` are the rows of each source that cannot be used, `all_bad` all of them; `places` says where the prompts stand,
    and `columns` what else their rows hold; `preference_places` where the preferences do.
    """

    config: EvaluateConfig
    output: str
    policies: dict[str, str]
    tokenizers: dict[str, Any]
    reference: str
    reference_path: str
    prompts: list[Prompt]
    gold: GoldReward | None
    judgments: list[Judgment]
    judge_settings: JudgeSettings | None
    judge: Pairwise | None
    preferences: Any
    preferences_left_out: Counter[str]
    preference_places: list[str]
    seconds: dict[str, float]
    bad: dict[str, BadRows]
    all_bad: BadRows
    places: list[str]
    columns: list[dict[str, Any]]
    repeated: int
    beyond: int
    too_long: int = 0
    refused: int = 0

    @property
    def reads(self) -> list[str]:
        """The files, folders and Hub ids that are read."""
        sources = (self.config.reward_model, self.config.preferences, self.config.judgments)
        named = [str(self.config.prompts), *self.policies.values(), self.reference_path, *filter(None, sources)]
        return list(dict.fromkeys(named))

    def ledgers(self) -> dict[str, Any]:
        """What became of the rows of each source, the bad ones included."""
        left_out = {
            "prompt stood before": self.repeated,
            "beyond limit": self.beyond,
            "too long": self.too_long,
            REFUSED: self.refused,
        }
        counts: dict[str, tuple[int, Counter[str]]] = {"prompts": (len(self.prompts), Counter(left_out))}
        if self.judgments:
            without = Counter(str(judgment.reason) for judgment in self.judgments if judgment.z is None)
            counts["judgments"] = len(self.judgments) - without.total(), without
        if self.preferences is not None:
            counts["preferences"] = len(self.preferences), self.preferences_left_out
        return {
            name: self.bad[name].ledger(used + others.total(), used, +others) for name, (used, others) in counts.items()
        }

    @property
    def loading(self) -> dict[str, Any]:
        """How policies and the reference are loaded."""
        return {
            "dtype": self.config.dtype,
            "load_in_4bit": self.config.load_in_4bit,
            "trust_remote_code": bool(self.config.trust_remote_code),
        }

    @property
    def bootstrap(self) -> dict[str, int]:
        """Of the intervals."""
        return {"samples": self.config.bootstrap_samples, "seed": self.config.seed}

    @property
    def baseline(self) -> str:
        return next(iter(self.policies))

    @classmethod
    def of(cls, config: EvaluateConfig) -> _Plan:
        """`config` read and checked, the cheap first; no model is loaded yet.

        Raises:
            ValueError: a setting or a row is not as expected, or there is nothing to hold a judge against.
        """
        _check_numbers(config)
        assert config.prompts is not None
        assert config.output is not None
        policies = named_values(config.policies, "policies", "a policy's folder or Hub id")
        seconds = {
            name: _seconds(name, folder) for name, folder in named_values(config.stages, "stages", "a folder").items()
        }
        gold = load_gold(config.gold) if config.gold else None
        bad = {name: BadRows(config.on_bad_row) for name in ("prompts", "judgments", "preferences")}
        judgments = read_judgments(config.judgments, bad=bad["judgments"]) if config.judgments else []
        if judgments and truth_name(judgments, gold) is None:
            raise ValueError(
                f"no judgment in {config.judgments} carries a label and no gold is given, so there is nothing to hold "
                "the judge against. Give --gold module:function, or judge pairs with a `label` column."
            )
        if config.reward_model:
            from rlaif.models.reward_model import RewardModelCard
            from rlaif.models.weights import check_files

            # A wrong path and a file that is cut short are known now, not after an hour of sampling.
            RewardModelCard.read(config.reward_model, bool(config.trust_remote_code))
            check_files(config.reward_model)
        reference = config.reference or next(iter(policies))
        reference_path = policies.get(reference, reference)
        tokenizers = {
            path: _load_tokenizer(path, bool(config.trust_remote_code)) for path in {*policies.values(), reference_path}
        }
        settings = _judge_settings(config) if _has_judge(config) else None
        judge = load_judge(settings) if settings else None
        if judge:
            judge.check()
        distinct = distinct_placed(placed_prompt_rows(config.prompts, config.split, config.config_name, bad["prompts"]))
        say_differing(distinct, "responses")
        rows, places = distinct.rows[: config.limit], distinct.places[: config.limit]
        prompts = [row["prompt"] for row in rows]
        preferences_left_out, preference_places = Counter[str](), list[str]()
        preferences = _load_preferences(config, bad["preferences"], preferences_left_out, preference_places)
        all_bad = BadRows.joined(bad.values())
        all_bad.say(Path(config.output) / BAD_ROWS_FILE)
        if config.reward_model:
            say_of_models(
                {f"the reward model {config.reward_model}": config.reward_model},
                prompts,
                places,
                response_tokens=config.max_new_tokens,
                trust_remote_code=bool(config.trust_remote_code),
            )
        return cls(
            config=config,
            output=config.output,
            policies=policies,
            tokenizers=tokenizers,
            reference=reference,
            reference_path=reference_path,
            prompts=prompts,
            gold=gold,
            judgments=judgments,
            judge_settings=settings,
            judge=judge,
            preferences=preferences,
            preferences_left_out=preferences_left_out,
            preference_places=preference_places,
            seconds=seconds,
            bad=bad,
            all_bad=all_bad,
            places=places,
            columns=[{name: value for name, value in row.items() if name != "prompt"} for row in rows],
            repeated=distinct.repeated,
            beyond=len(distinct.rows) - len(prompts),
        )


def _check_numbers(config: EvaluateConfig) -> None:
    if not config.output or not config.policies or not config.prompts:
        raise UsageError(
            "output, policies and prompts must be set; expected --policies NAME=PATH ... --prompts SOURCE "
            "--output FOLDER."
        )
    if not 0.0 <= config.policy_temperature < math.inf or not 0.0 < config.policy_top_p <= 1.0:
        raise UsageError(
            f"policy_temperature is {config.policy_temperature} and policy_top_p {config.policy_top_p}; expected a "
            "temperature of 0 (greedy) or more and a top-p in (0, 1]."
        )
    for name in ("max_new_tokens", "batch_tokens", "bootstrap_samples"):
        if getattr(config, name) < 1:
            raise UsageError(f"{name} is {getattr(config, name)}; expected at least 1.")
    if config.limit is not None and config.limit < 1:
        raise UsageError(f"limit is {config.limit}; expected at least 1 prompt.")
    if _has_judge(config):
        _judge_settings(config)  # a judge that cannot be is known before a tokenizer is loaded
        if len(config.policies) == 1:
            raise UsageError(
                "a judge compares policies with the first one, and there is only one; add another or no judge."
            )
    if config.preferences and not config.reward_model:
        raise UsageError("preferences are given but no reward_model to measure on them; add --reward_model FOLDER.")


def _has_judge(config: EvaluateConfig) -> bool:
    return config.judge is not None or config.judge_model is not None


def _judge_settings(config: EvaluateConfig) -> JudgeSettings:
    """The judge's. `trust_remote_code` is of the policies too: a judge that is no local model is not told of it."""
    settings = judge_settings(dataclasses.replace(config, trust_remote_code=None))
    return judge_settings(config) if settings.model.kind == "local" else settings


def _seconds(name: str, folder: str) -> float:
    for file in ("report.json", "manifest.json"):
        path = Path(folder) / file
        if path.is_file():
            try:
                seconds = json.loads(path.read_text(encoding="utf-8")).get("seconds")
            except json.JSONDecodeError as error:
                raise ValueError(f"stage {name!r}: {path} is not JSON ({error}). Run the stage again.") from None
            if isinstance(seconds, int | float) and not isinstance(seconds, bool):
                return float(seconds)
    raise ValueError(
        f"stage {name!r}: neither report.json nor manifest.json in {folder} holds a number `seconds`; expected the "
        "output folder of a stage that has finished."
    )


def _load_tokenizer(path: str, trust_remote_code: bool) -> Any:
    from rlaif.models.loading import load_tokenizer

    tokenizer = load_tokenizer(path, trust_remote_code=trust_remote_code)
    if Rendering.of(tokenizer).kind == "pair":
        raise ValueError(f"{path} has an encoder's tokenizer (no EOS); expected a causal language model as policy.")
    return tokenizer


def _load_preferences(config: EvaluateConfig, bad: BadRows, left_out: Counter[str], places: list[str]) -> Any:
    if not config.preferences:
        return None
    from rlaif.files.preferences import load_preferences

    return load_preferences(
        config.preferences, config.preferences_split, config.preferences_config_name, bad, left_out, places
    )


def _load_reward_model(config: EvaluateConfig) -> RewardModel | None:
    if not config.reward_model:
        return None
    from rlaif.models.reward_model import RewardModel

    return RewardModel.load(config.reward_model, trust_remote_code=bool(config.trust_remote_code))


# Responses and KL -----------------------------------------------------------------------------------------------------


def _sample_policies(plan: _Plan) -> dict[str, Responses]:
    """Every policy's responses to the prompts, with their KL; in every process alike.

    A prompt that is too long for one policy, or that its chat template refuses, is left out for all, and counted: they
    are compared on the same prompts.
    """
    from rlaif.assess.reference_kl import encode_responses, kl_to_reference
    from rlaif.models.loading import load_causal_lm
    from rlaif.models.stops import stops_of

    config = plan.config
    completions: dict[str, list[Completion]] = {}
    for name, path in plan.policies.items():
        sampling = Sampling(
            local_policy(path, batch_tokens=config.batch_tokens, **plan.loading),
            samples=1,
            max_new_tokens=config.max_new_tokens,
            temperature=config.policy_temperature,
            top_p=config.policy_top_p,
            seed=config.seed,
        )
        sets = complete(sampling, plan.prompts, plan.output, f"sampling {name}", places=plan.places)
        completions[name] = [completion for (completion,) in sets]
        del sampling  # and the policy's weights: no more than two models are held at a time
    answered = [all(c.text is not None for c in each) for each in zip(*completions.values(), strict=True)]
    if not any(answered):
        reason = next(c.reason for each in completions.values() for c in each if c.text is None)
        raise ValueError(f"no prompt of {config.prompts} could be answered by every policy: {reason}; change them.")
    plan.prompts = list(itertools.compress(plan.prompts, answered))
    plan.places = list(itertools.compress(plan.places, answered))
    plan.columns = list(itertools.compress(plan.columns, answered))
    plan.refused = sum(any(c.refused for c in each) for each in zip(*completions.values(), strict=True))
    plan.too_long = answered.count(False) - plan.refused

    reference: Any = None
    sampled = {}
    for name, path in plan.policies.items():
        rows = [completion for completion, kept in zip(completions[name], answered, strict=True) if kept]
        texts, ended = [row.text or "" for row in rows], [row.complete for row in rows]
        tokens = [row.tokens or 0 for row in rows]
        kl: Array | None
        retokenized = 0
        if path == plan.reference_path:
            kl, missing = np.zeros(len(rows)), None  # by definition; two forward passes would say the same
        else:
            if reference is None:
                reference = load_causal_lm(plan.reference_path, **plan.loading)
            tokenizers = plan.tokenizers[path], plan.tokenizers[plan.reference_path]
            stops = stops_of(path, tokenizers[0], trust_remote_code=bool(config.trust_remote_code))
            encoded = encode_responses(tokenizers[0], stops, plan.prompts, texts, ended)
            retokenized = sum(len(e.response_ids) != n for e, n in zip(encoded, tokens, strict=True))
            policy = load_causal_lm(path, **plan.loading)
            kl, missing = kl_to_reference(policy, reference, tokenizers, encoded, (name, plan.reference))
            del policy
        sampled[name] = Responses(texts, tokens, ended, kl, missing, retokenized)
    return sampled


# Numbers --------------------------------------------------------------------------------------------------------------


def _judge_policies(plan: _Plan, sampled: dict[str, Responses]) -> dict[str, list[Judgment | None]]:
    """For each policy the judgments on (policy, baseline); None where both said the same, as baseline and itself do."""
    if plan.judge is None:
        return {}
    pairs = {}
    for name in list(plan.policies)[1:]:
        rows = zip(plan.prompts, sampled[name].texts, sampled[plan.baseline].texts, strict=True)
        for index, (prompt, ours, theirs) in enumerate(rows):
            if ours != theirs:
                pairs[name, index] = Pair(
                    prompt, ours, theirs, id=f"{name}:{index}", model_a=name, model_b=plan.baseline
                )
    found = judge_pairs(list(pairs.values()), plan.judge, plan.output, label="judging policies").judgments
    by_place = dict(zip(pairs, found, strict=True))
    return {name: [by_place.get((name, index)) for index in range(len(plan.prompts))] for name in plan.policies}


@dataclass(frozen=True)
class _Scored:
    """The reward model's scores of preferences, (N,) each, and why it refuses some of them, by number."""

    chosen: Array
    rejected: Array
    refused: dict[int, str]


def _score(plan: _Plan, sampled: dict[str, Responses], reward_model: RewardModel | None) -> _Scored | None:
    """Gold rewards and reward-model scores (less the zero point) of all responses; the scores of the preferences.

    The reward model is called once for all of them: what several policies say, and preferences hold, is scored once.
    """
    for policy in sampled.values():
        if plan.gold is not None:
            policy.gold = np.array([plan.gold(p, text) for p, text in zip(plan.prompts, policy.texts, strict=True)])
    if reward_model is None:
        return None
    prompts = plan.prompts * len(sampled)
    responses = [text for policy in sampled.values() for text in policy.texts]
    begin, rows = len(prompts), plan.preferences
    if rows is not None:
        prompts += [*rows["prompt"], *rows["prompt"]]
        responses += [*rows["chosen"], *rows["rejected"]]
    scores = reward_model.score(prompts, responses)
    of_policies = scores[:begin].reshape(len(sampled), len(plan.prompts))
    for policy, scores_of_policy in zip(sampled.values(), of_policies, strict=True):
        policy.reward = scores_of_policy - reward_model.zero
    if rows is None:
        return None
    refused = {(at - begin) % len(rows): why for at, why in reversed(reward_model.refused.items()) if at >= begin}
    chosen, rejected = scores[begin:].reshape(2, len(rows))
    return _Scored(chosen, rejected, refused)


def _reward_model_report(plan: _Plan, reward_model: RewardModel, scored: _Scored) -> dict[str, Any]:
    rows = plan.preferences
    prompts, chosen, rejected = (list(rows[column]) for column in ("prompt", "chosen", "rejected"))
    if plan.gold is not None:
        gold = plan.gold
        d = [gold(p, c) - gold(p, r) for p, c, r in zip(prompts, chosen, rejected, strict=True)]
        truths: list[float | None] = [0.5 + 0.5 * float(np.sign(value)) for value in d]
    else:
        truths = [label_value(label) for label in rows["label"]]
    labelled = any(truth is not None for truth in truths)
    say_refused(
        scored.refused,
        len(prompts),
        f"rows of {plan.config.preferences} cannot be scored",
        plan.preference_places.__getitem__,
        "they are left out (`unscored`)",
    )
    return {
        "path": plan.config.reward_model,
        "preferences": plan.config.preferences,
        "split": plan.config.preferences_split,
        **assess_reward_model(
            scored.chosen,
            scored.rejected,
            list(rows["z"]),
            truths,
            [len(text) for text in chosen],
            [len(text) for text in rejected],
            truth="gold" if plan.gold is not None else "label" if labelled else None,
            temperature=reward_model.card.temperature or 1.0,
            **plan.bootstrap,
        ),
    }


# Files ----------------------------------------------------------------------------------------------------------------


def _write(
    plan: _Plan, report: dict[str, Any], sampled: dict[str, Responses], judgments: dict[str, list[Judgment | None]]
) -> None:
    from rlaif.files.manifest import write_manifest
    from rlaif.pages.evaluation import PLOTS, write_report

    config = plan.config

    def number(values: Array | None, index: int) -> float | None:
        return None if values is None or math.isnan(values[index]) else float(values[index])

    def rows() -> Any:
        for index, prompt in enumerate(plan.prompts):
            for name, policy in sampled.items():
                judgment = judgments[name][index] if name in judgments else None
                numbers = {
                    "index": index,
                    "policy": name,
                    "prompt": prompt,
                    "response": policy.texts[index],
                    "tokens": policy.tokens[index],
                    "ended": policy.ended[index],
                    "gold": number(policy.gold, index),
                    "reward": number(policy.reward, index),
                    "kl": number(policy.kl, index),
                    **({} if judgment is None else {k: getattr(judgment, k) for k in ("z", "z_ab", "z_ba", "reason")}),
                    "place": plan.places[index],
                }
                yield joined(numbers, plan.columns[index])

    examples = [
        (
            prompt,
            {name: policy.texts[index] for name, policy in sampled.items()},
            {name: number(policy.gold, index) for name, policy in sampled.items()},
        )
        for index, prompt in enumerate(plan.prompts[: config.examples])
    ]
    judge = plan.judge.about if plan.judge else {}  # as it was asked, defaults and its file filled in
    served = served_by(plan.judge.models.values()) if plan.judge else {}
    settings, folder = {**dataclasses.asdict(config), **judge}, Path(plan.output)
    with staging(folder, ".evaluating") as staged:
        write_jsonl(staged / "responses.jsonl", rows())
        write_report(staged, report, examples)
        write_manifest(staged, "rlaif evaluate", settings, plan.reads, earlier=folder, **served)
        plan.all_bad.write(staged, folder)
        move_into(staged, folder, also_gone=(*PLOTS, BAD_ROWS_FILE))
