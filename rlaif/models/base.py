"""What a model is to everything above it: something that answers calls.

    Call      one call of one model, with everything that its reply depends on; `key` is its content address
    Reply     what came back, as it came, so that reading it can improve without paying again
    Model     one of three kinds: RoundModel (answers planned batches), StreamModel (answers calls as they come),
              DeferredModel (takes calls now and answers them later)

`Call.key` is the one address of the house: of comparisons, ratings and completions alike.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from rlaif.records import Message, content_hash

__all__ = [
    "UNASKED",
    "Call",
    "DeferredModel",
    "Model",
    "Place",
    "Reply",
    "RoundModel",
    "StreamModel",
    "Usage",
    "served_by",
]

JSON = Any
UNASKED = "unasked"  # `Reply.finish` of a call that is not stored and was not put to its model

_ENCODE = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """One call of one model.

    Args:
        model: the model's digest (`Model.digest`).
        messages: the conversation.
        choices: continuations whose probability is wanted. A model that scores gives one log-probability for each; an
            endpoint writes up to `max_tokens` and lists alternatives.
        prefill: the beginning of the answer, for models that can be given one.
        max_tokens: longest answer; 0 where nothing is written.
        temperature: of what is written.
        sample: which of several equal calls this is.
        settings: what else the model is told (top_p, reasoning_effort, ...): name and JSON value, sorted by name.
        arguments: of a Python function, which has no messages.
        stored_only: answered from the store or not at all: the reply is then `UNASKED`. No part of the address.
        flexible: `max_tokens` is a default and nobody's choice: a model that takes fewer refuses this call alone. No
            part of the address.

    Attributes:
        key: content address of everything but `stored_only` and `flexible`: 32 hex digits. A field at its default
            leaves no trace in it, so that a field of a later version changes no address.
    """

    model: str
    messages: tuple[Message, ...] = ()
    choices: tuple[str, ...] = ()
    prefill: str = ""
    max_tokens: int = 0
    temperature: float = 0.0
    sample: int = 0
    settings: tuple[tuple[str, JSON], ...] = ()
    arguments: tuple[JSON, ...] = ()
    stored_only: bool = False
    flexible: bool = False
    key: str = field(init=False)

    def __post_init__(self) -> None:
        parts: dict[str, JSON] = {"model": self.model}
        for name in ("messages", "choices", "prefill", "max_tokens", "temperature", "sample", "settings", "arguments"):
            if value := getattr(self, name):
                parts[name] = float(value) if name == "temperature" else value  # 1 in a YAML file is the 1.0 of others
        digest = hashlib.sha256(_ENCODE(parts).encode("utf-8", "surrogatepass")).hexdigest()
        object.__setattr__(self, "key", digest[:32])

    def setting(self, name: str, default: JSON = None) -> JSON:
        """The value of a setting; `default` where it is not set."""
        return next((value for key, value in self.settings if key == name), default)


class Place(NamedTuple):
    """One token that a model wrote, its log-probability, and those of the alternatives listed at its place."""

    token: str
    logp: float | None
    listed: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of a call, summed over its tries; None where nobody counted."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None

    def __add__(self, other: Usage) -> Usage:
        """The sum; what neither counted stays unknown."""
        ours, theirs = self.row(), other.row()
        return Usage(**{name: ours.get(name, 0) + theirs.get(name, 0) for name in {**ours, **theirs}})

    def row(self) -> dict[str, int]:
        """What is known, by name."""
        both = (("prompt_tokens", self.prompt_tokens), ("completion_tokens", self.completion_tokens))
        return {name: count for name, count in both if count is not None}


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model gave for a call.

    Attributes:
        key: of the call.
        text: what was written; None where nothing was.
        reasoning: what it thought before, where that comes apart from the text.
        logps: log P(choice), one a choice, of models that score; None for a choice that cannot be told from a longer.
        places: an endpoint's tokens with their alternatives, in order; of a long answer the last 32.
        finish: "stop", "length" (cut off at `max_tokens`), "error", or `UNASKED`.
        reason: why there is neither text nor log-probabilities; None where there is one.
        answered: False if the call failed; the next run asks again.
        usage, tries: tokens and calls that it took, failed tries included.
        seconds: from the last try's start to its end.
        served_by: what the server says that it is.
    """

    key: str
    text: str | None = None
    reasoning: str | None = None
    logps: tuple[float | None, ...] | None = None
    places: tuple[Place, ...] | None = None
    finish: str = "stop"
    reason: str | None = None
    answered: bool = True
    usage: Usage = Usage()
    tries: int = 1
    seconds: float = 0.0
    served_by: str | None = None

    def row(self) -> dict[str, Any]:
        """One JSON object: `key` first, `answered` second where it is False, and nothing that says nothing."""
        row: dict[str, Any] = {"key": self.key}
        if not self.answered:
            row["answered"] = False
        for name in ("text", "reasoning", "logps", "places", "reason", "served_by"):
            if (value := getattr(self, name)) is not None:
                row[name] = value
        row["finish"] = self.finish
        if usage := self.usage.row():
            row["usage"] = usage
        if self.tries != 1:
            row["tries"] = self.tries
        if self.seconds:
            row["seconds"] = self.seconds
        return row

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Reply:
        """The reply of one stored row."""
        logps, places, usage = row.get("logps"), row.get("places"), row.get("usage")
        return cls(
            row["key"],
            row.get("text"),
            row.get("reasoning"),
            None if logps is None else tuple(logps),
            None if places is None else tuple(Place(p[0], p[1], tuple(map(tuple, p[2]))) for p in places),
            row.get("finish", "stop"),
            row.get("reason"),
            row.get("answered", True),
            Usage(usage.get("prompt_tokens"), usage.get("completion_tokens")) if usage else Usage(),
            row.get("tries", 1),
            row.get("seconds", 0.0),
            row.get("served_by"),
        )


class Model(ABC):
    """Something that answers calls.

    Attributes:
        name: what people call it; written into votes and cards.
        transient: why a later run will not find its replies again, where it will not; None of most models.
        can: what it is able to do:
            "score"      gives log P(choice) for each of a call's choices
            "write"      writes text
            "prefill"    goes on from a beginning
            "logprobs"   lists alternatives' log-probabilities beside what it writes
            "samples"    another `sample` of a call, at a temperature above 0, is another answer
            "arguments"  is a function and takes arguments instead of messages
    """

    name: str
    can: frozenset[str]
    transient: str | None = None

    @property
    @abstractmethod
    def identity(self) -> Mapping[str, JSON]:
        """Everything about the model that its replies depend on: JSON values."""

    @cached_property
    def digest(self) -> str:
        """The model in a call's address: 16 hex digits of its identity."""
        return content_hash(dict(self.identity))[:16]

    def learned(self) -> dict[str, JSON]:
        """What was found out while asking that its replies depend on and its identity does not say; for manifests."""
        return {}

    def check(self, choices: Sequence[str] = ()) -> None:  # noqa: B027 (most models have nothing to check)
        """A ValueError for what can be known, before anything is asked, to make every reply fail; cheap otherwise.

        Args:
            choices: what it will be asked to tell apart, if anything.
        """


def served_by(models: Iterable[Model]) -> dict[str, JSON]:
    """{"served": what was learned about each of `models`, by its name}; {} where nothing was."""
    found = {model.name: learned for model in models if (learned := model.learned())}
    return {"served": found} if found else {}


class RoundModel(Model):
    """A model that answers batches: a local one, whose calls share a forward pass; a function, called one by one."""

    @abstractmethod
    def plan(self, calls: Sequence[Call]) -> list[list[Call]]:
        """`calls` in batches; the same for the same calls in every process and on every run."""

    @abstractmethod
    def answer(self, batch: Sequence[Call]) -> list[Reply]:
        """One reply a call. A call that fails has a reason in its reply."""


class StreamModel(Model):
    """A model whose calls are independent and take their time: an endpoint, an async function.

    Attributes:
        concurrency: calls in flight.
        waiting: what calls wait for, in a few words, where they wait for anything but their replies.
        on_wait: is called whenever `waiting` changes.
    """

    concurrency: int
    on_wait: Callable[[], object] = staticmethod(lambda: None)

    @property
    def waiting(self) -> str:
        """See above."""
        return ""

    async def open(self) -> None:
        """Makes what belongs to the event loop that is running now."""

    async def close(self) -> None:
        """Closes it."""

    @abstractmethod
    async def reply(self, call: Call) -> Reply:
        """The reply to one call; a call that fails has a reason in its reply.

        Raises:
            ValueError: nothing can be had from this model, so that asking on is pointless.
        """


class DeferredModel(Model):
    """A model that takes many calls at once and answers hours later: a provider's batch API.

    Attributes:
        wait: seconds between two looks.
    """

    wait: float = 60.0

    @abstractmethod
    def submit(self, calls: Sequence[Call], token: str) -> str:
        """Hands the calls over and returns the ticket they can be asked for with. `token` is the same for the same
        calls, so that a provider can tell a second submission from a first."""

    @abstractmethod
    def poll(self, ticket: str) -> list[Reply] | None:
        """The replies, in any order; None while there are none yet."""
