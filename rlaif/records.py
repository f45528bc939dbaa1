"""The records that everything else exchanges, and the one orientation of z.

    pair        two responses to one prompt
    vote        one reading of a judge's comparison of a pair, shown in one order
    rating      one reading of how good a judge finds one response: the expected number of its scale
    judgment    the votes on a pair combined: z = P(response_a is preferred), or None and the reason
    preference  a judgment turned to training data: z = P(chosen is preferred), in (0.5, 1]

In the notation of Tan et al., "Large Language Models for Data Annotation" (2402.13446), z = A(q + x1 + x2 + p): the
annotator A reads the task q, two candidates x1 and x2 and a prompt p. Here A is the judge, p its template.

A judgment that failed is a state (`z is None`, with a reason), never a number.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from rlaif.errors.words import shown

__all__ = [
    "BEYOND_TEXT",
    "ORDERS",
    "ROLES",
    "Judgment",
    "Label",
    "Message",
    "Order",
    "Pair",
    "Preference",
    "Prompt",
    "Rating",
    "Response",
    "Vote",
    "check_message",
    "check_messages",
    "check_probability",
    "check_prompt",
    "check_text",
    "complement",
    "content_hash",
    "is_text",
    "label_value",
    "last_user_text",
    "prompt_hash",
    "says_nothing",
    "uniform_hash",
]

Message = dict[str, str]
Prompt = str | list[Message]
Label = Literal["a", "b", "tie"]
Order = Literal["ab", "ba"]  # which response the judge was shown first
ORDERS: tuple[Order, Order] = ("ab", "ba")

_DECIMALS = 9  # z is kept to 1e-9, so that 1 - (1 - z) == z holds exactly and files have the same bytes everywhere

_LABEL_VALUES = {"a": 1.0, "b": 0.0, "chosen": 1.0, "rejected": 0.0, "tie": 0.5}


def content_hash(*parts: Any) -> str:
    """The SHA-256 of a JSON value, as 32 hex digits (128 bits); the same on every machine."""
    canonical = json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def uniform_hash(*parts: Any) -> float:
    """The hash of a JSON value as a number, uniform in [0, 1): a draw that comes out the same everywhere."""
    return int(content_hash(*parts)[:13], 16) / 16**13  # 52 bits, which a float holds exactly


def prompt_hash(prompt: Prompt) -> str:
    """The hash that decides a prompt's split; a string and the one user message that holds it hash alike."""
    if isinstance(prompt, list) and len(prompt) == 1 and prompt[0]["role"] == "user":
        prompt = prompt[0]["content"]
    return content_hash(prompt)


def complement(z: float | None) -> float | None:
    """1 - z, exact at 9 decimals: `complement(complement(z)) == z`. None stays None."""
    return None if z is None else round(1.0 - z, _DECIMALS)


def check_probability(z: float | None, name: str = "z") -> float | None:
    """`z` to 9 decimals; a ValueError unless it is None or a number in [0, 1] (NaN is not)."""
    if z is None:
        return None
    if isinstance(z, bool) or not isinstance(z, int | float) or not 0.0 <= z <= 1.0:  # NaN is in no interval
        raise ValueError(
            f"{name} is {shown(z)}; expected a probability in [0, 1]. Convert other scales before they get here "
            "(and write null, not a number, where there is no judgment)."
        )
    return round(float(z), _DECIMALS)


def label_value(label: str | None) -> float | None:
    """The z that a label stands for, P(response_a or chosen is preferred); None where it is none of these.

    of a pair:         "a"      -> 1    "b"        -> 0    "tie" -> 0.5
    of a preference:   "chosen" -> 1    "rejected" -> 0    "tie" -> 0.5
    """
    return _LABEL_VALUES.get(label or "")


def check_prompt(prompt: Any) -> Prompt:
    """`prompt` itself if it is a non-empty string or a non-empty list of {"role", "content"}; else a ValueError.

    Content may be a list of text parts, which are joined. What text cannot carry (a tool call, an image) is refused by
    its name. Roles are those of `ROLES`, however they are written: "Human" is the user.
    """
    if isinstance(prompt, str):
        if not prompt.strip():
            raise ValueError("prompt is empty; expected text or a list of messages. Remove the row or fill it in.")
        return check_text(prompt, "prompt")
    found = check_messages(prompt, "prompt")
    if not any(message["content"].strip() for message in found):
        raise ValueError("prompt is empty; expected a message that says something. Remove the row or fill it in.")
    return found


def check_messages(value: Any, name: str) -> list[Message]:
    """`value` as messages of role and content, called `name` in the ValueError where it is none; see `check_prompt`."""
    if not isinstance(value, list) or not value:
        raise ValueError(
            f'{name} is {shown(value)}; expected a string or a list of {{"role": ..., "content": ...}} messages.'
        )
    return [check_message(message, f"{name}[{at}]") for at, message in enumerate(value)]


# Of a row, a message and a part of its content: what says something that text does not.
BEYOND_TEXT = (
    *("tools", "functions", "tool_calls", "function_call", "tool_call_id", "reasoning_content", "thinking"),
    *("image", "images", "image_url", "input_image", "video", "videos", "audio", "audios", "input_audio", "documents"),
)
_OF_A_MESSAGE = (*BEYOND_TEXT, "reasoning")  # a row's column of that name may be a judge's reasons


def says_nothing(value: Any) -> bool:
    """Whether a column or field holds nothing: null, false, 0, an empty text, a list or object in which all is nothing
    (tables fill objects up with nulls), or one of these written as text."""
    if isinstance(value, Mapping):
        return all(map(says_nothing, value.values()))
    if isinstance(value, list | tuple):
        return all(map(says_nothing, value))
    if isinstance(value, str):
        return "".join(value.lower().split()) in _NOTHING
    return value is None or value == 0 or value != value  # NaN


_NOTHING = ("", "[]", "{}", "[{}]", "[null]", '[""]', "-", "n/a", "na", "nan", "none", "null")


def check_message(message: Any, name: str) -> Message:
    """`message` as its role and content, called `name` in the ValueError where it is none; see `check_prompt`."""
    if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
        raise ValueError(f'{name} is {shown(message)}; expected a message like {{"role": "user", "content": "..."}}.')
    for key in message:
        if key in _OF_A_MESSAGE and not says_nothing(message[key]):
            raise ValueError(
                f"{name} is a message with {key}, which its text does not say; expected role and content alone. Write "
                "it into the text, or leave the row out."
            )
    # ShareGPT's, which a reader has given a role and a content, are called as they are written.
    of_sharegpt = message["role"] == message.get("from")
    role = ROLES.get(message["role"].strip().lower())
    if role is None:
        raise ValueError(
            f"{name}.{'from' if of_sharegpt else 'role'} is {shown(check_text(message['role'], name))}; expected "
            "system, user or assistant. Rename the role, or write the message into another one's text."
        )
    return {
        "role": role,
        "content": _content(message.get("content"), f"{name}.{'value' if of_sharegpt else 'content'}"),
    }


# What a message's role may be called, in small letters, and the role that chat templates know it by.
ROLES = {name: name for name in ("system", "developer", "user", "assistant", "tool")}
ROLES |= {"human": "user", "prompter": "user"}
ROLES |= dict.fromkeys(("gpt", "chatgpt", "bing", "bard", "model", "bot"), "assistant")


def _content(content: Any, name: str) -> str:
    """The text of a message: itself, or its text parts, joined."""
    if isinstance(content, str):
        return check_text(content, name)
    if not isinstance(content, list) or not content:
        raise ValueError(f"{name} is {shown(content)}; expected text, or a list of text parts.")
    for at, part in enumerate(content):
        beyond = next((k for k in _OF_A_MESSAGE if isinstance(part, Mapping) and not says_nothing(part.get(k))), None)
        if beyond or not isinstance(part, Mapping) or not isinstance(part.get("text"), str):
            found = beyond or (part.get("type") if isinstance(part, Mapping) else None)
            what = found if isinstance(found, str) else shown(part)
            raise ValueError(
                f"{name}[{at}] is a part that is no text ({what:.40}); expected text parts alone. Leave the row out, "
                "or describe the part in words."
            )
    return check_text("".join(part["text"] for part in content), name)


def check_text(text: str, name: str) -> str:
    """`text` itself; a ValueError where it is none: no tokenizer, file or endpoint takes half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{name} holds half of a character ({text[error.start]!a} at position {error.start}), as cutting text in "
            "the middle of an emoji leaves it; expected valid Unicode. Remove it or the row."
        ) from None
    return text


def is_text(text: str) -> bool:
    """Whether `check_text` takes it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def last_user_text(prompt: Prompt) -> str:
    """The text of the last user message (of the prompt itself where it is a string)."""
    if isinstance(prompt, str):
        return prompt
    return next((m["content"] for m in reversed(prompt) if m["role"] == "user"), "")


@dataclass(frozen=True, slots=True)
class Pair:
    """Two responses to one prompt.

    `label` is what is known from elsewhere (a person, a gold reward): the better response, or "tie". `extra` carries
    every other column of the source through to the judgment, untouched.
    """

    prompt: Prompt
    response_a: str
    response_b: str
    id: str = ""
    model_a: str | None = None
    model_b: str | None = None
    label: Label | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "prompt", check_prompt(self.prompt))
        for name in ("response_a", "response_b"):
            if not isinstance(getattr(self, name), str):
                raise ValueError(f"{name} is {shown(getattr(self, name))}; expected the response's text.")
            check_text(getattr(self, name), name)
        if self.label not in (None, "a", "b", "tie"):
            raise ValueError(f'label is {shown(self.label)}; expected "a", "b", "tie" or null (the better response).')
        for name in ("id", "model_a", "model_b"):
            if not isinstance(getattr(self, name), str) and (name == "id" or getattr(self, name) is not None):
                raise ValueError(f"{name} is {shown(getattr(self, name))}; expected text.")
        if not self.id:
            object.__setattr__(self, "id", content_hash(self.prompt, self.response_a, self.response_b)[:16])

    def swap(self) -> Pair:
        """The same pair with its responses exchanged; `pair.swap().swap() == pair`."""
        label: Label | None = {"a": "b", "b": "a"}.get(self.label or "", self.label)  # type: ignore[assignment]
        return dataclasses.replace(
            self,
            response_a=self.response_b,
            response_b=self.response_a,
            model_a=self.model_b,
            model_b=self.model_a,
            label=label,
        )

    def problem(self) -> str | None:
        """Why this pair cannot be judged, or None. Such a pair is never asked: it becomes an unjudged judgment."""
        for name in ("response_a", "response_b"):
            if not getattr(self, name).strip():
                return f"{name} is empty"
        if self.response_a == self.response_b:
            return "both responses are equal"
        return None

    def row(self) -> dict[str, Any]:
        """The pair as one JSON object, its own columns before `extra`'s."""
        own: dict[str, Any] = {"id": self.id}
        for name in _PAIR_FIELDS:
            if (value := getattr(self, name)) is not None:
                own[name] = value
        for name, value in self.extra.items():
            own.setdefault(name, value)
        return own


_PAIR_FIELDS = tuple(f.name for f in dataclasses.fields(Pair) if f.name != "extra")


@dataclass(frozen=True, slots=True)
class Response:
    """One response to one prompt, to be rated. Every text can be rated, an empty one too: that is what there is."""

    prompt: Prompt
    text: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "prompt", check_prompt(self.prompt))
        if not isinstance(self.text, str):
            raise ValueError(f"the response is {shown(self.text)}; expected its text.")
        check_text(self.text, "the response")

    @property
    def id(self) -> str:
        """16 hex digits of its content."""
        return content_hash(self.prompt, self.text)[:16]


@dataclass(frozen=True, slots=True)
class Vote:
    """One reading of a comparison in one order: is the response shown first the better one?

    `p_first` is P(the response shown first is preferred), or None with a `reason`; `order` says which one was first.
    `key` is the address of the call whose reply was read. `method` says how: "logprobs" (the verdict labels'
    probabilities), "text" (the written verdict, then 0 or 1) or "function". `mass` is the probability of the two labels
    together, where it is known: far below 1, the judge wanted to say something else. `text` is what it wrote.
    `answered` is False if the call failed; the next run asks again. `p_tie` is P(neither is preferred); of it half is
    in `p_first`: a written tie has p_first = 0.5 and p_tie = 1. `unusable` says why log-probabilities that came with
    the reply were not used.
    """

    key: str
    pair_id: str
    judge: str
    template: str
    order: Order
    sample: int
    p_first: float | None
    reason: str | None = None
    method: str | None = None
    mass: float | None = None
    text: str | None = None
    usage: Mapping[str, int] | None = None
    answered: bool = True
    p_tie: float = 0.0
    unusable: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "p_first", check_probability(self.p_first, "p_first"))
        check_probability(self.p_tie, "p_tie")
        if self.order not in ORDERS:
            raise ValueError(f"order is {self.order!r}; expected 'ab' or 'ba'.")
        if (self.p_first is None) == (self.reason is None):
            raise ValueError("a vote has either p_first or a reason why there is none; got both or neither.")

    @property
    def p_a(self) -> float | None:
        """P(response_a is preferred): `p_first` turned back to the pair's own orientation."""
        return self.p_first if self.order == "ab" else complement(self.p_first)

    def row(self) -> dict[str, Any]:
        """The vote as one JSON object, without what says nothing."""
        row = {name: getattr(self, name) for name in _VOTE_FIELDS}
        if self.answered:
            del row["answered"]
        if not self.p_tie:
            del row["p_tie"]
        return {name: value for name, value in row.items() if value is not None or name == "p_first"}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Vote:
        """The vote of one stored row. An older row says `bought` for `answered`."""
        values = {name: row[name] for name in _VOTE_FIELDS if name in row}
        return cls(**{"answered": row.get("bought", True), **values})


_VOTE_FIELDS = tuple(f.name for f in dataclasses.fields(Vote))


@dataclass(frozen=True, slots=True)
class Rating:
    """How good one response is, as one judge says: the expected number of its scale, or None with a `reason`.

    `method` says how it was read: "logprobs" (from the probabilities of the numbers), "text" (the written number) or
    "function". The rest is as in `Vote`.
    """

    key: str
    response_id: str
    judge: str
    template: str
    sample: int
    rating: float | None
    reason: str | None = None
    method: str | None = None
    mass: float | None = None
    text: str | None = None
    usage: Mapping[str, int] | None = None
    answered: bool = True
    unusable: str | None = None

    def __post_init__(self) -> None:
        if self.rating is not None and not math.isfinite(self.rating):
            raise ValueError(f"rating is {shown(self.rating)}; expected a finite number, or null and a reason.")
        if (self.rating is None) == (self.reason is None):
            raise ValueError("a rating is either a number or a reason why there is none; got both or neither.")


@dataclass(frozen=True, slots=True)
class Judgment:
    """The votes on one pair, combined: z = P(response_a is preferred) in [0, 1], or None and why.

    `z_ab` and `z_ba` are P(response_a is preferred) as seen in each order alone; their difference is the judge's
    position bias on this pair. Of the `votes` that were asked for, `readable` have a `p_first`; `vote_keys` says which
    ones they are. `method_hash` is of the whole way of asking, `reading_version` of the code that read the
    replies (`rlaif.judging.reading`). `p_tie` is P(neither is preferred), combined as z is; half of it is in z.
    """

    pair: Pair
    z: float | None
    reason: str | None = None
    z_ab: float | None = None
    z_ba: float | None = None
    votes: int = 0
    readable: int = 0
    judge: str | None = None
    template: str | None = None
    flags: tuple[str, ...] = ()
    vote_keys: tuple[str, ...] = ()
    method_hash: str | None = None
    reading_version: int | None = None
    p_tie: float = 0.0

    def __post_init__(self) -> None:
        check_probability(self.p_tie, "p_tie")
        for name in ("reason", "judge", "template"):
            if not isinstance(getattr(self, name), str | None):
                raise ValueError(f"{name} is {shown(getattr(self, name))}; expected text or null.")
        for name in ("z", "z_ab", "z_ba"):
            object.__setattr__(self, name, check_probability(getattr(self, name), name))
        if (self.z is None) == (self.reason is None):
            raise ValueError(
                f"a judgment has either z or a reason why there is none; got z = {self.z} and reason = {self.reason!r}."
            )

    def swap(self) -> Judgment:
        """The same judgment of the swapped pair: z becomes 1 - z. `j.swap().swap() == j`."""
        return dataclasses.replace(
            self,
            pair=self.pair.swap(),
            z=complement(self.z),
            # What stood first in order "ab" now stands first in order "ba".
            z_ab=complement(self.z_ba),
            z_ba=complement(self.z_ab),
        )

    def row(self) -> dict[str, Any]:
        """The judgment as one JSON object: the pair's columns, then the judgment's."""
        own = {name: getattr(self, name) for name in _JUDGMENT_FIELDS}
        if not self.p_tie:
            del own["p_tie"]
        return {**self.pair.row(), **own, "flags": list(self.flags), "vote_keys": list(self.vote_keys)}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Judgment:
        """The judgment of one stored row."""
        own = {f.name for f in dataclasses.fields(cls)} - {"pair"}
        pair_fields = {f.name for f in dataclasses.fields(Pair)} - {"extra"}
        pair = Pair(
            **{k: row[k] for k in pair_fields if k in row},
            extra={k: v for k, v in row.items() if k not in own | pair_fields},
        )
        values = {k: row[k] for k in own if k in row}
        values["p_tie"] = values.get("p_tie") or 0.0
        return cls(pair=pair, **values | {name: tuple(values.get(name) or ()) for name in ("flags", "vote_keys")})


_JUDGMENT_FIELDS = tuple(f.name for f in dataclasses.fields(Judgment) if f.name != "pair")


@dataclass(frozen=True, slots=True)
class Preference:
    """One row of a preference dataset: z = P(chosen is preferred), in (0.5, 1].

    `z_first` and `z_second` are P(chosen is preferred) with chosen shown first and second. `label` is the outside label
    turned the same way: "chosen", "rejected", "tie" or None.
    """

    id: str
    prompt: Prompt
    chosen: str
    rejected: str
    z: float
    z_first: float | None
    z_second: float | None
    judge: str | None
    template: str | None
    chosen_model: str | None
    rejected_model: str | None
    label: Literal["chosen", "rejected", "tie"] | None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_judgment(cls, judgment: Judgment) -> Preference:
        """The preference that a judgment with z != 0.5 expresses.

        Raises:
            ValueError: z prefers neither response.
        """
        if judgment.z is None or judgment.z == 0.5:
            raise ValueError(f"pair {judgment.pair.id} has z = {judgment.z}: it prefers neither response.")
        j = judgment if judgment.z > 0.5 else judgment.swap()
        assert j.z is not None
        return cls(
            id=j.pair.id,
            prompt=j.pair.prompt,
            chosen=j.pair.response_a,
            rejected=j.pair.response_b,
            z=j.z,
            z_first=j.z_ab,
            z_second=j.z_ba,
            judge=j.judge,
            template=j.template,
            chosen_model=j.pair.model_a,
            rejected_model=j.pair.model_b,
            label={"a": "chosen", "b": "rejected"}.get(j.pair.label or "", j.pair.label),  # type: ignore[arg-type]
            extra=j.pair.extra,
        )
