"""What a chat template makes of a conversation, as tokens: its own control tokens, and people's text as text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rlaif.errors.words import shown
from rlaif.models.spelling import Spelling, Unrenderable, free_mark
from rlaif.models.template_thoughts import Tags, Thought, keeps
from rlaif.records import Message

__all__ = ["left_out", "start_ids", "turn_ids", "whole_ids", "written"]

Parts = Callable[[Sequence[str]], list[str]]
"""From the texts of a conversation to what the template writes, in parts that are encoded apart."""


def written(tokenizer: Any, messages: Sequence[Message], **kwargs: Any) -> str:
    """The chat template's text of `messages`; an `Unrenderable` with its own words where it refuses them."""
    given: list[Any] = list(messages)
    if _takes_parts(tokenizer):
        given = [{**message, "content": [{"type": "text", "text": message["content"]}]} for message in messages]
    return _applied(tokenizer, given, **kwargs)


def _takes_parts(tokenizer: Any) -> bool:
    """Whether the template writes content that is a list of parts (of models that see), and not one that is a text."""
    known, template = Spelling.of(tokenizer).probes, (str(tokenizer.chat_template), "parts")
    if template not in known:
        known[template] = False
        for content in ("neutral text", [{"type": "text", "text": "neutral text"}]):
            try:
                if "neutral text" in _applied(tokenizer, [{"role": "user", "content": content}]).casefold():
                    known[template] = isinstance(content, list)
                    break
            except Unrenderable:
                continue
    return bool(known[template])


def _applied(tokenizer: Any, messages: list[Any], **kwargs: Any) -> str:
    try:
        return str(tokenizer.apply_chat_template(messages, tokenize=False, **kwargs))
    except Exception as error:  # a template is a program of others: what it raises is of any class
        words = " ".join(str(error).split())[:200] or type(error).__name__
        raise Unrenderable(f"the chat template refuses the conversation: {words}") from None


def start_ids(tokenizer: Any, messages: Sequence[Message], after: str = "", **kwargs: Any) -> list[int]:
    """The tokens that a model goes on from, with `after` as the beginning of its answer: shape (P,).

    Args:
        tokenizer: with a chat template.
        messages: the conversation, of which an answer comes next.
        after: encoded in one piece with what the template writes last.
        kwargs: the template's.
    """
    texts = [*(m["content"] for m in messages), *([after] if after else [])]
    parts = _start(tokenizer, messages, bool(after), **kwargs)
    thoughts = _thoughts(tokenizer, messages, texts)
    return _encoded(tokenizer, parts, texts, thoughts, ("start", _roles(tokenizer, messages), bool(after), kwargs))[0]


def turn_ids(tokenizer: Any, messages: Sequence[Message], response: str) -> tuple[list[int], list[int]]:
    """The tokens of the generation prompt, (P,), and of all that the template writes after it, (R,)."""
    texts = [*(m["content"] for m in messages), response]
    thoughts = _thoughts(tokenizer, messages, texts)
    parts = _turn(tokenizer, messages, thoughts[-1])
    start, tail = _encoded(tokenizer, parts, texts, thoughts, ("turn", _roles(tokenizer, messages)))
    return start, tail


def whole_ids(tokenizer: Any, messages: Sequence[Message]) -> list[int]:
    """The tokens of a whole conversation, with nothing added and nothing cut: (T,)."""
    texts = [m["content"] for m in messages]
    thoughts = _thoughts(tokenizer, messages, texts)
    return _encoded(tokenizer, _whole(tokenizer, messages), texts, thoughts, ("whole", _roles(tokenizer, messages)))[0]


def left_out(
    tokenizer: Any, roles: Sequence[str], way: Literal["start", "turn", "whole"] = "start", **kwargs: Any
) -> list[int]:
    """Which turns of a conversation with these roles the template leaves out; [] if it refuses the conversation.

    Args:
        tokenizer: with a chat template.
        roles: of its turns.
        way: of writing it: as in `start_ids`, in `turn_ids` (the last turn is the response) or in `whole_ids`.
        kwargs: the template's.
    """
    messages: list[Message] = [{"role": role, "content": ""} for role in roles]
    none: list[Thought | None] = [None] * len(roles)
    key: tuple[Any, ...] = ("start", tuple(roles), False, kwargs)
    parts = _start(tokenizer, messages, False, **kwargs)
    if way == "turn":
        parts, key = _turn(tokenizer, messages[:-1], None), ("turn", tuple(roles[:-1]))
    elif way == "whole":
        parts, key = _whole(tokenizer, messages), ("whole", tuple(roles))
    probe = _probe(tokenizer, parts, none, key)
    return [] if probe is None else list(probe.missing)


def _start(tokenizer: Any, messages: Sequence[Message], after: bool, **kwargs: Any) -> Parts:
    def parts(texts: Sequence[str]) -> list[str]:
        start = written(tokenizer, _filled(messages, texts), add_generation_prompt=True, **kwargs)
        return [start + texts[len(messages)] if after else start]

    return parts


def _turn(tokenizer: Any, messages: Sequence[Message], thought: Thought | None) -> Parts:
    """The generation prompt and what follows; `thought` is the response's."""
    eos, tags = str(tokenizer.eos_token), Tags.of(tokenizer, written) if thought else None

    def parts(texts: Sequence[str]) -> list[str]:
        filled = _filled(messages, texts)
        start = written(tokenizer, filled, add_generation_prompt=True)
        whole = written(tokenizer, [*filled, {"role": "assistant", "content": texts[-1]}])
        response = tags.after(start, texts[-1]) if tags else texts[-1]
        if whole.startswith(start):
            tail = whole[len(start) :]
            # Some templates leave out the thought of a finished turn, which a policy wrote all the same.
            if keeps(tail, response):
                return [start, tail]
        # Some templates render the generation prompt and the finished turn differently (an empty "thinking" block):
        # go on from what the policy will see, so take the response as it is and end it.
        return [start, response + eos]

    return parts


def _whole(tokenizer: Any, messages: Sequence[Message]) -> Parts:
    def parts(texts: Sequence[str]) -> list[str]:
        return [written(tokenizer, _filled(messages, texts))]

    return parts


def _thoughts(tokenizer: Any, messages: Sequence[Message], texts: Sequence[str]) -> list[Thought | None]:
    """Of each text the thought that the template reads there: in the assistant's turns, and in what follows them."""
    if not any("/" in text and Spelling.of(tokenizer).found(text) for text in texts):
        return [None] * len(texts)
    tags = Tags.of(tokenizer, written)
    roles = [*(message["role"] for message in messages), *["assistant"] * (len(texts) - len(messages))]
    return [
        tags.thought(text) if tags is not None and role == "assistant" else None
        for role, text in zip(roles, texts, strict=True)
    ]


def _encoded(
    tokenizer: Any, parts: Parts, texts: Sequence[str], thoughts: Sequence[Thought | None], key: Any
) -> list[list[int]]:
    """The tokens of each part of a conversation of `texts`; `key` tells one way of writing and its roles from others.

    Where no text spells a control token, and the template writes as many as it does around neutral texts, they are the
    tokenizer's own of the template's text. Else the texts are marked, and what is not marked is the template's: the
    tags of `thoughts` too.
    """
    spelling = Spelling.of(tokenizer)

    def changed(change: Callable[[str, str], str]) -> list[str]:
        return [
            thought.each(lambda part: change(part, mark)) if thought else change(text, mark)
            for text, thought in zip(texts, thoughts, strict=True)
        ]

    plain = parts(texts)
    said = [
        part for text, thought in zip(texts, thoughts, strict=True) for part in (thought.texts if thought else [text])
    ]
    spelled = any(map(spelling.found, said))
    probe = _probe(tokenizer, parts, thoughts, key)
    wanted = None if probe is None else probe.count
    if not spelled and wanted in (None, sum(map(spelling.count, plain))):
        return [_own(tokenizer, part) for part in plain]
    mark = free_mark([*texts, *plain])
    marked = parts(changed(spelling.shattered))
    if spelled:
        broken = parts(changed(spelling.broken))
        plain = [spelling.unmarked(part, mark) for part in broken]
        # A template that reads its texts may write another thing for shattered ones.
        if [spelling.unmarked(part, mark) for part in marked] != plain:
            marked = broken
            if wanted not in (None, sum(map(spelling.count, broken))):
                raise Unrenderable(
                    "a text spells a control token, and the chat template writes other tokens around it than around "
                    "other texts; take the spelling out."
                )
    elif [spelling.unmarked(part, mark) for part in marked] != plain:
        return [_own(tokenizer, part) for part in plain]
    return [spelling.encode(tokenizer, part, mark) for part in marked]


@dataclass(frozen=True)
class _Probe:
    """What a template does with neutral texts: the control tokens that it writes, and the turns that it leaves out."""

    count: int
    missing: tuple[int, ...]


def _probe(tokenizer: Any, parts: Parts, thoughts: Sequence[Thought | None], key: Any) -> _Probe | None:
    """The probe of one way of writing, made once; None where the template refuses neutral texts.

    Each text is neutral, with a thought of the same pattern where there is one of `thoughts`.
    """
    spelling = Spelling.of(tokenizer)
    key = (str(tokenizer.chat_template), repr(key), *(thought and thought.pattern for thought in thoughts))
    if key not in spelling.probes:
        words = [f"neutral{number}text" for number in range(1000, 1000 + len(thoughts))]
        try:
            done = parts([t.neutral(word) if t else word for t, word in zip(thoughts, words, strict=True)])
        except Unrenderable:
            spelling.probes[key] = None
        else:
            missing = tuple(at for at, word in enumerate(words) if word not in "".join(done).casefold())
            spelling.probes[key] = _Probe(sum(map(spelling.count, done)), missing)
    known: _Probe | None = spelling.probes[key]
    return known


def _own(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def _filled(messages: Sequence[Message], texts: Sequence[str]) -> list[Message]:
    return [{**message, "content": text} for message, text in zip(messages, texts, strict=False)]


def _roles(tokenizer: Any, messages: Sequence[Message]) -> tuple[str, ...]:
    """Who speaks; an `Unrenderable` where a role spells a control token. (A template may make one of a role's name.)"""
    roles = tuple(message["role"] for message in messages)
    spelled = next(filter(Spelling.of(tokenizer).found, sorted(set(roles))), None)
    if spelled is not None:
        raise Unrenderable(f"the role {shown(spelled)} spells a control token; rename it.")
    return roles
