"""Thoughts at the head of an assistant's turn ("<think>...</think>") that a chat template reads as markup of its own.

Such a template takes the thought out of the text and writes it again between its own tokens, or leaves it out of turns
that came earlier. A policy wrote the same tokens, and its text shows them. So the two tags of a thought are the
template's, and are given to it as they are; the thought itself, what follows it, and every other spelling of a tag are
text. To a template that reads no thoughts all of it is text.

Where the two tags are no tokens of the tokenizer (Llama-3.1-Nemotron-Nano's) they are text, and a template that takes a
thought out is known by what it wrote (`keeps`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rlaif.models.spelling import Spelling, Unrenderable
from rlaif.records import Message

__all__ = ["Tags", "Thought", "forgotten_thoughts", "keeps"]

_ENDS = re.compile(r"[<\[◁]/[\w:.-]+[>\]▷]")  # what may end a thought: </think>, [/THINK], </seed:think>, ◁/think▷

Write = Callable[..., str]
"""From messages to the chat template's text of them (`rlaif.models.templates.written`)."""


@dataclass(frozen=True)
class Thought:
    """An assistant's text in parts: white space, the opening tag ("" where the prompt wrote it), thought, tag, rest."""

    before: str
    opens: str
    thought: str
    closes: str
    rest: str

    @property
    def texts(self) -> tuple[str, str]:
        """What the assistant said: all but the tags."""
        return self.thought, self.rest

    @property
    def pattern(self) -> tuple[bool, bool]:
        """What a template may tell two thoughts by."""
        return bool(self.opens), bool(self.thought.strip())

    def each(self, change: Callable[[str], str]) -> str:
        """The text with `change` done to all but the tags."""
        return self.before + self.opens + change(self.thought) + self.closes + change(self.rest)

    def neutral(self, text: str) -> str:
        """A text with a thought of the same pattern."""
        return f"{self.opens}\n{text if self.thought.strip() else ''}\n{self.closes}\n\n{text}"


@dataclass(frozen=True)
class Tags:
    """The two control tokens that a template reads as the ends of a thought.

    Attributes:
        opens, closes: as they are written.
        begun: whether the generation prompt ends with `opens`, so that an answer begins inside a thought.
        forgotten: whether the thoughts of earlier turns are left out where an answer comes.
    """

    opens: str
    closes: str
    begun: bool
    forgotten: bool

    @classmethod
    def of(cls, tokenizer: Any, write: Write) -> Tags | None:
        """Those of a tokenizer's chat template; None where it reads no thoughts. Found out once, by trying."""
        spelling = Spelling.of(tokenizer)
        key = (str(tokenizer.chat_template), "thoughts")
        if key not in spelling.probes:
            pairs = ((name, f"{name[0]}/{name[1:]}") for name in sorted(spelling.ids))
            tried = (_tried(tokenizer, write, *pair) for pair in pairs if pair[1] in spelling.ids)
            spelling.probes[key] = next((tags for tags in tried if tags is not None), None)
        known: Tags | None = spelling.probes[key]
        return known

    def thought(self, text: str) -> Thought | None:
        """The thought at the head of a text; None where there is none, or none that ends."""
        head = re.match(rf"(\s*)({re.escape(self.opens)})", text)
        if head is None and not self.begun:
            return None
        before, opens = head.groups() if head else ("", "")
        at = len(before) + len(opens)
        thought, closes, rest = text[at:].partition(self.closes)
        return Thought(before, opens, thought, closes, rest) if closes else None

    def after(self, start: str, text: str) -> str:
        """An answer with a thought as it follows `start`, which may have opened that thought itself."""
        opened = start.rstrip()
        if not opened.endswith(self.opens) or not text.lstrip().startswith(self.opens):
            return text
        return text.lstrip().removeprefix(self.opens).removeprefix(start[len(opened) :])


def forgotten_thoughts(who: str, many: str) -> str:
    """The line that says of how many prompts (`many`) a template (`who`) leaves out thoughts of earlier turns."""
    return f"{who} leaves out what the assistant thought in earlier turns, as wherever the model is used: of {many}"


def keeps(written: str, text: str) -> bool:
    """Whether what a template wrote holds all of an assistant's text, white space and case aside.

    Asked only of a text in which a thought may end: other changes that a template makes are its own affair.
    """
    if not _ENDS.search(text):
        return True
    return "".join(text.split()).casefold() in "".join(written.split()).casefold()


def _tried(tokenizer: Any, write: Write, opens: str, closes: str) -> Tags | None:
    """The tags, where a template writes a thought between them in another way than between neutral words."""
    user: Message = {"role": "user", "content": "neutral1text"}

    def conversations(first: str, last: str) -> list[str]:
        said: Message = {"role": "assistant", "content": f"{first}\nneutral2text\n{last}\n\nneutral3text"}
        given = [write(tokenizer, [user, said]), write(tokenizer, [user, said, user], add_generation_prompt=True)]
        return [text.casefold() for text in given]

    try:
        plain = conversations("neutral4text", "neutral5text")
        tagged = conversations(opens, closes)
        start = write(tokenizer, [user], add_generation_prompt=True)
    except Unrenderable:
        return None
    ends = opens.casefold(), closes.casefold()
    if tagged == [text.replace("neutral4text", ends[0]).replace("neutral5text", ends[1]) for text in plain]:
        return None
    return Tags(
        opens,
        closes,
        begun=start.rstrip().endswith(opens),
        forgotten="neutral2text" in plain[1] and "neutral2text" not in tagged[1],
    )
