r"""Turns that are written into one text: a program would take them for what somebody said.

Tables (CSV, Parquet from a data frame) and arenas keep conversations as JSON, or as Python prints lists. A response
alone may well be JSON that was asked for; what is refused is a prompt that is messages, two responses that both are,
and an arena's prompt and two responses that all are lists of texts.

A prompt like "\n\nHuman: ...\n\nAssistant:" is one of hh-rlhf's transcripts (2204.05862), and is read as its turns. A
prompt that begins with another template's markup, or ends in its opening of the assistant's turn, is refused: the
model's own template comes around it, and markup in a text is text.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

from rlaif.errors.words import shown
from rlaif.records import Message, check_messages

__all__ = ["check_no_turns_in_text", "from_transcript", "in_text", "transcript_prompt"]

_ARENA = ("prompt", "response_a", "response_b")
_SIDES = (("chosen", "rejected"), ("response_a", "response_b"))
_PROMPTS = ("prompt", "instruction", "question", "query", "problem", "input")
_TURN = re.compile(r"\n\n(Human|Assistant):")
_NAMES = {"Human": "user", "Assistant": "assistant"}
# How templates open the assistant's turn. A plain "Assistant:" or "### Response:" is anybody's text.
_OPENING = re.compile(
    r"(<\|im_start\|>\s*assistant|<\|start_header_id\|>\s*assistant\s*<\|end_header_id\|>|<start_of_turn>\s*model|"
    r"<\|assistant\|>|<\|start\|>\s*assistant|<｜Assistant｜>|\[INST\].*\[/INST\])\s*\Z",
    re.DOTALL,
)
# How they open a conversation, behind the token that begins a text.
_BEGINNING = re.compile(
    r"\s*(<s>|<bos>|<\|begin_of_text\|>|<｜begin▁of▁sentence｜>)?\s*"
    r"(<\|im_start\|>\s*(system|user|assistant)\s|<\|start_header_id\|>\s*(system|user|assistant)\s*<\|end_header_id\|>|"
    r"<start_of_turn>\s*(user|model)\s|<\|(system|user)\|>\s|<｜User｜>)",
)


def check_no_turns_in_text(row: Mapping[str, Any], used: Iterable[str] = ()) -> None:
    """A ValueError for a row whose columns hold turns in one text, but for those that are `used`."""
    asked = _PROMPTS if row.get("prompt") is None else _PROMPTS[:1]
    names = (*asked, *_SIDES[0], *_SIDES[1])
    texts = {name: row[name] for name in names if isinstance(row.get(name), str) and name not in {*used}}
    found = {name: value for name, text in texts.items() if (value := in_text(text)) is not None}
    if all(_is_list_of_texts(found.get(name)) for name in _ARENA):
        raise ValueError(
            f"{', '.join(_ARENA)} are lists written as texts ({shown(row['prompt'])}), one entry a turn, as an arena "
            "publishes them in JSON; expected texts or messages. `rlaif convert` reads such rows."
        )
    talks = {name for name, value in found.items() if _is_talk(value)}
    for together in (*((name,) for name in asked), *_SIDES):
        if talks.issuperset(together):
            raise ValueError(
                f"{' and '.join(together)} hold{'s' * (len(together) == 1)} messages written as one text "
                f"({shown(row[together[0]])}); expected a list of messages. Parse the text first."
            )
    for name in asked:
        text = texts.get(name, "")
        if opened := _BEGINNING.match(text):
            where = f"begins with {shown(opened[0].strip()[:40])}"
        elif opened := _OPENING.search(text[-_LONGEST:]):
            where = f"ends in {shown(opened[0].strip()[-40:])}"
        if opened:
            raise ValueError(
                f"{name} {where}, the markup of a chat template, which would be text "
                "within the model's own template; expected messages, or the text without markup."
            )


_LONGEST = 20_000  # characters of a prompt's end that are searched for markup


def in_text(text: Any) -> Any:
    """The list or object that a text is, in JSON or as Python or NumPy print it; None for any other text."""
    if not isinstance(text, str) or (text := text.strip())[:1] + text[-1:] not in ("[]", "{}"):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    if "'" not in text and '"' not in text:
        return None  # no text and no message in it
    for written in (text, re.sub(r"\}\s*\n\s*\{", "}, {", text)):  # NumPy prints no commas
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a backslash that Python knows no meaning of
                return ast.literal_eval(written)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return None


def _is_list_of_texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(turn is None or isinstance(turn, str) for turn in value)


def _is_talk(value: Any) -> bool:
    """Whether this is messages, or one message."""
    turns = value if isinstance(value, list) else [value]
    return bool(turns) and all(map(_is_message, turns))


def _is_message(turn: Any) -> bool:
    return isinstance(turn, Mapping) and ({"role", "content"} <= {*turn} or {"from", "value"} <= {*turn})


def from_transcript(text: Any, name: str) -> list[Message]:
    r"""The messages of a text like "\n\nHuman: ...\n\nAssistant: ...", which ends with the assistant's turn.

    Raises:
        ValueError: it is no such text.
    """
    if not isinstance(text, str):
        raise ValueError(f"{name} is {shown(text)}; expected one transcript.")
    before, *parts = _TURN.split(text)
    if before or not parts:
        raise ValueError(f"{name} is {shown(text)}; expected a transcript that begins with an empty line and Human:.")
    if parts[-2] != "Assistant":
        raise ValueError(f"{name} ends with no turn of the Assistant; expected the response as the last turn.")
    return [
        {"role": _NAMES[who], "content": said.removeprefix(" ")}
        for who, said in zip(parts[::2], parts[1::2], strict=True)
    ]


def transcript_prompt(text: str) -> list[Message] | None:
    r"""The turns of a transcript that is a prompt; None for another text.

    That is "\n\nHuman: ...\n\nAssistant:", whose last turn is to be written, also without the first empty line; and
    "\n\nHuman: ...\n\nAssistant: ...\n\nHuman: ...", which ends with the human's turn.
    """
    stripped = text.strip()
    if stripped.startswith("Human:") and stripped.endswith("\n\nAssistant:"):
        *turns, _ = from_transcript(f"\n\n{stripped}", "prompt")
    elif text.startswith("\n\nHuman:") and {*(who := _TURN.findall(text))} == {*_NAMES} and who[-1] == "Human":
        turns = from_transcript(f"{text}\n\nAssistant:", "prompt")[:-1]
    else:
        return None
    return check_messages(turns, "prompt")
