"""The thought that a model wrote before its answer, where both come in one text.

Servers that know a model's format send the thought apart from the answer. Others send the text as it was written: with
the format's tags, with the closing tag alone (chat templates write the opening one), or cut off within the thought.
"""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["TAG", "WORDED_END", "Thought", "split_thought"]


class Thought(NamedTuple):
    """A text in two.

    Attributes:
        thought: what was thought, without its tags; None where there is no thought.
        answer: what comes after it, without white space around it and without the tokens that end a turn; None where
            the thought never ends.
        start: the place of the answer: `text[start : start + len(answer)]`.
        others: where else the answer may begin, in order. A thought may quote a closing tag, and so may an answer: what
            comes after each of several closing tags must say the same.
        certain: False where only a closing tag is there, or a whole thought in the middle of the text. Perhaps both are
            quoted, and the text as a whole is the answer.
    """

    thought: str | None
    answer: str | None
    start: int
    others: tuple[int, ...] = ()
    certain: bool = True


_NAMES = (
    r"(?:(?:seed:|ant|longcat_|chain_of_|inner_|internal_)?(?:thinking|thoughts?|think|monologue)|thought_process|"
    r"reasoning|reflection|scratchpad|analysis|cot)"
)
# (opening, closing) of each format: DeepSeek, Qwen and most others; Magistral; Kimi; Command A; OpenThinker; MedGemma;
# gpt-oss; Gemma 4; Apertus.
_TAGGED = [
    (rf"<\|?{_NAMES}(?:\s[^<>]{{0,200}})?\|?>", rf"<\|?/\s?{_NAMES}\s?\|?>"),
    (r"\[THINK\]", r"\[/THINK\]"),
    (r"◁think▷", r"◁/think▷"),
    (r"<\|START_THINKING\|>", r"<\|END_THINKING\|>"),
    (r"<\|begin_of_thought\|>", r"<\|end_of_thought\|>"),
    (r"<unused94>(?:thought\b)?", r"<unused95>"),
    (
        r"(?:<\|start\|>assistant)?<\|channel\|>(?:analysis|commentary)[^<>]{0,80}<\|message\|>",
        r"(?:<\|end\|>\s{0,9})?(?:<\|start\|>assistant)?<\|channel\|>final[^<>]{0,80}"
        r"(?:<\|constrain\|>[^<>]{0,80})?<\|message\|>",
    ),
    (r"<\|channel>thought\b", r"<channel\|>"),
    (r"<\|inner_prefix\|>", r"<\|inner_suffix\|>"),
]
# Formats in words, which mean nothing in the middle of a text: gpt-oss without its special tokens; Granite 3.2.
_WORDED = [
    (r"(?-i:analysis(?=[A-Z]|assistantfinal))", r"(?-i:assistantfinal)"),
    (r"Here(?:'s| is) my thought process:", r"Here(?:'s| is) my response:"),
]
WORDED_END = re.compile(rf"(?:{'|'.join(closing for _, closing in _WORDED)})\s*\Z", re.IGNORECASE)
_FORMATS = [
    (re.compile(opening, re.IGNORECASE), re.compile(closing, re.IGNORECASE)) for opening, closing in _TAGGED + _WORDED
]
# What each begins with is looked at first: a text of 100,000 "<" takes a few milliseconds.
_OPENING = re.compile(rf"(?=<[|acilmrstu]|\[t|◁t)(?:{'|'.join(opening for opening, _ in _TAGGED)})", re.IGNORECASE)
_CLOSING = re.compile(rf"(?=<[|/cu]|\[/|◁/)(?:{'|'.join(closing for _, closing in _TAGGED)})", re.IGNORECASE)
TAG = re.compile(rf"{_OPENING.pattern}|{_CLOSING.pattern}", re.IGNORECASE)

# What some formats write before an answer, and the tokens after it that servers may leave in the text.
_BEGINS = re.compile(r"\s*(?:<\|(?:START_RESPONSE|begin_of_solution)\|>|<(?:answer|response)>)\s*", re.IGNORECASE)
_END = re.compile(r"<[|｜][^\s<>|｜]{1,40}[|｜]>|</(?:s|answer|response)>|<end_of_turn>|<eos>|<turn\|>", re.IGNORECASE)
_LONGEST_END = 44
_SPACE = re.compile(r"\s*")


def split_thought(text: str) -> Thought:
    """The thought at the start of `text` and the answer after it, in linear time."""
    at = _skip(text, 0)
    first, used, closed = None, [], None
    while opened := _opened(text, at):
        begin, closing = opened
        first = begin if first is None else first
        closed = closing.search(text, begin)
        if closed is None:
            return Thought(text[begin:].strip(), None, len(text))
        used.append(closing)
        at = _skip(text, closed.end())
        while again := closing.match(text, at):
            at = _skip(text, again.end())
    if closed is not None:
        later = sorted({match.end() for closing in used[:4] for match in closing.finditer(text, at)})
        return _answered(text, TAG.sub("", text[first : closed.start()]).strip(), at, later)
    closings = list(_CLOSING.finditer(text))
    if not closings:
        return _answered(text, None, 0, [])
    at = _skip(text, closings[0].end())
    later = [match.end() for match in closings if match.end() > at]
    opening = _OPENING.search(text, 0, closings[0].start())
    if opening is None:
        thought = text[: closings[0].start()].strip()
        return _answered(text, thought, at, later, certain=not thought)
    thought = text[opening.end() : closings[0].start()].strip()
    if at == len(text):  # the answer stands before its reasons
        return _answered(text[: opening.start()], thought, 0, [])
    return _answered(text, thought, at, later, certain=False)


def _skip(text: str, at: int) -> int:
    """The first place from `at` on that is no white space."""
    found = _SPACE.match(text, at)
    assert found is not None
    return found.end()


def _opened(text: str, at: int) -> tuple[int, re.Pattern[str]] | None:
    """Where the thought begins whose opening stands at `at`, and what closes it."""
    if text[at : at + 1] not in {"<", "[", "◁", "a", "H", "h"}:
        return None
    for opening, closing in _FORMATS:
        if match := opening.match(text, at):
            return match.end(), closing
    return None


def _answered(text: str, thought: str | None, at: int, later: list[int], certain: bool = True) -> Thought:
    """The answer from `at` on, without what formats write around it."""
    wrapped = _BEGINS.match(text, at)
    start = wrapped.end() if wrapped else _skip(text, at)
    end = len(text)
    while True:
        while end > start and text[end - 1].isspace():
            end -= 1
        last = text.rfind("<", max(start, end - _LONGEST_END), end)
        if last < 0 or text[end - 1] != ">" or not _END.fullmatch(text, last, end):
            return Thought(thought, text[start:end], start, tuple(_skip(text, place) for place in later), certain)
        end = last
