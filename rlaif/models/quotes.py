"""What a server says of its own, told apart from what it quotes of the question.

    Heard   its words without quotations, and which of its phrases may be the question's all the same
    listen  of its words and what was sent

A question may say "your account has been suspended" or "temperature is not supported", and a server that refuses it
may repeat that: cut off, escaped, in another case. So words are compared as folded sequences: a run of four or more
that stands in the question in that order is a quotation; its first and last word may be cut.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from rlaif.models.bodies import one_line

__all__ = ["Heard", "listen"]

_RUN = 4  # words in the question's order that are no accident
_LONG = 2400  # characters of a server's words in which quotations are looked for
_LOOK = 600  # characters of what is left that are looked at


class Heard(NamedTuple):
    """A server's words.

    Attributes:
        text: its own, on one line of at most 600 characters.
        asked: the question's words, folded, with a blank between two.
        quoted: whether it quoted the question.
    """

    text: str
    asked: str
    quoted: bool

    def own(self, phrases: re.Pattern[str]) -> Iterator[re.Match[str]]:
        """Where `phrases` are said, and not in the question's words: a short quotation is found by this alone."""
        for match in phrases.finditer(self.text):
            said = " ".join(word for word, _, _ in _words(match.group()))
            if not said or said not in self.asked:
                yield match


def listen(words: str, sent: Mapping[str, Any]) -> Heard:
    """`words` without what they quote of the `messages` in `sent`: linear in the lengths of both."""
    text = one_line(_plain(words[: 8 * _LONG]), _LONG)
    asked = [word for word, _, _ in _words(_plain(_contents(sent.get("messages"))))]
    quotations = list(_quotations(text, asked))
    left_out = quotations + [match.span() for match in _LONG_QUOTE.finditer(text)]
    if (opened := text.find("{")) >= 0 and quotations and opened < quotations[-1][0]:
        left_out.append((opened, text.rfind("}") + 1 or len(text)))  # our own body, with all settings' names
    own, end = [], 0
    for start, stop in sorted(left_out):
        own.append(text[end:start])
        end = max(end, stop)
    own.append(text[end:])
    return Heard(_GAP.join(own)[:_LOOK], " ".join(asked), bool(quotations))


# Not what stands behind a key: {'message': "..."} is the server's own.
_LONG_QUOTE = re.compile(r"(?<!['\"]: )(?:\"[^\"]{60,}\"|(?<!\w)'[^']{60,}'(?!\w))|“[^”]{60,}”|`[^`]{60,}`")
_GAP = " ; "  # no phrase goes across what was left out


def _quotations(text: str, asked: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Where `text` has runs of the words `asked`: their beginnings and ends, in order and apart."""
    words = _words(text)
    pairs, line = set(pairwise(asked)), " ".join(asked)
    start = stop = -1
    for at in range(len(words) - _RUN + 1):
        run = words[at : at + _RUN]
        # A cut word at either end is part of its whole one: "err" of "error", "ow" of "how".
        if (run[1][0], run[2][0]) not in pairs or " ".join(word for word, _, _ in run) not in line:
            continue
        if run[0][1] >= stop:
            if stop >= 0:
                yield start, stop
            start = run[0][1]
        stop = run[-1][2]
    if stop >= 0:
        yield start, stop


def _contents(messages: Any) -> str:
    if not isinstance(messages, list | tuple):
        return ""
    contents = [message.get("content") for message in messages[:50] if isinstance(message, Mapping)]
    return " ".join(text for text in contents if isinstance(text, str))


def _plain(text: str) -> str:
    """`text` without the marks of JSON and of web pages: \\n, \\", \\u00e4, &quot;."""
    return unicodedata.normalize("NFKC", _ESCAPE.sub(_unescaped, html.unescape(text)))


_ESCAPE = re.compile(r"(?<!\\)\\+(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|(.))", re.DOTALL)


def _unescaped(match: re.Match[str]) -> str:
    long, short, mark = match.groups()
    if mark:
        return " " if mark.isalnum() else mark
    return chr(int(long or short, 16))


def _words(text: str) -> list[tuple[str, int, int]]:
    """Folded words, their beginnings and ends; of writing without blanks every letter is one."""
    return [(match.group().casefold(), match.start(), match.end()) for match in _WORD.finditer(text)]


_UNSPACED = r"\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"  # Thai, Japanese, Chinese
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+")
