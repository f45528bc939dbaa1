"""What a row says: its prompt, its responses and its system turn, read alike by every program.

The prompt of a row, by the first of these that it has:

    1. where two responses (or `chosen` and `rejected`, of a row that is read for its prompt) are whole conversations,
       what both begin with; a `prompt` column beside them must agree: a text is one of the user's turns, or the system
       turn, or holds all turns in order; messages are the same
    2. `prompt`: a text, messages that do not end in the assistant's turn, or a transcript of hh-rlhf; where `messages`
       (3) stand beside it they are the prompt, and it must agree with them as above
    3. `messages`, `conversations` or `conversation`: messages, without the assistant's last turn, which is a response
    4. `instruction`, `question`, `query` or `problem`, and after an empty line `input` or `context`, where that is not
       empty
    5. `input` alone, or a `context` of messages

A `system`, `system_prompt` or `system_message` column is the system turn in front of it: the first that is not null. A
row that has such a column has messages for its prompt, also where the turn is empty. A conversation that begins with
that turn already stays as it is; with another one the row is refused.

Messages are {"role", "content"} or ShareGPT's {"from", "value"}, in ShareGPT's or the usual names of roles; a response
is a text, one assistant message or a whole conversation that ends with one. What text cannot carry (tools, tool calls,
images, ...) is refused by its name wherever it stands, in a column or a message; so are turns in a `history` column, a
system turn in a column of another spelling (`System`, `sys_prompt`), and what another column that may be of the prompt
(`question`, `instruction`, `input`, `context`, messages, a `dialog`) says and the prompt does not hold. All other
columns say nothing about the prompt and are carried along; other fields of a message (a name, a time) are not, and a
run says which there were. What some data sets write in other shapes (LIMA, Capybara, hh-rlhf) is read by
`rlaif.files.shapes`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rlaif.errors.words import shown
from rlaif.files.shapes import ASKS, TURNS, usual
from rlaif.files.turns_in_text import check_no_turns_in_text, in_text, transcript_prompt
from rlaif.records import (
    BEYOND_TEXT,
    ROLES,
    Message,
    Prompt,
    check_message,
    check_messages,
    check_prompt,
    check_text,
    says_nothing,
)

__all__ = [
    "SYSTEM",
    "TURNS",
    "check_held",
    "check_meaning",
    "conversation",
    "fields_beside",
    "messages",
    "other_columns",
    "prompt_columns",
    "prompt_of",
    "response_text",
    "responses_of",
    "sides_of",
    "turns_of",
    "whole_of",
    "with_answer",
    "with_system",
]

SYSTEM = ("system", "system_prompt", "system_message")


def messages(value: Any, name: str) -> list[Message]:
    """`value` as messages, called `name` in a ValueError; also ShareGPT's {"from", "value"}, and one message alone."""
    if isinstance(value, Mapping):
        return [check_message(_from_sharegpt(value, name), name)]
    if not isinstance(value, list):
        wanted = "a list of messages" if name in TURNS else "text or a list of messages"
        raise ValueError(f"{name} is {shown(value)}; expected {wanted}.")
    return check_messages([_from_sharegpt(turn, f"{name}[{at}]") for at, turn in enumerate(value)], name)


def _from_sharegpt(turn: Any, name: str) -> Any:
    if not isinstance(turn, Mapping) or turn.get("role") is not None or not isinstance(turn.get("from"), str):
        return turn
    if turn["from"].strip().lower() not in ROLES:
        raise ValueError(
            f"{name}.from is {shown(turn['from'])}; expected human, gpt or system. Write the turn into another one's "
            "text, or leave the row out."
        )
    return {**turn, "role": turn["from"], "content": turn.get("value")}


def turns_of(value: Any, name: str) -> list[Message]:
    """A response as what stands before it and the response itself, the last turn: a text, a message or a whole
    conversation. A ValueError where the last turn is not the assistant's."""
    if isinstance(value, str):
        return [{"role": "assistant", "content": check_text(value, name)}]
    if value is None or not isinstance(value, list | Mapping):
        raise ValueError(f"{name} is {shown(value)}; expected text or a list of messages.")
    found = messages(value, name)
    if found[-1]["role"] != "assistant":
        raise ValueError(f"{name} ends with the role {shown(found[-1]['role'])}; expected an assistant turn.")
    return found


def response_text(value: Any, name: str) -> str:
    """The text of a response that stands alone: itself, or its one assistant message.

    Raises:
        ValueError: it is anything else.
    """
    turns = turns_of(value, name)
    if len(turns) > 1:
        raise ValueError(
            f"{name} holds the roles {', '.join(turn['role'] for turn in turns)}; expected one assistant message. Put "
            "the turns before it into the prompt."
        )
    return turns[0]["content"]


def conversation(prompt: Prompt) -> list[Message]:
    """A prompt as messages: a string is what the user said."""
    return [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt


def with_answer(prompt: Prompt, response: str) -> list[Message]:
    """The whole conversation, response included."""
    return [*conversation(prompt), {"role": "assistant", "content": response}]


def system_of(row: Mapping[str, Any]) -> str | None:
    """The row's system turn by its own column, "" for an empty one; None where it has no such column.

    Raises:
        ValueError: there are two of them, or it is no text.
    """
    there = [name for name in SYSTEM if name in row]
    if not there:
        return None
    said = {name: row[name] for name in there if row[name] is not None}
    for name, value in said.items():
        if not isinstance(value, str):
            raise ValueError(f"{name} is {shown(value)}; expected the text of the system turn, or null.")
        check_text(value, name)
    texts = {value for value in said.values() if value.strip()}
    if len(texts) > 1:
        raise ValueError(f"the row has two system turns, in {' and '.join(said)}; expected one. Remove a column.")
    return next(iter(texts), "")


def with_system(prompt: Prompt, row: Mapping[str, Any]) -> Prompt:
    """`prompt` behind the system turn of the row's own column; itself where the row has none.

    Raises:
        ValueError: the conversation has another system turn.
    """
    system = system_of(row)
    if system is None:
        return prompt
    turns = conversation(prompt)
    if not system.strip():
        return turns
    if turns[0]["role"] != "system":
        return [{"role": "system", "content": system}, *turns]
    if turns[0]["content"].strip() != system.strip():
        raise ValueError(
            f"the system turn is {shown(system)} in its column and {shown(turns[0]['content'])} in the conversation; "
            "expected one. Remove the wrong one."
        )
    return turns


def prompt_of(row: Mapping[str, Any]) -> Prompt:
    """The prompt of a row that stands for itself, behind its system turn; a ValueError without one."""
    row = usual(row)
    check_meaning(row)
    if all(_is_whole(row.get(name)) for name in _PREFERRED):
        try:
            return sides_of(row)[0]
        except ValueError:
            if not _asking(row):
                raise
            # The sides do not agree. Other rows of the file have messages, and all prompts are of one kind.
            return conversation(check_held(with_system(_asked(row), row), row, _asking(row)))
    return check_held(with_system(_asked(row), row), row, _asking(row))


_PREFERRED = ("chosen", "rejected")


def _is_whole(value: Any) -> bool:
    """Whether a response is a whole conversation."""
    return isinstance(value, list) and len(value) > 1 and all(isinstance(turn, Mapping) for turn in value)


def prompt_columns(row: Mapping[str, Any]) -> tuple[str, ...]:
    """The columns that `prompt_of` makes the row's prompt of, the system turn's among them."""
    there = (name for name in ("prompt", *SYSTEM) if name in row)
    return tuple(dict.fromkeys((*_asking(usual(row)), *there)))


def other_columns(row: Mapping[str, Any], names: Sequence[str] = ("chosen", "rejected")) -> dict[str, Any]:
    """The columns that `sides_of` makes nothing of, by the source's names."""
    whole = any(isinstance(row.get(name), list) and len(row[name]) > 1 for name in names)
    used = {*names, *SYSTEM, *(("prompt",) if whole else _asking(row))}
    return {name: value for name, value in row.items() if name not in used}


def _asking(row: Mapping[str, Any], but: Sequence[str] = ()) -> tuple[str, ...]:
    """The columns of the row's prompt, without the system turn's; none where it has none."""
    names = [name for name in ("prompt", *TURNS, *ASKS, "input") if name not in but]
    names += [name for name in ("context",) if isinstance(row.get(name), list) and name not in but]
    first = next((name for name in names if row.get(name) is not None), None)
    if first in ASKS:
        return (first, *(name for name in ("input", "context") if row.get(name) is not None and name not in but))
    return () if first is None else (first,)


def _asked(row: Mapping[str, Any], but: Sequence[str] = ()) -> Prompt:
    names = _asking(row, but)
    if not names:
        if "prompt" in row:
            raise ValueError("prompt is null; expected a value. Remove the row or fill it in.")
        raise ValueError(
            "the row has no 'prompt'; expected prompt, messages, conversations, instruction, question, query or "
            f"problem, got {_names(row)}. Rename or add the column."
        )
    if names[0] in TURNS:
        return check_prompt(_answered(row, names[0]))
    if names[0] == "prompt":
        return _prompt(row, but)
    if names[0] in ("input", "context") and isinstance(row[names[0]], list):
        return check_prompt(_asking_messages(row[names[0]], names[0]))
    for name in names:
        if not isinstance(row[name], str):
            raise ValueError(f"{name} is {shown(row[name])}; expected text.")
    return check_prompt("\n\n".join(row[name] for name in names if row[name].strip()))


def _prompt(row: Mapping[str, Any], but: Sequence[str]) -> Prompt:
    """The prompt of a row that has a column of that name: its own, or that of the messages beside it."""
    value = row["prompt"]
    if beside := _turns_beside(row, but):
        turns = _answered(row, beside[0])
        # Responses answer the last one.
        asked = [turn for turn in turns if turn["role"] == "user"][-1:] if but else None
        return check_prompt(_agreeing(turns, value, beside[0], asked))
    if isinstance(value, str):
        found = transcript_prompt(value) or value
        # Other rows of the file have messages there, and all prompts are of one kind.
        lacks = any(name in row and row[name] in (None, []) for name in TURNS if name not in but)
        return check_prompt(conversation(found) if lacks else found)
    return check_prompt(_asking_messages(value, "prompt"))


def _asking_messages(value: Any, name: str) -> list[Message]:
    """Messages that do not end in the assistant's turn."""
    found = messages(value, name)
    if found[-1]["role"] == "assistant":
        raise ValueError(
            f"{name} ends with the assistant's turn, and a response would be a second one; expected what is answered. "
            "Call the column `messages` if its last turn is the response, or take that turn out."
        )
    return found


def _turns_beside(row: Mapping[str, Any], but: Sequence[str]) -> list[str]:
    """The columns of messages that a row has beside its prompt."""
    there = {name: row.get(name) for name in TURNS if name not in but}
    return [
        name for name, turns in there.items() if isinstance(turns, list) and turns and isinstance(turns[0], Mapping)
    ]


def _answered(row: Mapping[str, Any], name: str) -> list[Message]:
    """The turns of a column without the assistant's last one."""
    turns = messages(row[name], name)
    turns = turns[:-1] if turns[-1]["role"] == "assistant" else turns
    if not turns:
        raise ValueError(f"{name} holds no turn but the assistant's; expected what it answers.")
    return turns


def check_held(prompt: Prompt, row: Mapping[str, Any], used: Sequence[str] = ()) -> Prompt:
    """`prompt` itself; a ValueError where another column of the row may be a part of it, and does not stand in it.

    Args:
        prompt: what was read of the row.
        row: its columns.
        used: those that the prompt was made of, or that are known to be something else.
    """
    said: str | None = None
    for name, value in usual(row).items():
        if name in used or not _may_be_asked(name, value):
            continue
        said = said or _words(" ".join(turn["content"] for turn in conversation(prompt)))
        if any(not says_nothing(text) and _words(text) not in said for text in _asking_texts(value)):
            joins = ", call the prompt `instruction` to have both joined" * (name in ("input", "context"))
            raise ValueError(
                f"the row has {name} ({shown(value)}) beside its prompt, which does not hold it; expected it in the "
                f"prompt. Write it there{joins}, or rename {name}."
            )
    return prompt


_PARTS = ("instruction", "question", "input", "context")
_TALKS = re.compile(r"(^|_)(history|dialogs?|dialogues?|trajectory|(previous|past)_(turns|messages))(_|$)")


def _may_be_asked(name: Any, value: Any) -> bool:
    """Whether a column may hold a part of the prompt: by its name, whatever its capitals, and by what it is."""
    lower = str(name).strip().lower()
    if isinstance(value, str):
        return lower in _PARTS
    return isinstance(value, list | Mapping) and (lower in (*_PARTS, *TURNS) or _TALKS.search(lower) is not None)


def _asking_texts(value: Any) -> Iterator[str]:
    """The texts of a column, without an assistant's last turn: that is a response."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | tuple):
        for at, one in enumerate(value, 1):
            if at < len(value) or not (isinstance(one, Mapping) and _role(one) == "assistant"):
                yield from _asking_texts(one)
    elif isinstance(value, Mapping):
        yield from _asking_texts([one for name, one in value.items() if _role(value) is None or name in _SAID])


_SAID = ("content", "value", "text")


def _role(turn: Mapping[str, Any]) -> str | None:
    """Who says a message; None for another object."""
    name = turn.get("role") or turn.get("from")
    return ROLES.get(name.strip().lower(), name) if isinstance(name, str) else None


def sides_of(row: Mapping[str, Any], names: Sequence[str] = ("chosen", "rejected")) -> tuple[Prompt, str, str]:
    """The prompt and the two responses of a row, in the columns called `names`: see `responses_of`."""
    prompt, (first, second) = responses_of(row, names)
    return prompt, first, second


def responses_of(row: Mapping[str, Any], names: Sequence[str]) -> tuple[Prompt, list[str]]:
    """The prompt and the responses of a row.

    Args:
        row: its columns.
        names: the columns of the responses, one or two.

    Raises:
        ValueError: a column is missing or says something else than another one; what text cannot carry.
    """
    row = usual(row)
    check_meaning(row)
    before: list[list[Message]] = []
    texts: list[str] = []
    for name in names:
        if row.get(name) is None:
            missing = f"{name} is null" if name in row else f"the row has no {name!r}"
            raise ValueError(f"{missing}; expected a prompt with {' and '.join(names)}, got {_names(row)}.")
        *turns, last = turns_of(row[name], name)
        texts.append(last["content"])
        if turns:
            before.append(turns)
    if not before:
        if isinstance(row.get("prompt"), str) and transcript_prompt(row["prompt"]) is not None:
            texts = [text.removeprefix("\n\nAssistant:").removeprefix(" ") for text in texts]
        return check_held(with_system(_asked(row, names), row), row, (*names, *_asking(row, names))), texts
    if before[0] != before[-1]:
        raise ValueError(
            f"{' and '.join(names)} begin with different conversations; expected two responses to one prompt. Remove "
            "the row."
        )
    # A text beside a whole conversation answers the last one.
    asked = [turn for turn in before[0] if turn["role"] == "user"][-1:] if len(before) < len(names) else None
    turns = _agreeing(before[0], row.get("prompt"), names[0], asked)
    for name in _turns_beside(row, names):
        turns = _agreeing(turns, _answered(row, name), names[0], called=name)
    return check_held(with_system(check_prompt(turns), row), row, names), texts


def whole_of(row: Mapping[str, Any], name: str) -> list[Message]:
    """The whole conversation of a row's column, behind the system turn of its own column; it ends in the assistant's
    turn, and a `prompt` column agrees."""
    row = usual(row)
    check_meaning(row)
    *turns, last = turns_of(row[name], name)
    if not turns:
        return [last]
    whole = [*conversation(with_system(_agreeing(turns, row.get("prompt"), name), row)), last]
    check_held(whole, row, (name,))
    return whole


def _agreeing(
    turns: list[Message], prompt: Any, name: str, asked: Sequence[Message] | None = None, called: str = "prompt"
) -> list[Message]:
    """`turns`, which the column `name` begins with, where a column that is `called` so says the same; with its system
    turn, if that is the only one. A text must be one of the turns in `asked` (the user's, and the system's), or the
    whole."""
    if prompt is None:
        return turns
    if isinstance(prompt, str):
        words = _words(prompt)
        said_of_all = [turn for turn in turns if turn["role"] in ("user", "system")]
        if any(_words(turn["content"]) == words for turn in (said_of_all if asked is None else asked)):
            return turns
        spoken = [turn for turn in turns if turn["role"] != "system"]
        if _is_marked_up(prompt, turns) or _is_marked_up(prompt, spoken):
            return turns
        prompt = transcript_prompt(prompt) or prompt
    if not isinstance(prompt, str):
        said = messages(prompt, called)
        systems = [one[0] for one in (said, turns) if one[0]["role"] == "system"]
        bare = [one[1:] if one[0]["role"] == "system" else one for one in (said, turns)]
        if bare[0] == bare[1] and all(system == systems[0] for system in systems):
            return [*systems[:1], *bare[1]]
    raise ValueError(
        f"{called} is {shown(prompt)}, which {name}, a whole conversation, does not begin with; expected the same "
        "prompt in both. Remove the wrong one."
    )


def _words(text: str) -> str:
    return " ".join(text.split())


_MARKUP = re.compile(r"<[^<>]*>|\[/?\w+\]|\b(user|human|assistant|model|system|prompt|response)\b", re.IGNORECASE)


def _is_marked_up(text: str, turns: Sequence[Message]) -> bool:
    """Whether a text holds all turns in order and, beside them, nothing but a template's markup."""
    rest, left = _words(text), []
    for turn in turns:
        before, found, rest = rest.partition(_words(turn["content"])) if turn["content"].strip() else ("", " ", rest)
        if not found:
            return False
        left.append(before)
    return re.search(r"\w", _MARKUP.sub("", " ".join([*left, rest]))) is None


def check_meaning(row: Mapping[str, Any], used: Iterable[str] = ()) -> None:
    """A ValueError for a column that says what text cannot carry (tools, images), but for those that are `used`; and
    for turns that are written into texts."""
    for name, value in row.items():
        if str(name).strip().lower() in BEYOND_TEXT and name not in used and not says_nothing(value):
            raise ValueError(
                f"the row has {name} ({shown(value)}), which text cannot carry; expected a conversation of texts. "
                "Leave the row out, write it into the prompt, or rename a column that means something else."
            )
    history = row.get("history")
    turns = in_text(history) if isinstance(history, str) else history
    if "history" not in used and isinstance(turns, list) and not says_nothing(turns):
        raise ValueError(
            f"history is {shown(history)}, turns before the prompt; expected them in the prompt. Write the prompt as "
            "messages, or rename a column that means something else."
        )
    for name, value in row.items():
        is_one = name not in (*SYSTEM, *used) and _SYSTEM.fullmatch(str(name).strip().lower())
        if is_one and isinstance(value, str) and not says_nothing(value):
            raise ValueError(
                f"the row has {name} ({shown(value)}), a system turn by its name; expected that in a column called "
                "system. Rename it, also where it means something else."
            )
    check_no_turns_in_text(row, used)


_SYSTEM = re.compile(r"(system|sys)([ _-]?(prompt|message|msg|instructions?|text|content|turn))?")


def fields_beside(row: Mapping[str, Any]) -> set[str]:
    """The fields of a row's messages that no reader makes anything of: a name, a time, a language."""
    found: set[str] = set()
    for column in (*_HOLDING_TURNS, *TURNS):
        value = row.get(column)
        for turn in value if isinstance(value, list) else [value]:
            if isinstance(turn, Mapping) and len(turn) > 2 and ("role" in turn or "from" in turn):
                found |= {str(k) for k, v in turn.items() if k not in _FIELDS and not says_nothing(v)}
    return found


_HOLDING_TURNS = ("prompt", "chosen", "rejected", "response_a", "response_b", "response", "completion")
_FIELDS = ("role", "content", "from", "value", "weight", "train", "training", "loss")


def _names(row: Mapping[str, Any]) -> str:
    return ", ".join(str(name) for name in row).encode("utf-8", "replace").decode()
