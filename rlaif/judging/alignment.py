"""Where an answer stands among the tokens whose log-probabilities an endpoint gave.

Servers list more than the answer: the thought before it, the token that ended the turn, a stop sequence. Some write
tokens as they stand in the vocabulary ("Ġ1", "▁1", "<0x31>"), some trim the answer, some list only what was thought.
A verdict is read from a place only where the answer's own text is found there token by token, and where all that is
listed before it is known to be no answer.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import NamedTuple

from rlaif.judging.thoughts import TAG, WORDED_END, split_thought
from rlaif.models.base import Place

__all__ = ["Aligned", "align", "text_of"]

_KEPT = 32  # of a longer list of places `Reply.places` has the last ones


class Aligned(NamedTuple):
    """An answer among its tokens.

    Attributes:
        answer: the answer.
        tokens: (place of the token's first visible character among the answer's, index among the places), in order.
        visible: what of a text counts in these places.
    """

    answer: str
    tokens: list[tuple[int, int]]
    visible: Callable[[str], str]

    def at(self, position: int) -> int | None:
        """The index of the token that begins where the answer's visible character at `position` stands, if one does."""
        place = len(self.visible(self.answer[:position]))
        found = bisect_left(self.tokens, (place, 0))
        if found == len(self.tokens) or self.tokens[found][0] != place:
            return None
        return self.tokens[found][1] if self.visible(self.answer[position : position + 1]) else None

    def why_not(self, position: int) -> str:
        """Why no token begins there."""
        if len(self.visible(self.answer[:position])) < self.tokens[0][0]:
            return "the verdict stands before the last 32 tokens, which are those that are kept"
        return "the verdict is not made of whole tokens"


def align(
    places: Sequence[Place], answer: str, more: str = "", thought: str | None = None, before: str = ""
) -> Aligned | str:
    """`answer` among `places`, or why it is not found there. White space counts for nothing.

    The answer is covered by whole tokens, and nothing comes after it but `more` and the tokens that end a turn. Nothing
    comes before it but `before`, the thought, or what a thought's tag or the header of a turn ends: other words may be
    a thought that comes apart as a summary, and the verdict in it the thought's. Of an answer longer than the 32 places
    that are kept, these are its end.

    Args:
        places: the tokens.
        answer: what the judge said.
        more: what stands after it in the text, such as an end token that the server left there.
        thought: what it thought before, if that is known.
        before: what stands before the answer in the text.
    """
    tokens = [place.token for place in places]
    texts = [text_of(token) for token in tokens]
    # Half a character is nowhere spelled alike: with one, what is not ASCII counts for nothing.
    spellings = [*_SPELLINGS, _ASCII] if any("\ufffd" in token for token in tokens) else _SPELLINGS
    kept = _without_tags(tokens, texts) if thought is not None else slice(None)
    lists: list[tuple[Callable[[str], str], list[str]]] = []
    why = "their tokens are not those of the answer"
    for spelling in spellings:
        visible, parts = spelling.text, [spelling.token(token) for token in tokens]
        lists.append((visible, parts))
        if thought is not None and _are_thought(parts[kept], visible(answer), visible(thought)):
            return "they are of the thought alone"
        for said in (answer + more, answer) if more else (answer,):
            found = _from_the_end(parts, tokens, visible(said))
            if found is not None:
                first = found[0][1]
                if split_thought("".join(texts[:first])).answer is None:
                    return _WITHIN
                if _is_led_to(tokens, texts, first) or any(
                    _ends_with(said_before, parts, tokens, texts, first)
                    for said_before in (visible(before), visible(thought or ""))
                ):
                    return Aligned(answer, found, visible)
                why = "what they hold before the answer is not known to be its thought"
    for visible, parts in lists:
        found = _from_the_start(parts, tokens, visible(answer), _begin(texts))
        if found is not None:
            within = split_thought("".join(texts[: found[0][1]])).answer is None
            return _WITHIN if within else Aligned(answer, found, visible)
    return why


_WITHIN = "they end within the thought"


def _is_led_to(tokens: Sequence[str], texts: Sequence[str], first: int) -> bool:
    """Whether the token at `first` begins what is written: before it is nothing, a thought's tag or a turn's header."""
    head = "".join(texts[:first])
    if not split_thought(head).answer or WORDED_END.search(head[-80:]):
        return True
    for at in range(first - 1, _begin(texts[:first]) - 1, -1):
        name = texts[at].strip()
        if _MARKED.fullmatch(name) and _OPENS.match(name) and not TAG.fullmatch(name):
            return True
        if not (_ends_a_turn(tokens[at]) or name in _ROLES):
            return False
    return True


def _ends_with(said: str, parts: Sequence[str], tokens: Sequence[str], texts: Sequence[str], first: int) -> bool:
    """Whether the tokens before `first` are the end of `said`, tags and tokens that end a turn aside."""
    kept = _without_tags(tokens[:first], texts[:first])
    return said.endswith(("".join(parts[:first]), "".join(parts[:first][kept])))


def _from_the_end(parts: Sequence[str], tokens: Sequence[str], said: str) -> list[tuple[int, int]] | None:
    """The tokens of `said`, with nothing after them but what ends a turn."""
    at, left, found = len(parts) - 1, len(said), list[tuple[int, int]]()
    if not said:
        return None
    while at >= 0 and not (parts[at] and said.endswith(parts[at])) and (not parts[at] or _ends_a_turn(tokens[at])):
        at -= 1
    while at >= 0 and left > 0:
        part = parts[at]
        if part:
            if not said.endswith(part, 0, left):
                return None
            left -= len(part)
            found.append((left, at))
        at -= 1
    return found[::-1] if found and (left == 0 or len(parts) >= _KEPT) else None


def _from_the_start(parts: Sequence[str], tokens: Sequence[str], said: str, begin: int) -> list[tuple[int, int]] | None:
    """The tokens of `said` from `begin` on, where the answer begins: the last token may then be an unknown one, too."""
    done, found = 0, list[tuple[int, int]]()
    for at in range(begin, len(parts)):
        part = parts[at]
        if done == len(said):
            if part and not _ends_a_turn(tokens[at]) and (at != len(parts) - 1 or _may_answer(tokens[at], said)):
                return None
        elif part:
            if not said.startswith(part, done):
                return None
            found.append((done, at))
            done += len(part)
    return found if said and done == len(said) else None


def _begin(texts: Sequence[str]) -> int:
    """The index of the first token after the last tag of a thought; 0 where there is none."""
    joined = "".join(texts)
    end = max((match.end() for match in TAG.finditer(joined)), default=0)
    at = 0
    while end > 0 and at < len(texts):
        end -= len(texts[at])
        at += 1
    return at


def _may_answer(token: str, said: str) -> bool:
    """Whether an unknown token at the end may be the answer, and what looks like it a part of the thought."""
    text = _visible(text_of(token))
    return len(text) < 2 or text == said or any(spelling.token(token) == said for spelling in _SPELLINGS)


def _without_tags(tokens: Sequence[str], texts: Sequence[str]) -> slice:
    """The tokens between a thought's tags and those that end a turn, at both ends."""
    first, last = 0, len(tokens)
    joined = "".join(texts)
    starts = [0, *accumulate(len(text) for text in texts)]
    for match in TAG.finditer(joined):
        if not _visible(joined[starts[first] : match.start()]):
            first = max(first, bisect_left(starts, match.end()))
        elif not _visible(joined[match.end() :]):
            last = min(last, bisect_left(starts, match.start()))
    while first < last and _ends_a_turn(tokens[first]):
        first += 1
    while first < last and _ends_a_turn(tokens[last - 1]):
        last -= 1
    return slice(first, last)


def _are_thought(parts: Sequence[str], answer: str, thought: str) -> bool:
    """Whether the tokens are those of the thought, or of a part of it, without the answer."""
    listed = "".join(parts)
    if not listed or thought == answer:
        return False
    return listed == thought or (listed != answer and listed in thought)


# Tokens as they stand in a vocabulary -------------------------------------------------------------------------------


class _Spelling(NamedTuple):
    """A way in which tokens are spelled: what is visible of a token, and of a text, as the same characters."""

    token: Callable[[str], str]
    text: Callable[[str], str]


_HEX = re.compile(r"<0x([0-9A-Fa-f]{2})>|(?:bytes:)?((?:\\x[0-9A-Fa-f]{2})+)")
_SPACES = str.maketrans({"Ġ": " ", "Ċ": "\n", "ĉ": "\t", "č": "\r", "▁": " "})
# GPT-2's alphabet: bytes that print are themselves, and the others the characters from 256 on, in order.
_PRINTED = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
_OTHERS = [byte for byte in range(256) if byte not in _PRINTED]
_BYTE_OF = {chr(byte): bytes([byte]) for byte in _PRINTED} | {chr(256 + n): bytes([b]) for n, b in enumerate(_OTHERS)}


def text_of(token: str) -> str:
    """The text of a token as it stands in a vocabulary: "Ġ1" and "▁1" are " 1", "<0x31>" is "1"."""
    if match := _HEX.fullmatch(token):
        return _from_hex(match).decode("ascii", "ignore")
    return token.translate(_SPACES)


def _from_hex(match: re.Match[str]) -> bytes:
    return bytes.fromhex(match[1] or match[2].replace("\\x", ""))


def _visible(text: str) -> str:
    """A text without its white space."""
    return "".join(text.split())


def _bytes(text: str) -> str:
    """The bytes of a text without its white space, one character each."""
    return _visible_bytes(text.encode("utf-8", "surrogatepass"))


def _visible_bytes(data: bytes) -> str:
    return data.translate(None, b" \t\n\r\v\f").decode("latin-1")


def _byte_level(token: str) -> str:
    """The bytes of a token as GPT-2's and most later vocabularies spell it: "Ġ" is a space, "Ã©" is "é"."""
    return _visible_bytes(b"".join(_BYTE_OF.get(sign) or sign.encode("utf-8", "surrogatepass") for sign in token))


def _piece(token: str) -> str:
    """The bytes of a token as SentencePiece spells it, "▁" for a space and "<0x31>" for a byte, or as escapes."""
    if match := _HEX.fullmatch(token):
        return _visible_bytes(_from_hex(match))
    return _bytes(token.replace("▁", " "))


def _ascii(text: str) -> str:
    return _visible(text.encode("ascii", "ignore").decode())


_SPELLINGS = [_Spelling(_visible, _visible), _Spelling(_byte_level, _bytes), _Spelling(_piece, _bytes)]
_ASCII = _Spelling(lambda token: _ascii(text_of(token)), _ascii)


# Tokens that end a turn ---------------------------------------------------------------------------------------------

_MARKED = re.compile(r"[<\[◁][^\s<>]{2,78}[>\]▷]|<[|｜][^<>]{1,78}[|｜]>")
# An answer comes after these: "<|start|>", "<|channel|>".
_OPENS = re.compile(r"(?!.*(?:end|/))(?:.*(?:start|begin|channel|message|assistant))", re.IGNORECASE)
_ROLES = {"assistant", "model", "final"}  # in the header of a turn
_SHORT = re.compile(r"</?s>|[\[\]][e!~b]{1,5}[\[\]]")  # Llama 2; MiniMax: "[e~["


def _ends_a_turn(token: str) -> bool:
    """Whether a token is one that a vocabulary sets apart: "</s>", "<|im_end|>", "[EOS]"; white space; or no text."""
    token = text_of(token).strip()
    if _SHORT.fullmatch(token) or not any(letter.isprintable() for letter in token):
        return True
    if not _MARKED.fullmatch(token) or TAG.fullmatch(token) or _OPENS.match(token):
        return False
    return sum(letter.isalpha() for letter in token) >= 2  # "[1]" may be a verdict
