"""Where PPO's rewards come from: a trained reward model, an LLM judge, any Python function.

A reward is named as kind=value:

    reward_model=FOLDER     a Bradley-Terry checkpoint's score of the completion, less the checkpoint's zero
    rating=JUDGE.yaml       the expected rating of an LLM judge: direct RLAIF (Lee et al., 2309.00267)
    pairwise=JUDGE.yaml     P(completion is preferred to the row's `reference`), both orders averaged, of an LLM judge
    function=module:name    what a Python function says

JUDGE.yaml is what `rlaif judge --judge JUDGE.yaml` takes (see `rlaif.judging.settings`); a model's name will do too.
A rating is on the scale of its template: 0 to 9, so that each number is one token, unless the template or the YAML says
otherwise (`scale: 1-10`, as in the paper).

Judges are asked as by `rlaif judge`, and every reply is stored in the run's folder (`replies/`), for all rewards
together, so that a resumed run pays for nothing twice. A folder of an older version (`ratings/`, `votes/`) is not read:
its run's judges are asked anew.

A reward is a function as TRL's trainers call it: `reward(prompts=..., completions=..., **columns)` gives a list with
one number for each completion, or None where it could not be scored. None is a state, never a number: it is counted,
with its reason, and it is the trainer's to leave the completion out. Nothing in a reward waits for another process: in
distributed training each scores completions of its own.
"""

from __future__ import annotations

import asyncio
import inspect
import math
import re
import weakref
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

from rlaif.config import UsageError, import_function, warn
from rlaif.errors.lines import prefixed
from rlaif.errors.theirs import is_number, naming
from rlaif.errors.words import guess, shown
from rlaif.files.store import Store
from rlaif.judging.pairwise import Annotation, Pairwise, judge_here
from rlaif.judging.prompts import BaseTemplate, prompt_text
from rlaif.judging.rating import RatingMethod, Ratings, rate_here
from rlaif.judging.settings import load_judge, load_rater
from rlaif.judging.trouble import trouble
from rlaif.models.base import served_by
from rlaif.models.reward_model import RewardModel, RewardModelCard
from rlaif.records import Pair, Prompt, Response, last_user_text

__all__ = [
    "FunctionReward",
    "PairwiseReward",
    "RatingReward",
    "Replies",
    "Reward",
    "RewardModelReward",
    "RewardSpec",
    "check_rewards",
    "completion_text",
    "load_rewards",
    "parse_rewards",
    "reward_models_of",
]

REFERENCE = "reference"  # the column that `pairwise` compares with


class Reward(Protocol):
    """A reward as TRL's trainers take it, with what it counted in this process so far.

    Attributes:
        completions: how many it was given.
        asked: how many questions it put to its judge (`pairwise` puts two about a completion), with those that it put
            again because the reply could not be read; 0 without a judge.
        from_cache: how many replies were stored before: by this run, by the one that it resumes, by another reward.
        marked: how many completions (or prompts, or references) held words of the judge's template or of a chat
            format, as a forged verdict would.
        unscored_reasons: why completions got None, by kind of reason. Its total is how many did.
    """

    __name__: str
    completions: int
    asked: int
    from_cache: int
    marked: int
    unscored_reasons: Counter[str]

    def __call__(self, prompts: list[Prompt], completions: list[Any], **columns: Any) -> list[float | None]:
        """The reward of each completion, None where it could not be scored.

        Args:
            prompts: strings or messages.
            completions: strings, or lists of messages as TRL gives them.
            columns: everything else that TRL's trainers hand to a reward: `completion_ids`, the dataset's columns,
                `trainer_state`, `log_extra`, `log_metric`.
        """
        ...

    def how_read(self) -> dict[str, Any]:
        """Of a judge: how its replies were read in this process so far and what answered; {} of other rewards."""
        ...

    def close(self) -> None:
        """Closes what is open; nothing is lost without."""
        ...


# Names and checks -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RewardSpec:
    """A reward as settings name it: `kind`=`value`; `name` is the reward's own, unique in its list."""

    kind: str
    value: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}={self.value}"


def parse_rewards(specs: Sequence[str]) -> list[RewardSpec]:
    """The rewards that `specs` name; of those with one name, the second is called NAME_2, the third NAME_3.

    Raises:
        UsageError: there is none, or one is not kind=value with a known kind.
    """
    if not specs:
        raise UsageError(f"no reward is given; expected at least one of {_EXPECTED}.")
    parsed: list[RewardSpec] = []
    taken: set[str] = set()
    for spec in specs:
        kind, equals, value = (part.strip() for part in spec.partition("="))
        if not equals or not value:
            raise UsageError(f"reward {spec!r} is not kind=value; expected one of {_EXPECTED}.")
        if kind not in _KINDS:
            hint = guess(kind, _KINDS) or f"expected one of {_EXPECTED}."
            raise UsageError(f"reward {spec!r} is of an unknown kind, {kind!r}; {hint}")
        stem = name = re.sub(r"\W+", "_", value.rpartition(":")[2]) if kind == "function" else kind
        number = 1
        while name in taken:
            number += 1
            name = f"{stem}_{number}"
        taken.add(name)
        parsed.append(RewardSpec(kind, value, name))
    return parsed


def reward_models_of(specs: Sequence[str]) -> dict[str, str]:
    """The folders and Hub ids of the reward models among the rewards that `specs` name, by what `specs` call them."""
    return {str(spec): spec.value for spec in (parse_rewards(specs) if specs else []) if spec.kind == "reward_model"}


def check_rewards(
    specs: Sequence[str], columns: Collection[str] | None = None, trust_remote_code: bool = False
) -> list[RewardSpec]:
    """The rewards that `specs` name, after all that can be known of them before a model is loaded.

    Args:
        specs: "kind=value" each.
        columns: the dataset's, if known.
        trust_remote_code: whether code of reward models' repositories may run.

    Raises:
        ValueError: a reward that could not be loaded, or not be computed, and why.
    """
    parsed = parse_rewards(specs)
    for spec in parsed:
        try:
            _KINDS[spec.kind].check(spec.value, columns, trust_remote_code)
        except ValueError as error:
            raise prefixed(f"reward {spec}", error) from None
    return parsed


def load_rewards(
    specs: Sequence[str],
    folder: str | Path,
    *,
    columns: Collection[str] | None = None,
    ready: Mapping[str, RewardModel] | None = None,
    trust_remote_code: bool = False,
) -> list[Reward]:
    """The rewards that `specs` name, checked (see `check_rewards`) and ready; reward models are on their device.

    Args:
        specs: "kind=value" each.
        folder: the run's output folder. Judges' replies are kept in its `replies`, made when the first one comes.
        columns: the dataset's, if known.
        ready: reward models that are loaded already, by the folder that names them in `specs`: an adapter, say, on the
            policy's own backbone.
        trust_remote_code: whether code of reward models' repositories may run; a judge's YAML says it of its own.
    """
    ready, replies = ready or {}, Replies(folder)
    return [
        RewardModelReward(ready[spec.value], spec.name)
        if spec.kind == "reward_model" and spec.value in ready
        else _KINDS[spec.kind].load(spec.value, spec.name, replies, trust_remote_code)
        for spec in check_rewards(specs, columns, trust_remote_code)
    ]


def completion_text(completion: Any) -> str:
    """A completion's text: a string itself, or the contents of the messages that TRL gives for a conversation.

    Raises:
        ValueError: it is neither.
    """
    if isinstance(completion, str):
        return completion
    if isinstance(completion, list) and all(isinstance(m, Mapping) for m in completion):
        return "".join(m["content"] for m in completion if isinstance(m.get("content"), str))
    raise ValueError(f"a completion is {shown(completion)}; expected text or a list of messages.")


# Rewards --------------------------------------------------------------------------------------------------------------


class _Reward(ABC):
    """What all rewards do alike: completions become text, and what is not scored is counted."""

    def __init__(self, name: str) -> None:
        self.__name__ = name
        self.completions = self.asked = self.from_cache = self.marked = 0
        self.unscored_reasons: Counter[str] = Counter()

    @classmethod
    @abstractmethod
    def check(cls, value: str, columns: Collection[str] | None, trust_remote_code: bool = False) -> None:
        """A ValueError for what can be known, cheaply, to make the reward named by `value` impossible."""

    @classmethod
    @abstractmethod
    def load(cls, value: str, name: str, replies: Replies, trust_remote_code: bool = False) -> Self:
        """The reward named by `value`."""

    def __call__(self, prompts: list[Prompt], completions: list[Any], **columns: Any) -> list[float | None]:
        scored = self._score(prompts, completions, columns)
        self.completions += len(completions)
        self.unscored_reasons.update(_kind_of(reason) for value, reason in scored if value is None)
        return [value for value, _ in scored]

    @abstractmethod
    def _score(
        self, prompts: list[Prompt], completions: list[Any], columns: Mapping[str, Any]
    ) -> list[tuple[float | None, str]]:
        """(reward, "") or (None, reason) for each completion."""

    def how_read(self) -> dict[str, Any]:
        """See `Reward.how_read`."""
        return {}

    def close(self) -> None:  # noqa: B027 (nothing is open unless a reward opens it)
        """Closes what is open."""


class RewardModelReward(_Reward):
    """The score that a reward model gives prompt and completion, in its own rendering, less its zero.

    Args:
        model: the reward model, of its own weights or of an adapter's on a shared backbone.
        name: the reward's.
        tokens: the size of a micro-batch, padding included.
    """

    def __init__(self, model: RewardModel, name: str = "reward_model", tokens: int = 16384) -> None:
        super().__init__(name)
        self.model = model
        self.tokens = tokens

    @classmethod
    def check(cls, value: str, columns: Collection[str] | None, trust_remote_code: bool = False) -> None:
        """The folder, its `rlaif.json` (or what is assumed without one), and the rendering of its tokenizer."""
        RewardModelCard.read(value, trust_remote_code).reader(value, trust_remote_code)

    @classmethod
    def load(cls, value: str, name: str, replies: Replies, trust_remote_code: bool = False) -> Self:
        return cls(RewardModel.load(value, trust_remote_code=trust_remote_code), name)

    def _score(
        self, prompts: list[Prompt], completions: list[Any], columns: Mapping[str, Any]
    ) -> list[tuple[float | None, str]]:
        scores_B = self.model.score(prompts, [completion_text(c) for c in completions], tokens=self.tokens)
        rewards_B = scores_B - self.model.zero
        reason = f"longer than the {self.model.card.max_length} tokens that the reward model takes"
        refused = self.model.refused
        return [
            (None, refused.get(at, reason)) if math.isnan(reward) else (float(reward), "")
            for at, reward in enumerate(rewards_B)
        ]


class Replies:
    """The store of judges' replies of one run, opened when first needed, and again after it was closed.

    Args:
        folder: the run's; the store is `folder`/replies.
    """

    def __init__(self, folder: str | Path) -> None:
        self._folder = folder
        self._store: Store | None = None

    @property
    def store(self) -> Store:
        """The replies so far."""
        if self._store is None:
            self._store = Store(self._folder)
            weakref.finalize(self, self._store.close)
        return self._store

    def close(self) -> None:
        """Closes it."""
        if self._store is not None:
            self._store.close()
            self._store = None


class _JudgeReward(_Reward):
    """What the rewards by a judge have in common: the run's store of replies, and what is counted of them."""

    method: Pairwise | RatingMethod

    def __init__(self, name: str, replies: Replies) -> None:
        super().__init__(name)
        self.replies = replies
        self.methods: Counter[str] = Counter()
        self.unusable: Counter[str] = Counter()
        self._said: set[str] = set()

    def close(self) -> None:
        """Closes the store; it opens again when needed."""
        self.replies.close()

    def how_read(self) -> dict[str, Any]:
        """See `Reward.how_read`."""
        read: dict[str, Any] = {"methods": dict(sorted(self.methods.items()))}
        if self.unusable:
            read["logprobs_not_used"] = dict(self.unusable.most_common())
        return read | served_by(self.method.models.values())

    def _count(self, done: Annotation | Ratings, template: BaseTemplate) -> None:
        """Counts a batch, and says once of each kind what is wrong with how it was read."""
        self.asked += done.asked
        self.from_cache += done.reused
        self.methods.update(done.methods)
        self.unusable.update(done.unusable)
        for kind, said in trouble(done, template).items():
            if kind not in self._said:
                self._said.add(kind)
                warn(f"reward {self.__name__}: {said}")


class RatingReward(_JudgeReward):
    """The expected rating of each completion, on the scale of the judge's template.

    Args:
        method: how it is rated.
        name: the reward's.
        replies: where the judge's are kept.
    """

    def __init__(self, method: RatingMethod, name: str, replies: Replies) -> None:
        super().__init__(name, replies)
        self.method: RatingMethod = method

    @classmethod
    def check(cls, value: str, columns: Collection[str] | None, trust_remote_code: bool = False) -> None:
        load_rater(value).check()

    @classmethod
    def load(cls, value: str, name: str, replies: Replies, trust_remote_code: bool = False) -> Self:
        return cls(load_rater(value), name, replies)

    def _score(
        self, prompts: list[Prompt], completions: list[Any], columns: Mapping[str, Any]
    ) -> list[tuple[float | None, str]]:
        responses = [Response(p, completion_text(c)) for p, c in zip(prompts, completions, strict=True)]
        template = self.method.template
        done = rate_here(responses, self.method, self.replies.store)
        self._count(done, template)
        self.marked += sum(template.marked(prompt_text(response.prompt), response.text) for response in responses)
        return [(rating.rating, rating.reason or "") for rating in done.ratings]


class PairwiseReward(_JudgeReward):
    """P(completion is preferred to the row's reference), in [0, 1]: z of `rlaif judge`, averaged over both orders.

    The orders are the judge's, both unless its YAML says otherwise.

    A completion equal to the reference has 0.5, without being asked about: both orders are then the same question, to
    which a judge says P(first) = p, and the average of p and 1 - p is 0.5 whatever p is.

    Args:
        method: how it is compared.
        name: the reward's.
        replies: where the judge's are kept.
    """

    def __init__(self, method: Pairwise, name: str, replies: Replies) -> None:
        super().__init__(name, replies)
        self.method: Pairwise = method

    @classmethod
    def check(cls, value: str, columns: Collection[str] | None, trust_remote_code: bool = False) -> None:
        if columns is not None and REFERENCE not in columns:
            raise ValueError(
                f"the dataset has no column {REFERENCE!r} to compare completions with; it has {', '.join(columns)}. "
                "Add the reference answers, or use rating=."
            )
        load_judge(value).check()

    @classmethod
    def load(cls, value: str, name: str, replies: Replies, trust_remote_code: bool = False) -> Self:
        return cls(load_judge(value), name, replies)

    def _score(
        self, prompts: list[Prompt], completions: list[Any], columns: Mapping[str, Any]
    ) -> list[tuple[float | None, str]]:
        if REFERENCE not in columns:
            raise ValueError(
                f"reward {self.__name__} got no column {REFERENCE!r} to compare completions with; it got "
                f"{', '.join(sorted(columns)) or 'none'}. Add the reference answers to the dataset."
            )
        references = ["" if r is None else completion_text(r) for r in columns[REFERENCE]]
        rows = zip(prompts, completions, references, strict=True)
        pairs = [Pair(prompt, completion_text(completion), reference) for prompt, completion, reference in rows]
        done = judge_here(pairs, self.method, self.replies.store)
        self._count(done, self.method.template)
        self.marked += sum("marker" in judgment.flags for judgment in done.judgments)
        scored: list[tuple[float | None, str]] = []
        for pair, judgment in zip(pairs, done.judgments, strict=True):
            if pair.response_a == pair.response_b and pair.response_a.strip():
                scored.append((0.5, ""))
            else:
                reason = (judgment.reason or "").replace("response_a", "the completion")
                scored.append((judgment.z, reason.replace("response_b", f"the {REFERENCE}")))
        return scored


class FunctionReward(_Reward):
    """What a Python function says of each completion: a finite number, or None where it has none.

    A function whose parameters include `prompts` and `completions` is called once a batch, as TRL calls its reward
    functions (by keyword, with every column of the dataset; of these only what it names, unless it takes **kwargs; it
    may be async), and returns a list. Any other is called as `function(prompt, response)`, completion by completion.

    Args:
        function: it.
        name: the reward's.
        source: what errors call it: "module:name".
    """

    def __init__(self, function: Callable[..., Any], name: str, source: str) -> None:
        super().__init__(name)
        self.function = function
        self.source = source
        parameters = _parameters(function, source)
        self._batched = parameters.keys() >= {"prompts", "completions"}
        takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
        self._takes = None if takes_all else set(parameters)

    @classmethod
    def check(cls, value: str, columns: Collection[str] | None, trust_remote_code: bool = False) -> None:
        """The function can be imported, and be called in one of the two ways."""
        _parameters(import_function(value), value)

    @classmethod
    def load(cls, value: str, name: str, replies: Replies, trust_remote_code: bool = False) -> Self:
        return cls(import_function(value), name, value)

    def _score(
        self, prompts: list[Prompt], completions: list[Any], columns: Mapping[str, Any]
    ) -> list[tuple[float | None, str]]:
        if self._batched:
            named = {name: value for name, value in columns.items() if self._takes is None or name in self._takes}
            with naming(f"the reward function {self.source!r}"):
                values = self.function(prompts=prompts, completions=completions, **named)
                if inspect.isawaitable(values):
                    values = asyncio.run(_awaited(values))
            values = values.tolist() if hasattr(values, "tolist") else values  # an array's or a tensor's numbers
            if not isinstance(values, list | tuple) or len(values) != len(completions):
                got = f"{len(values)} rewards" if isinstance(values, list | tuple) else shown(values)
                raise ValueError(
                    f"the reward function {self.source!r} returned {got} for {len(completions)} completions (the first "
                    f"to the prompt {_beginning(prompts)}); expected a list with one number each. Mend the function."
                )
        else:
            texts = map(completion_text, completions)
            with naming(f"the reward function {self.source!r}"):
                values = [self.function(prompt, text) for prompt, text in zip(prompts, texts, strict=True)]
        return [self._checked(value, prompt) for value, prompt in zip(values, prompts, strict=True)]

    def _checked(self, value: Any, prompt: Prompt) -> tuple[float | None, str]:
        number = value.tolist() if hasattr(value, "tolist") else value
        if number is None:
            return None, "the function returned None"
        if not is_number(number):
            raise ValueError(
                f"the reward function {self.source!r} returned {shown(value)} for the prompt {_beginning([prompt])}; "
                "expected a finite number, or None for a completion that cannot be scored. Mend the function, or leave "
                "such prompts out."
            )
        return float(number), ""


_KINDS: dict[str, type[RewardModelReward | RatingReward | PairwiseReward | FunctionReward]] = {
    "reward_model": RewardModelReward,
    "rating": RatingReward,
    "pairwise": PairwiseReward,
    "function": FunctionReward,
}
_EXPECTED = "reward_model=FOLDER, rating=JUDGE.yaml, pairwise=JUDGE.yaml, function=module:name"


def _parameters(function: Callable[..., Any], source: str) -> Mapping[str, inspect.Parameter]:
    """The function's parameters; a ValueError unless it can be called in one of the two ways."""
    try:
        signature = inspect.signature(function)
    except ValueError:  # a builtin may have none to show; it is called as (prompt, response)
        return {}
    parameters = signature.parameters
    try:
        if parameters.keys() >= {"prompts", "completions"}:
            others = {
                name: None for name, p in parameters.items() if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)
            }
            signature.bind(**others)
        else:
            signature.bind("prompt", "response")
            if inspect.iscoroutinefunction(function):
                raise TypeError("it is async")
    except TypeError as error:
        raise ValueError(
            f"the function {source!r} takes {signature} ({error}); expected (prompt, response), or TRL's (prompts, "
            "completions, **kwargs)."
        ) from None
    return parameters


async def _awaited(values: Any) -> Any:
    return await values


def _beginning(prompts: Sequence[Prompt]) -> str:
    return repr(last_user_text(prompts[0])[:60]) if prompts else "of no row"


_DETAIL = re.compile(r"^order (?:ab|ba): |(?<=answer) '.*'|(?<=answer) \".*\"|: .*", re.DOTALL)
_NUMBER = re.compile(r"(?<!status )(?<![\w.])-?\d+(?:\.\d+)?")


def _kind_of(reason: str) -> str:
    """A reason without what differs from completion to completion: the order, quoted answers, details, numbers."""
    return _NUMBER.sub("N", _DETAIL.sub("", reason)).strip()
