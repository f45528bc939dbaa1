"""What an evaluation was asked for, checked and read: the cheap first, and no model is loaded yet."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlaif.assess.agreement import truth_name
from rlaif.assess.truth import GoldReward, load_gold
from rlaif.config import UsageError, named_values, warn
from rlaif.errors.words import did_you_mean, nearest
from rlaif.evaluating.policies import LOCAL, RESPONSES, Policy, named_policies
from rlaif.evaluating.ready import ReadyResponses, read_responses
from rlaif.files.bad_rows import BAD_ROWS_FILE, BadRows
from rlaif.files.reads import sources
from rlaif.files.sources import distinct_placed, placed_prompt_rows, read_judgments, say_differing
from rlaif.judging.pairwise import Pairwise
from rlaif.judging.settings import JudgeSettings, judge_settings, load_judge, model_of
from rlaif.judging.unscorable import say_of_models
from rlaif.models.base import Model
from rlaif.models.rendering import Rendering
from rlaif.records import Judgment, Prompt
from rlaif.settings_checks import check_settings

if TYPE_CHECKING:
    from rlaif.evaluating.config import EvaluateConfig

__all__ = ["Plan", "Preferences", "Prompts", "Reference"]

TOO_LONG, NO_RESPONSE, FAILED = "too long", "no response in a file", "call failed"
OF_ANOTHER = "prompt that another policy does not answer"


@dataclass(frozen=True)
class Prompts:
    """What is answered: N prompts, where they stand, and what else their rows hold; how many others are left out.

    `left_out` counts by reason, as a ledger does.
    """

    texts: list[Prompt]
    places: list[str]
    columns: list[dict[str, Any]]
    left_out: Counter[str]

    def __len__(self) -> int:
        return len(self.texts)

    def kept(self, keep: Sequence[bool], why: Counter[str]) -> Prompts:
        """Those that `keep` says, N of them; the others are left out for the reasons that `why` counts."""
        return Prompts(
            list(itertools.compress(self.texts, keep)),
            list(itertools.compress(self.places, keep)),
            list(itertools.compress(self.columns, keep)),
            self.left_out + why,
        )


@dataclass(frozen=True)
class Reference:
    """What the KL is measured to: its name in the report and its folder or Hub id."""

    name: str
    path: str


@dataclass(frozen=True)
class Preferences:
    """Held-out preferences, where they stand, and how many rows are left out."""

    rows: Any = None
    places: list[str] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Plan:
    """An evaluation, ready to begin.

    Attributes:
        config: the settings.
        policies: by name, the baseline first.
        ready: the responses that are there already, by policy, for each of `prompts`.
        endpoints: the models of the endpoints, by policy.
        tokenizers: of the local policies and of the reference, by path.
        reference: of the KL; None where no policy is local.
        prompts: what is asked, but for what a policy turns out not to answer.
        gold: the truth.
        judge, judge_settings: who compares, and how it is asked.
        judgments: earlier ones, to be held against gold or labels.
        preferences: what the reward model is measured on.
        seconds: of the stages before.
        bad: the rows of each source that cannot be used.
        all_bad: those of all sources.
    """

    config: EvaluateConfig
    policies: dict[str, Policy]
    ready: dict[str, ReadyResponses]
    endpoints: dict[str, Model]
    tokenizers: dict[str, Any]
    reference: Reference | None
    prompts: Prompts
    gold: GoldReward | None
    judge: Pairwise | None
    judge_settings: JudgeSettings | None
    judgments: list[Judgment]
    preferences: Preferences
    seconds: dict[str, float]
    bad: dict[str, BadRows]
    all_bad: BadRows

    @property
    def output(self) -> str:
        """The folder that is written."""
        assert self.config.output is not None
        return self.config.output

    @property
    def baseline(self) -> str:
        """The policy that win rates are over."""
        return next(iter(self.policies))

    @property
    def reads(self) -> list[str]:
        """The files, folders and Hub ids that are read."""
        config = self.config
        reference = self.reference.path if self.reference else None
        others = (reference, config.reward_model, config.preferences, config.judgments)
        named = [str(config.prompts), *(policy.path for policy in self.policies.values()), *filter(None, others)]
        if self.judge_settings is not None:
            named += [*sources({"judge": "judge"}, config), *self.judge_settings.reads]
        return list(dict.fromkeys(named))

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
    def judged_pairs(self) -> list[tuple[str, str]]:
        """The pairs of policies that the judge compares, as (policy, other)."""
        if self.judge is None:
            return []
        every = [(name, other) for other, name in itertools.combinations(self.policies, 2)]
        return every if self.config.judge_pairs == "all" else [pair for pair in every if pair[1] == self.baseline]

    def ledgers(self, prompts: Prompts) -> dict[str, Any]:
        """What became of the rows of each source, the bad ones included; `prompts` are those that were answered."""
        counts: dict[str, tuple[int, Counter[str]]] = {"prompts": (len(prompts), prompts.left_out)}
        if self.judgments:
            without = Counter(str(judgment.reason) for judgment in self.judgments if judgment.z is None)
            counts["judgments"] = len(self.judgments) - without.total(), without
        if self.preferences.rows is not None:
            counts["preferences"] = len(self.preferences.rows), self.preferences.left_out
        for name, ready in self.ready.items():
            unused = Counter({OF_ANOTHER: ready.used - len(prompts)})
            counts[f"responses of {name}"] = len(prompts), ready.left_out + unused
        return {
            name: self.bad[name].ledger(used + others.total(), used, +others) for name, (used, others) in counts.items()
        }

    @classmethod
    def of(cls, config: EvaluateConfig) -> Plan:
        """`config` read and checked, the cheap first.

        Raises:
            ValueError: a setting or a row is not as expected, or there is nothing to hold a judge against.
        """
        _check(config)
        assert config.prompts is not None
        policies = named_policies(config.policies)
        reference = _reference(config.reference, policies)
        seconds = {
            name: _seconds(name, folder) for name, folder in named_values(config.stages, "stages", "a folder").items()
        }
        gold = load_gold(config.gold) if config.gold else None
        ready_ones = [name for name, policy in policies.items() if policy.kind == RESPONSES]
        read = ("prompts", "judgments", "preferences", *(f"responses of {name}" for name in ready_ones))
        bad = {name: BadRows(config.on_bad_row) for name in read}
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
        endpoints = {name: model_of(policy.endpoint) for name, policy in policies.items() if policy.endpoint}
        for model in endpoints.values():
            model.check()
        local = {policy.path for policy in policies.values() if policy.kind == LOCAL}
        tokenizers = {
            path: _load_tokenizer(path, bool(config.trust_remote_code))
            for path in {*local, *([reference.path] if reference else [])}
        }
        settings = _judge_settings(config) if config.has_judge else None
        judge = load_judge(settings) if settings else None
        if judge:
            judge.check()
        prompts = _read_prompts(config, bad["prompts"])
        ready = {
            name: read_responses(policies[name], prompts.texts, bad[f"responses of {name}"]) for name in ready_ones
        }
        if ready:
            prompts, ready = _answered(config, prompts, ready)
        preferences = _load_preferences(config, bad["preferences"])
        all_bad = BadRows.joined(bad.values())
        all_bad.say(Path(str(config.output)) / BAD_ROWS_FILE)
        if config.reward_model:
            say_of_models(
                {f"the reward model {config.reward_model}": config.reward_model},
                prompts.texts,
                prompts.places,
                response_tokens=config.max_new_tokens,
                trust_remote_code=bool(config.trust_remote_code),
            )
        plan = cls(
            config=config,
            policies=policies,
            ready=ready,
            endpoints=endpoints,
            tokenizers=tokenizers,
            reference=reference,
            prompts=prompts,
            gold=gold,
            judge=judge,
            judge_settings=settings,
            judgments=judgments,
            preferences=preferences,
            seconds=seconds,
            bad=bad,
            all_bad=all_bad,
        )
        if judge and config.judge_pairs == "all":
            _say_cost(plan, judge)
        return plan


def _say_cost(plan: Plan, judge: Pairwise) -> None:
    votes, n, pairs = len(judge.orders) * judge.samples, len(plan.prompts), len(plan.judged_pairs)
    alone = (len(plan.policies) - 1) * n * votes
    warn(
        f"judge_pairs is all: {pairs} pairs of policies on {n:,} prompts are up to {pairs * n * votes:,} votes of the "
        f"judge, {votes} for each two responses; with baseline alone, {alone:,}."
    )


def _check(config: EvaluateConfig) -> None:
    if not config.output or not config.policies or not config.prompts:
        raise UsageError(
            "output, policies and prompts must be set; expected --policies NAME=PATH ... --prompts SOURCE "
            "--output FOLDER."
        )
    check_settings(vars(config))
    if config.judge_pairs not in ("baseline", "all"):
        raise UsageError(f"judge_pairs is {config.judge_pairs!r}; expected baseline or all.")
    if config.has_judge:
        _judge_settings(config)  # a judge that cannot be is known before a tokenizer is loaded
        if len(config.policies) == 1:
            raise UsageError(
                "a judge compares policies with the first one, and there is only one; add another or no judge."
            )
    elif config.judge_pairs == "all":
        raise UsageError("judge_pairs is all and there is no judge; expected --judge_model or --judge beside it.")
    if config.preferences and not config.reward_model:
        raise UsageError("preferences are given but no reward_model to measure on them; add --reward_model FOLDER.")


def _judge_settings(config: EvaluateConfig) -> JudgeSettings:
    """The judge's. `trust_remote_code` is of the policies too: a judge that is no local model is not told of it."""
    settings = judge_settings(dataclasses.replace(config, trust_remote_code=None))
    return judge_settings(config) if settings.model.kind == "local" else settings


def _reference(named: str | None, policies: dict[str, Policy]) -> Reference | None:
    """The reference that was named, or the first local policy."""
    if named is None:
        first = next((policy for policy in policies.values() if policy.kind == LOCAL), None)
        return None if first is None else Reference(first.name, first.path)
    policy = policies.get(named)
    if policy is None:
        if "/" not in named and not Path(named).exists() and nearest(named, policies, 0.7):
            raise UsageError(
                f"reference is {named!r}, which is no policy of this comparison and no folder; "
                f"{did_you_mean(named, policies)}"
            )
        [policy] = named_policies([f"reference={named}"]).values()
    if policy.kind != LOCAL:
        what = "an endpoint" if policy.kind == "endpoint" else "a file of responses"
        raise UsageError(
            f"reference is {named}, {what}, of which no probabilities are known; expected a local policy's name, a "
            "folder or a Hub id."
        )
    return Reference(named, policy.path)


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

    try:
        tokenizer = load_tokenizer(path, trust_remote_code=trust_remote_code)
    except ValueError as error:
        if Path(path).exists():
            raise
        raise ValueError(
            f"{error} Of a dataset of responses on the Hub expected a file: "
            "datasets.load_dataset(...).to_json('responses.jsonl')."
        ) from error
    if Rendering.of(tokenizer).kind == "pair":
        raise ValueError(f"{path} has an encoder's tokenizer (no EOS); expected a causal language model as policy.")
    return tokenizer


def _read_prompts(config: EvaluateConfig, bad: BadRows) -> Prompts:
    distinct = distinct_placed(placed_prompt_rows(str(config.prompts), config.split, config.config_name, bad))
    say_differing(distinct, "responses")
    rows, places = distinct.rows[: config.limit], distinct.places[: config.limit]
    left_out = Counter({"prompt stood before": distinct.repeated, "beyond limit": len(distinct.rows) - len(rows)})
    columns = [{name: value for name, value in row.items() if name != "prompt"} for row in rows]
    return Prompts([row["prompt"] for row in rows], places, columns, left_out)


def _answered(
    config: EvaluateConfig, prompts: Prompts, ready: dict[str, ReadyResponses]
) -> tuple[Prompts, dict[str, ReadyResponses]]:
    """The prompts to which every file has a response, and these: nobody is asked what is compared with nothing."""
    keep = [None not in of_prompt for of_prompt in zip(*(one.texts for one in ready.values()), strict=True)]
    if not any(keep):
        raise ValueError(
            f"no prompt of {config.prompts} has a response of each of {' and '.join(ready)}; expected files with "
            "responses to the same prompts."
        )
    kept = prompts.kept(keep, Counter({NO_RESPONSE: keep.count(False)}))
    responses = {}
    for name, one in ready.items():
        texts = list(itertools.compress(one.texts, keep))
        unused = Counter({OF_ANOTHER: one.used - len(texts)})
        responses[name] = dataclasses.replace(one, texts=texts, left_out=one.left_out + unused)
    return kept, responses


def _load_preferences(config: EvaluateConfig, bad: BadRows) -> Preferences:
    if not config.preferences:
        return Preferences()
    from rlaif.files.preferences import load_preferences

    found = Preferences()
    rows = load_preferences(
        config.preferences, config.preferences_split, config.preferences_config_name, bad, found.left_out, found.places
    )
    return dataclasses.replace(found, rows=rows)
