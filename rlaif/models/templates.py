"""What a chat template makes of a conversation, as tokens: its own control tokens, and people's text as text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlaif.errors.words import shown
from rlaif.models.spelling import Spelling, Unrenderable, free_mark
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

    def parts(texts: Sequence[str]) -> list[str]:
        start = written(tokenizer, _filled(messages, texts), add_generation_prompt=True, **kwargs)
        return [start + texts[len(messages)] if after else start]

    texts = [*(m["content"] for m in messages), *([after] if after else [])]
    return _encoded(tokenizer, parts, texts, ("start", _roles(tokenizer, messages), bool(after), _named(kwargs)))[0]


def turn_ids(tokenizer: Any, messages: Sequence[Message], response: str) -> tuple[list[int], list[int]]:
    """The tokens of the generation prompt, (P,), and of all that the template writes after it, (R,)."""
    eos = str(tokenizer.eos_token)

    def parts(texts: Sequence[str]) -> list[str]:
        filled = _filled(messages, texts)
        start = written(tokenizer, filled, add_generation_prompt=True)
        whole = written(tokenizer, [*filled, {"role": "assistant", "content": texts[-1]}])
        if whole.startswith(start):
            return [start, whole[len(start) :]]
        # Some templates render the generation prompt and the finished turn differently (an empty "thinking" block):
        # go on from what the policy will see, so take the response as it is and end it.
        return [start, texts[-1] + eos]

    texts = [*(m["content"] for m in messages), response]
    start, tail = _encoded(tokenizer, parts, texts, ("turn", _roles(tokenizer, messages)))
    return start, tail


def whole_ids(tokenizer: Any, messages: Sequence[Message]) -> list[int]:
    """The tokens of a whole conversation, with nothing added and nothing cut: (T,)."""

    def parts(texts: Sequence[str]) -> list[str]:
        return [written(tokenizer, _filled(messages, texts))]

    return _encoded(tokenizer, parts, [m["content"] for m in messages], ("whole", _roles(tokenizer, messages)))[0]


def left_out(tokenizer: Any, roles: Sequence[str], **kwargs: Any) -> list[int]:
    """Which turns of a conversation with these roles the template leaves out before an answer comes; [] if refused."""
    messages: list[Message] = [{"role": role, "content": ""} for role in roles]

    def parts(texts: Sequence[str]) -> list[str]:
        return [written(tokenizer, _filled(messages, texts), add_generation_prompt=True, **kwargs)]

    probe = _probe(tokenizer, parts, len(roles), ("start", tuple(roles), False, _named(kwargs)))
    return [] if probe is None else list(probe.missing)


def _encoded(tokenizer: Any, parts: Parts, texts: Sequence[str], key: Any) -> list[list[int]]:
    """The tokens of each part of a conversation of `texts`; `key` tells one way of writing and its roles from others.

    Where no text spells a control token, and the template writes as many as it does around neutral texts, they are the
    tokenizer's own of the template's text. Else the texts are marked, and what is not marked is the template's.
    """
    spelling = Spelling.of(tokenizer)
    plain = parts(texts)
    spelled = any(map(spelling.found, texts))
    probe = _probe(tokenizer, parts, len(texts), key)
    wanted = None if probe is None else probe.count
    if not spelled and wanted in (None, sum(map(spelling.count, plain))):
        return [_own(tokenizer, part) for part in plain]
    mark = free_mark([*texts, *plain])
    marked = parts([spelling.shattered(text, mark) for text in texts])
    if spelled:
        broken = parts([spelling.broken(text, mark) for text in texts])
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


def _probe(tokenizer: Any, parts: Parts, count: int, key: Any) -> _Probe | None:
    """The probe of one way of writing, made once; None where the template refuses neutral texts."""
    spelling = Spelling.of(tokenizer)
    key = (str(tokenizer.chat_template), *key)
    if key not in spelling.probes:
        texts = [f"neutral{number}text" for number in range(1000, 1000 + count)]
        try:
            done = parts(texts)
        except Unrenderable:
            spelling.probes[key] = None
        else:
            missing = tuple(at for at, text in enumerate(texts) if text not in "".join(done).casefold())
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


def _named(kwargs: Mapping[str, Any]) -> str:
    return repr(sorted(kwargs.items()))
