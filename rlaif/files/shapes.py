r"""Rows as some data sets publish them, in the shape that `rlaif.files.conversations` reads.

    a column of turns that is a list of texts          LIMA: the user's and the assistant's by turns
    one of objects {"input", "output"}                 Capybara: the user's turn and the assistant's
    chosen and rejected as two transcripts             hh-rlhf: "\n\nHuman: ...\n\nAssistant: ..." (2204.05862)
    a `prompt` that ends with the answer               Alpaca's rendering of an instruction beside it, answer and all

The last is no prompt: with it the answer would be learned by copying it. The instruction is read in its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rlaif.files.turns_in_text import from_transcript
from rlaif.records import Message

__all__ = ["ASKS", "TURNS", "usual"]

TURNS = ("messages", "conversations", "conversation")
ASKS = ("instruction", "question", "query", "problem")
_PROMPTS = ("prompt", *TURNS, *ASKS, "input", "context")
_SIDES = ("chosen", "rejected")


def usual(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """`row` itself, or with its columns of another shape in the usual one.

    Raises:
        ValueError: a transcript ends with no turn of the assistant's.
    """
    found: dict[str, Any] = {name: turns for name in TURNS if (turns := _in_turn(row.get(name))) is not None}
    sides = [row.get(name) for name in _SIDES]
    if all(isinstance(side, str) and side.startswith("\n\nHuman:") for side in sides) and _asks_nothing(row):
        found |= {name: from_transcript(side, name) for name, side in zip(_SIDES, sides, strict=True)}
    if not found and not _holds_answer(row):
        return row
    return {name: value for name, value in {**row, **found}.items() if name != "prompt" or not _holds_answer(row)}


def _asks_nothing(row: Mapping[str, Any]) -> bool:
    return all(row.get(name) is None for name in _PROMPTS)


def _in_turn(turns: Any) -> list[Message] | None:
    """The messages of a list in another shape; None for any other value."""
    if not isinstance(turns, list) or not turns:
        return None
    if all(isinstance(turn, str) for turn in turns):
        return [{"role": ("user", "assistant")[at % 2], "content": turn} for at, turn in enumerate(turns)]
    if all(isinstance(turn, Mapping) and turn.keys() == {"input", "output"} for turn in turns):
        both = (("user", "input"), ("assistant", "output"))
        return [{"role": role, "content": turn[name]} for turn in turns for role, name in both]
    return None


def _holds_answer(row: Mapping[str, Any]) -> bool:
    """Whether the prompt is Alpaca's rendering of the row's instruction, with the answer at its end."""
    prompt, instruction = row.get("prompt"), row.get("instruction")
    if not isinstance(prompt, str) or not isinstance(instruction, str) or "### Instruction:" not in prompt:
        return False
    answers = (row.get(name) for name in ("completion", "output", "response"))
    answer = next((text.strip() for text in answers if isinstance(text, str) and text.strip()), None)
    return answer is not None and instruction.strip() in prompt and prompt.rstrip().endswith(answer)
