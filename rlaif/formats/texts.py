"""Conversations as the formats write them: whole lists of messages, transcripts in one text, marked-up prompts."""

from __future__ import annotations

import re
from typing import Any

from rlaif.errors.words import shown
from rlaif.files.conversations import conversation
from rlaif.files.turns_in_text import from_transcript, in_text
from rlaif.formats.base import LeftOut
from rlaif.records import Message, Prompt

__all__ = [
    "from_helpsteer2",
    "from_json_list",
    "from_transcript",
    "one_text",
    "opening",
    "to_helpsteer2",
    "to_transcript",
]

_TURN = re.compile(r"\n\n(Human|Assistant):")
_NAMES = {"Human": "user", "Assistant": "assistant", "User": "user"}
_MARK = re.compile(r"\n<extra_id_1>(User|Assistant)\n")


def opening(prompt: Prompt) -> str:
    """The first thing that the user said."""
    return next((m["content"] for m in conversation(prompt) if m["role"] == "user"), "")


def one_text(prompt: Prompt) -> str:
    """A prompt as one text, for formats that have no messages."""
    turns = conversation(prompt)
    if len(turns) != 1 or turns[0]["role"] != "user":
        raise LeftOut("the prompt is a conversation, and this format holds one text")
    return turns[0]["content"]


def to_transcript(turns: list[Message]) -> str:
    """Messages as one transcript. What would read back as other turns is left out."""
    speakers = {"user": "Human", "assistant": "Assistant"}
    for turn in turns:
        if turn["role"] not in speakers:
            raise LeftOut(f"a transcript has no turn for the role {turn['role']}")
        if _TURN.search(turn["content"]):
            raise LeftOut("a message holds a transcript's turn marker")
    return "".join(f"\n\n{speakers[t['role']]}: {t['content']}" for t in turns)


def from_json_list(text: Any, name: str) -> list[str | None]:
    """The texts of a list that is written in a text (JSON, or as Python prints it), one for each turn; null where a
    turn is missing.

    Raises:
        ValueError: it is no list of texts.
    """
    found = in_text(text)
    are_texts = isinstance(found, list) and bool(found) and all(isinstance(turn, str | None) for turn in found)
    if not are_texts or (" '" in text and ", " not in text):  # as NumPy prints texts, without commas between them
        raise ValueError(f"{name} is {shown(text)}; expected a JSON list of texts, written as a text.")
    return list(found)


def from_helpsteer2(text: Any) -> list[Message]:
    """The messages of HelpSteer2's prompt: the user's turn, then "<extra_id_1>Assistant" and "<extra_id_1>User".

    Raises:
        ValueError: it is no text, or ends with the assistant's turn.
    """
    if not isinstance(text, str):
        raise ValueError(f"prompt is {shown(text)}; expected text.")
    first, *parts = _MARK.split(text)
    turns = [{"role": "user", "content": first}]
    turns += [{"role": _NAMES[who], "content": said} for who, said in zip(parts[::2], parts[1::2], strict=True)]
    if turns[-1]["role"] != "user":
        raise ValueError("prompt ends with '<extra_id_1>Assistant'; expected a user's turn.")
    return turns


def to_helpsteer2(prompt: Prompt) -> str:
    """A prompt as HelpSteer2 writes it."""
    turns = conversation(prompt)
    roles = {t["role"] for t in turns}
    if not roles <= {"user", "assistant"} or turns[0]["role"] != "user" or turns[-1]["role"] != "user":
        raise LeftOut("HelpSteer2's prompts hold turns of user and assistant, the user's first and last")
    if any("<extra_id_1>" in t["content"] for t in turns):
        raise LeftOut("a message holds HelpSteer2's turn marker")
    marked = "".join(f"\n<extra_id_1>{t['role'].capitalize()}\n{t['content']}" for t in turns)
    return marked.removeprefix("\n<extra_id_1>User\n")
